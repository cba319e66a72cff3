"""The vocabulary of cases: make a claim, wait for what it says, use its connection, disturb it, see what is left.

Everything is made in namespaces of this run, under Pod Security `restricted`, and carries the run's label.
"""

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from libresh.conformance.model import Failed, NotSupported
from libresh.conformance.profile import REDIRECT, Profile
from libresh.errors import Unavailable
from libresh.kube.client import OBJECT, Client
from libresh.kube.errors import NotFound, Refused
from libresh.plan import naming, objects
from libresh.plan.actions import Object
from libresh.plan.observed import status_of, trouble_of

RUN_LABEL = "conformance.libre.sh/run"
TICK = 0.3
BINDINGS = "/bindings"
PROBE = "conformance-probe"
PROBE_PATIENCE = 120.0
UNCOUNTED = ("events", "metrics.k8s.io")
"""Resources and groups that tell of what is there, and are not left behind by anybody."""
ALWAYS_THERE = frozenset({("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")})
"""What Kubernetes puts into every namespace."""


@dataclass(frozen=True)
class Surroundings:
    """What the suite must know of the installation."""

    image: str
    """Has Python and psql: the project's own image of PostgreSQL."""
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
    spaces: dict[str, str] = field(default_factory=dict)
    probes: int = 0

    # --- namespaces ------------------------------------------------------------------------------------------

    async def space(self, part: str) -> str:
        """The namespace of this run for `part`, ready for pods."""
        if part not in self.spaces:
            name = f"{self.run}-{part}"
            self.spaces[part] = name
            await make_space(self.client, name, self.run)
            await self.put_probe(name)
        return self.spaces[part]

    async def put_probe(self, space: str) -> None:
        """The program of the probe, and whom it shall trust."""
        program = resources.files("libresh.conformance").joinpath("probe.py").read_text()
        metadata = {"name": PROBE, "namespace": space, "labels": {RUN_LABEL: self.run}}
        data = {"probe.py": program, "ca.crt": self.surroundings.authority}
        await self.client.create(objects.build_config_map(metadata, data))

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
        metadata = {"name": claimed.name, "namespace": claimed.space, "labels": {RUN_LABEL: self.run}}
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": claimed.spec}

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
        """What came of each step, done from a pod beside the claim. `others`: more Secrets, by binding."""
        self.probes += 1
        name = f"{PROBE}-{self.probes}"
        asked = [{"binding": "main", "redirect": REDIRECT, "token": "none", "do": "read", **step} for step in steps]
        pod = self.build_probe(name, claimed.space, {"main": claimed.secret, **others}, asked)
        await self.client.create(pod)
        try:
            return await self.answer(name, claimed.space, sum(step.get("patience", 20) for step in asked))
        finally:
            await self.client.delete("Pod", name, claimed.space, grace=0)

    def build_probe(self, name: str, space: str, bindings: Mapping[str, str], steps: list[Object]) -> Object:
        mounts = tuple(objects.from_secret(f"b-{key}", f"{BINDINGS}/{key}", secret) for key, secret in bindings.items())
        container = objects.Container(
            name="probe",
            image=self.surroundings.image,
            command=("python3", "/probe/probe.py"),
            env={"STEPS": json.dumps(steps), "SERVICE_BINDING_ROOT": BINDINGS, "HOME": "/tmp"},
            mounts=(*mounts, objects.from_config("probe", "/probe", PROBE), objects.empty_dir("tmp", "/tmp")),
            resources=objects.Resources(cpu="10m", memory="48Mi", memory_limit="128Mi"),
        )
        metadata = {"name": name, "namespace": space, "labels": {RUN_LABEL: self.run}}
        spec = objects.Pod((container,), grace=0, restart="Never").build()
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    async def answer(self, name: str, space: str, extra: float) -> list[tuple[str, str]]:
        async def look() -> Any:
            pod = await self.client.get("Pod", name, space)
            for container in status_of(pod).get("containerStatuses", ()):
                if ended := container.get("state", {}).get("terminated"):
                    return ended
            return trouble_of([pod] if pod else []) or status_of(pod).get("phase", "it is not there")

        ended = await self.until(look, "the probe to end", PROBE_PATIENCE + extra)
        try:
            return [(word, said) for word, said in json.loads(ended.get("message", ""))]
        except ValueError:
            raise Failed(f"the probe ended with {ended.get('exitCode')}: {ended.get('message', '')[:300]}") from None

    # --- what stands behind ----------------------------------------------------------------------------------

    async def pods(self, claimed: Claimed) -> list[Object]:
        """The pods that stand behind a claim: its own, those the class says, or its own class's server."""
        owner = naming.owner_value(self.profile.kind, claimed.name)
        found = await self.running(claimed.space, {naming.OWNER_LABEL: owner})
        if not found and (where := self.notes.get("behind")):
            space, _, selector = (
                where.replace("$(name)", claimed.name).replace("$(namespace)", claimed.space).partition("/")
            )
            found = await self.running(space, dict(pair.split("=", 1) for pair in selector.split(",")))
        if not found and self.own_class:
            owner = naming.owner_value("ServiceClass", self.class_name)
            found = await self.running(self.surroundings.system, {naming.OWNER_LABEL: owner})
        return found

    async def running(self, space: str, labels: Mapping[str, str]) -> list[Object]:
        found = await self.client.list("Pod", space, labels=labels)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def kill(self, claimed: Claimed) -> int:
        """Ends every pod behind a claim at once. How many there were."""
        found = await self.pods(claimed)
        if not found:
            raise NotSupported("nothing of it runs where the suite could find and end it")
        for pod in found:
            meta = pod["metadata"]
            await self.client.delete("Pod", meta["name"], meta["namespace"], uid=meta["uid"], grace=0)

        async def look() -> bool | str:
            there = {pod["metadata"]["uid"] for pod in await self.pods(claimed)}
            left = [pod["metadata"]["name"] for pod in found if pod["metadata"]["uid"] in there]
            return f"{', '.join(left)} still there" if left else True

        await self.until(look, "the pods to end", 60)
        return len(found)

    async def close(self, space: str) -> None:
        """From now on no new pod may begin in a namespace."""
        metadata = {"name": "closed", "namespace": space, "labels": {RUN_LABEL: self.run}}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}}
        await self.client.create(quota)

        async def look() -> bool | str:
            found = await self.client.get("ResourceQuota", "closed", space)
            return True if status_of(found).get("hard") else "the quota is not in force yet"

        await self.until(look, "the namespace to be closed", 60)

    async def open(self, space: str) -> None:
        await self.client.delete("ResourceQuota", "closed", space)

    # --- what is left ----------------------------------------------------------------------------------------

    async def left(self, space: str) -> list[str]:
        """Everything in a namespace that neither Kubernetes nor this suite put there."""
        found = []
        for root, plural in await listable(self.client):
            try:
                body = OBJECT.decode(await self.client.send("GET", f"{root}/namespaces/{space}/{plural}", what="list"))
            except (NotFound, Refused):
                continue
            for item in body.get("items") or ():
                meta = item["metadata"]
                ours = meta.get("labels", {}).get(RUN_LABEL) == self.run
                if not ours and (plural, meta["name"]) not in ALWAYS_THERE:
                    found.append(f"{plural}/{meta['name']}")
        return sorted(found)

    async def empty(self, space: str) -> None:
        """Until nothing is left in a namespace."""

        async def look() -> bool | str:
            found = await self.left(space)
            return f"{len(found)} left: {', '.join(found[:8])}" if found else True

        await self.until(look, "nothing to be left", 120)


async def make_space(client: Client, name: str, run: str) -> None:
    """A namespace of this run, and pods may begin in it."""
    labels = {RUN_LABEL: run, "pod-security.kubernetes.io/enforce": "restricted"}
    await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    deadline = time.monotonic() + 60
    while await client.get("ServiceAccount", "default", name) is None:
        if time.monotonic() > deadline:
            raise Failed(f"the namespace {name} gets no ServiceAccount")
        await asyncio.sleep(TICK)


async def listable(client: Client) -> list[tuple[str, str]]:
    """Every kind of thing a namespace can hold: its root and its plural."""
    groups = OBJECT.decode(await client.send("GET", "/apis", what="discover groups"))["groups"]
    roots = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    found = []
    for root in roots:
        if any(word in root for word in UNCOUNTED):
            continue
        try:
            listed = OBJECT.decode(await client.send("GET", root, what=f"discover {root}"))
        except (NotFound, Unavailable):
            continue  # an aggregated API that is away
        for item in listed["resources"]:
            if item["namespaced"] and "list" in item["verbs"] and item["name"] not in UNCOUNTED:
                found.append((root, item["name"]))
    return found


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
