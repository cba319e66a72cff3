"""The vocabulary of cases: make a claim, wait for what it says, use its connection, disturb it, see what is left.

Everything is made in namespaces of this run, under Pod Security `restricted`, and carries the run's label.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from libresh.conformance import probing
from libresh.conformance.listing import in_turn, listable
from libresh.conformance.model import Failed, NotSupported
from libresh.conformance.probing import PROBE, PROGRAM, asked, read_answer
from libresh.conformance.profile import Profile
from libresh.conformance.room import capacity
from libresh.errors import Unavailable
from libresh.kube.client import OBJECT, Client
from libresh.kube.errors import NotFound, Refused
from libresh.kube.exec import run_in_pod
from libresh.plan import naming
from libresh.plan.actions import Object
from libresh.plan.observed import status_of, trouble_of

RUN_LABEL = "conformance.libre.sh/run"
TICK = 0.3
PROBE_PATIENCE = 120.0
ALWAYS_THERE = frozenset({("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")})
"""What Kubernetes puts into every namespace."""


@dataclass(frozen=True)
class Surroundings:
    """What the suite must know of the installation."""

    image: str
    """Has Python and psql: the project's own image of PostgreSQL."""
    images: str = ""
    """Where libre.sh's images are: the beginning of their names."""
    system: str = naming.SYSTEM_NAMESPACE
    domain: str = "localhost"
    authority: str = ""
    """What pods shall trust besides the public authorities."""


@dataclass(frozen=True)
class Claimed:
    """A claim that a case made."""

    name: str
    space: str
    """Its namespace."""
    secret: str
    spec: Object


@dataclass(frozen=True)
class Departed:
    """A claim that was deleted, and what is remembered of it."""

    claimed: Claimed
    uid: str
    secret: str
    """A copy of its connection secret."""
    token: str
    """What was written."""


@dataclass
class Bench:
    """One kind of claim, served by one class."""

    client: Client
    profile: Profile
    run: str
    """Names all that is made."""
    class_name: str
    surroundings: Surroundings
    own_class: bool
    """Whether the class was made for this run: then what it runs may be disturbed."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What the class says by annotations: cases that are not to be expected of it, and why."""
    patience: float = 300.0
    crowd: int = 200
    capabilities: frozenset[str] = frozenset()
    main: Claimed | None = None
    """The claim that one case after the other uses."""
    main_token: str = ""
    visible: bool = False
    """Whether pods were found behind it when it was ready."""
    departed: Departed | None = None
    counted: int = 0
    """How many claims the crowd had, once that is known."""
    spaces: dict[str, str] = field(default_factory=dict)
    kinds: list[tuple[str, str]] = field(default_factory=list)
    """Every kind of thing a namespace can hold, once that was asked."""
    probers: set[str] = field(default_factory=set)
    """The namespaces that have a pod to run programs in."""

    # --- namespaces ------------------------------------------------------------------------------------------

    async def space(self, part: str) -> str:
        """The namespace of this run for `part`, ready for pods."""
        if part not in self.spaces:
            name = f"{self.run}-{part}"
            self.spaces[part] = name
            await make_space(self.client, name, self.run)
            await self.client.create(probing.build_program(self.named(PROBE, name), self.surroundings.authority))
        return self.spaces[part]

    @property
    def labels(self) -> dict[str, str]:
        """What all that this run makes bears."""
        return {RUN_LABEL: self.run}

    def named(self, name: str, space: str) -> Object:
        """Metadata of something of this run."""
        return {"name": name, "namespace": space, "labels": self.labels}

    # --- claims ----------------------------------------------------------------------------------------------

    async def make(self, name: str, part: str = "a", **spec: Any) -> Claimed:
        """A small claim of the class."""
        space = await self.space(part)
        wanted = {"className": self.class_name, "parameters": self.profile.parameters, **spec}
        ref = wanted.get("writeConnectionSecretToRef")
        secret = ref["name"] if ref else f"{name}-{self.profile.kind.lower()}-connection"
        claimed = Claimed(name, space, secret, wanted)
        await self.client.create(self.manifest(claimed))
        return claimed

    def manifest(self, claimed: Claimed) -> Object:
        kind = self.profile.type.KIND
        header = {"apiVersion": kind.api_version, "kind": kind.kind}
        return {**header, "metadata": self.named(claimed.name, claimed.space), "spec": claimed.spec}

    async def again(self, claimed: Claimed) -> None:
        """The same claim once more, after it was deleted."""
        await self.client.create(self.manifest(claimed))

    async def look(self, claimed: Claimed) -> Object | None:
        return await self.client.get(self.profile.kind, claimed.name, claimed.space)

    async def edit(self, claimed: Claimed, **change: Any) -> None:
        await self.client.patch(self.profile.kind, claimed.name, claimed.space, change)

    async def delete(self, claimed: Claimed) -> None:
        await self.client.delete(self.profile.kind, claimed.name, claimed.space)

    async def ready(self, claimed: Claimed, seconds: float | None = None) -> Object:
        """The claim, once it says that it is ready as it is written now."""

        async def look() -> Object | str:
            found = await self.look(claimed)
            return found if found and is_ready(found) else told(found)

        found: Object = await self.until(look, f"{self.profile.kind} {claimed.name} to be ready", seconds)
        return found

    async def gone(self, claimed: Claimed) -> None:
        async def look() -> bool | str:
            found = await self.look(claimed)
            return True if found is None else told(found)

        await self.until(look, f"{self.profile.kind} {claimed.name} to be gone")

    async def until(
        self, look: Callable[[], Awaitable[Any]], what: str, seconds: float | None = None, forgive: bool = True
    ) -> Any:
        """The first answer of `look` that is not text: text says what is still missing."""
        patience = self.patience if seconds is None else seconds
        deadline = time.monotonic() + patience
        while True:
            try:
                answer = await look()
            except Unavailable as error:
                answer = error.message
            if not isinstance(answer, str):
                return answer
            if time.monotonic() > deadline:
                raise Failed(f"waited {patience:.0f} s for {what}, in vain: {answer}")
            await asyncio.sleep(TICK)

    # --- the connection --------------------------------------------------------------------------------------

    async def secret(self, space: str, name: str) -> Object | None:
        return await self.client.get("Secret", name, space)

    async def connection(self, claimed: Claimed) -> dict[str, str]:
        """The values of the connection secret. They are compared, and never said."""
        return values_of(await self.secret(claimed.space, claimed.secret))

    def token(self) -> str:
        """Something to write that nobody wrote before."""
        return secrets.token_hex(8)

    async def use(self, claimed: Claimed, token: str, do: str = "write", *, patience: float = 20) -> None:
        """Uses the connection as an application would; `do` is write or read."""
        ((word, said),) = await self.probe(claimed, {"do": do, "token": token, "patience": patience})
        if word != "ok":
            raise Failed(f"{'writing and reading' if do == 'write' else 'reading'} by the connection: {word}: {said}")

    async def probe(self, claimed: Claimed, *steps: Object, others: Mapping[str, str] = {}) -> list[tuple[str, str]]:
        """What came of each step, done in a pod beside the claim. `others`: more Secrets, by binding.

        The connection is handed to a pod that is there already: a pod for each question would take seconds each time.
        """
        pod = await self.prober(claimed.space)
        names = {"main": claimed.secret, **others}
        bindings = {key: await self.published(claimed.space, name) for key, name in names.items()}
        given = json.dumps({"bindings": bindings, "steps": asked(steps)}).encode() + b"\n"

        async def ask() -> list[tuple[str, str]]:
            said, trouble = bytearray(), bytearray()
            code = await run_in_pod(
                self.client, pod, claimed.space, [*PROGRAM, "-"], stdin=given, stdout=said.extend, stderr=trouble.extend
            )
            return read_answer(code, said.decode(errors="replace") or trouble.decode(errors="replace"))

        answers: list[tuple[str, str]] = await self.until(ask, "the probe to answer", 60)
        return answers

    async def published(self, space: str, name: str) -> dict[str, str]:
        """The values of a Secret, once it is there."""

        async def look() -> dict[str, str] | str:
            return values_of(await self.secret(space, name)) or f"there is no Secret {name}"

        found: dict[str, str] = await self.until(look, f"the Secret {name}", PROBE_PATIENCE)
        return found

    async def prober(self, space: str) -> str:
        """The pod of a namespace in which programs are run."""
        if space not in self.probers:
            self.probers.add(space)
            stays = ("sleep", "infinity")
            await self.client.create(
                probing.build_pod(self.named(PROBE, space), self.surroundings.image, stays, bindings={})
            )

        async def look() -> bool | str:
            pod = await self.client.get("Pod", PROBE, space)
            running = all("running" in each.get("state", {}) for each in status_of(pod).get("containerStatuses", ({},)))
            return running or trouble_of([pod] if pod else []) or "it is being started"

        await self.until(look, "the probe's pod to run", PROBE_PATIENCE)
        return PROBE

    async def probe_mounted(self, claimed: Claimed, step: Object) -> tuple[str, str]:
        """What came of a step in a pod of its own, which has the Secret mounted."""
        name = f"{PROBE}-mounted"
        mounted = {"main": claimed.secret}
        metadata = self.named(name, claimed.space)
        pod = probing.build_pod(metadata, self.surroundings.image, PROGRAM, mounted, asked([step]))
        await self.client.create(pod)
        try:
            (answer,) = await self.answer(name, claimed.space)
        finally:
            await self.client.delete("Pod", name, claimed.space, grace=0)
        return answer

    async def answer(self, name: str, space: str) -> list[tuple[str, str]]:
        """What a probe that ended has left as its last words."""

        async def look() -> Any:
            pod = await self.client.get("Pod", name, space)
            for container in status_of(pod).get("containerStatuses", ()):
                if ended := container.get("state", {}).get("terminated"):
                    return ended
            return trouble_of([pod] if pod else []) or status_of(pod).get("phase", "it is not there")

        ended = await self.until(look, "the probe to end", PROBE_PATIENCE)
        return read_answer(ended.get("exitCode"), ended.get("message", ""))

    # --- what stands behind ----------------------------------------------------------------------------------

    async def pods(self, claimed: Claimed) -> list[Object]:
        """The pods that stand behind a claim: its own, those the class says, or its own class's server."""
        owner = naming.owner_value(self.profile.kind, claimed.name)
        found = await self.running(claimed.space, {naming.OWNER_LABEL: owner})
        if not found and (where := self.notes.get("behind")):
            space, _, selector = where.replace("$(name)", claimed.name).partition("/")
            found = await self.running(space or claimed.space, dict(pair.split("=", 1) for pair in selector.split(",")))
        if not found and self.own_class:
            owner = naming.owner_value("ServiceClass", self.class_name)
            found = await self.running(self.surroundings.system, {naming.OWNER_LABEL: owner})
        return found

    async def running(self, space: str, labels: Mapping[str, str]) -> list[Object]:
        found = await self.client.list("Pod", space, labels=labels)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def found_pods(self, claimed: Claimed) -> list[Object]:
        """The pods behind a claim; those that are just being replaced are waited for."""
        if not self.visible:
            raise NotSupported("nothing of it runs where the suite could find and end it")

        async def look() -> list[Object] | str:
            return await self.pods(claimed) or "there is no pod"

        found: list[Object] = await self.until(look, "the pods behind it to be there", 60)
        return found

    async def kill(self, claimed: Claimed) -> int:
        """Ends every pod behind a claim at once. How many there were."""
        found = await self.found_pods(claimed)
        for pod in found:
            meta = pod["metadata"]
            await self.client.delete("Pod", meta["name"], meta["namespace"], uid=meta["uid"], grace=0)

        async def look() -> bool | str:
            there = {pod["metadata"]["uid"] for pod in await self.pods(claimed)}
            left = [pod["metadata"]["name"] for pod in found if pod["metadata"]["uid"] in there]
            return f"{', '.join(left)} still there" if left else True

        await self.until(look, "the pods to end", 60)
        return len(found)

    async def room(self) -> int:
        """How many claims the crowd can have: as many as asked for, or as the nodes have room for the pods of."""
        found = await self.pods(self.main) if self.main else []
        own = [pod for pod in found if self.main and pod["metadata"]["namespace"] == self.main.space]
        fits = await capacity(self.client, own) if own else self.crowd
        self.counted = max(1, min(self.crowd, fits))
        return self.counted

    async def close(self, space: str) -> None:
        """From now on no new pod may begin in a namespace."""
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "0"}}}
        await self.client.create({**quota, "metadata": self.named("closed", space)})

        async def look() -> bool | str:
            found = await self.client.get("ResourceQuota", "closed", space)
            return True if status_of(found).get("hard") else "the quota is not in force yet"

        await self.until(look, "the namespace to be closed", 60)

    async def open(self, space: str) -> None:
        await self.client.delete("ResourceQuota", "closed", space)

    # --- what is left ----------------------------------------------------------------------------------------

    async def left(self, space: str) -> list[str]:
        """Everything in a namespace that neither Kubernetes nor this suite put there."""
        if not self.kinds:
            self.kinds = await listable(self.client)

        async def look(root: str, plural: str) -> list[str]:
            try:
                body = OBJECT.decode(await self.client.send("GET", f"{root}/namespaces/{space}/{plural}", what="list"))
            except (NotFound, Refused):
                return []
            metas = [item["metadata"] for item in body.get("items") or ()]
            theirs = [meta["name"] for meta in metas if meta.get("labels", {}).get(RUN_LABEL) != self.run]
            return [f"{plural}/{name}" for name in theirs if (plural, name) not in ALWAYS_THERE]

        found = await in_turn([look(*kind) for kind in self.kinds])
        return sorted(name for each in found for name in each)

    async def empty(self, space: str, besides: Collection[str] = ()) -> None:
        """Until nothing is left in a namespace, but for what was there `besides`."""

        async def look() -> bool | str:
            found = [name for name in await self.left(space) if name not in besides]
            return f"{len(found)} left: {', '.join(found[:8])}" if found else True

        await self.until(look, "nothing to be left", 120)

    async def nothing_of(self, uid: str) -> None:
        """Until nothing is left beside the operator that was made for one object."""

        async def look() -> bool | str:
            found = [
                f"{kind}/{obj['metadata']['name']}"
                for kind in ("Job", "Secret", "NetworkPolicy", "Pod", "ServiceAccount", "Role", "RoleBinding")
                for obj in await self.client.list(kind, self.surroundings.system, labels={naming.OWNER_UID_LABEL: uid})
            ]
            return f"left in {self.surroundings.system}: {', '.join(found)}" if found else True

        await self.until(look, "nothing to be left beside the operator", 120)


async def make_space(client: Client, name: str, run: str) -> None:
    """A namespace of this run, and pods may begin in it."""
    labels = {RUN_LABEL: run, "pod-security.kubernetes.io/enforce": "restricted"}
    await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    deadline = time.monotonic() + 60
    while await client.get("ServiceAccount", "default", name) is None:
        if time.monotonic() > deadline:
            raise Failed(f"the namespace {name} gets no ServiceAccount")
        await asyncio.sleep(TICK)


def condition(found: Object | None, type: str = "Ready") -> Object:
    return next((each for each in status_of(found).get("conditions", ()) if each["type"] == type), {})


def is_ready(found: Object) -> bool:
    """Ready, of the spec as it is written now."""
    ready = condition(found)
    current = ready.get("observedGeneration", 0) in (0, found["metadata"].get("generation", 0))
    return ready.get("status") == "True" and current


def told(found: Object | None) -> str:
    """What an object says of itself."""
    if found is None:
        return "it does not exist"
    ready = condition(found)
    return f"Ready={ready.get('status', 'unset')} {ready.get('reason', '')}: {ready.get('message', '')}"


def values_of(secret: Object | None) -> dict[str, str]:
    data = (secret or {}).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}
