"""One kind of claim after the other, every case in turn; whatever happens, what the run made is removed."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from libresh import __version__
from libresh.conformance import setting
from libresh.conformance.bench import RUN_LABEL, Bench, Surroundings, told
from libresh.conformance.cases import CASES
from libresh.conformance.model import FAILED, PASSED, SKIPPED, UNSUPPORTED, Case, Failed, NotSupported, Report, Result
from libresh.conformance.profile import PROFILES, Profile
from libresh.conformance.setting import Trial
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import NotFound
from libresh.plan.actions import Object

CLEARING = 180.0
CLUSTER_WIDE = ("ServiceClass", "ClusterRoleBinding", "ClusterRole", "CustomResourceDefinition")
"""What a fixture may make besides what lies in namespaces."""


@dataclass(frozen=True)
class Options:
    """What is to be tried."""

    driver: str
    variant: str = ""
    """Another way in which a class of the driver can serve: there is a fixture for it."""
    class_name: str = ""
    crowd: int = 200
    cases: tuple[str, ...] = ()
    """The names of the only ones to run; empty: all."""
    patience: float = 300.0
    image: str = ""
    fixtures: tuple[Path, ...] = ()
    """Folders with fixtures, looked through before ours."""


class Audience(Protocol):
    """Who is told how it goes."""

    def shown(self, case: Case) -> AbstractContextManager[object]:
        """A case, from its beginning to its end."""

    def ended(self, result: Result) -> None:
        """What came of it, told before the case is over."""


@dataclass
class Nobody:
    """Nobody is told."""

    results: list[Result] = field(default_factory=list)

    def shown(self, case: Case) -> AbstractContextManager[object]:
        return nullcontext()

    def ended(self, result: Result) -> None:
        self.results.append(result)


async def run_kind(client: Client, options: Options, kind: str, audience: Audience) -> Report:
    """All cases for one kind of claim."""
    profile, began = PROFILES[kind], time.monotonic()
    run = f"cf-{secrets.token_hex(2)}-{kind.lower()}"
    surroundings = await setting.read_surroundings(client, options.image)
    try:
        cls = await choose_class(client, options, profile, run, surroundings)
        bench = await make_bench(client, options, profile, run, surroundings, cls)
        results = [await try_case(bench, case, options, audience) for case in CASES]
    finally:
        await clear(client, run)
    return Report(
        driver=options.driver,
        variant=options.variant,
        kind=kind,
        class_name=options.class_name,
        version=__version__,
        cluster=await describe(client),
        date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(time.monotonic() - began, 1),
        capabilities=tuple(sorted(bench.capabilities)),
        crowd=bench.counted or options.crowd,
        stub=bench.notes.get("stub", ""),
        about=bench.notes.get("about", ""),
        selected=bool(options.cases),
        results=tuple(results),
    )


async def choose_class(
    client: Client, options: Options, profile: Profile, run: str, surroundings: Surroundings
) -> Object:
    if options.class_name:
        return await setting.find_class(client, options.driver, profile.kind, options.class_name)
    trial = Trial(options.driver, profile.kind, options.variant)
    return await setting.make_class(client, trial, run, surroundings, options.fixtures)


async def make_bench(
    client: Client, options: Options, profile: Profile, run: str, surroundings: Surroundings, cls: Object
) -> Bench:
    """The bench, once the class says that it can serve."""
    name = cls["metadata"]["name"]
    notes = setting.notes_of(cls)
    if (wanted := int(notes.get("nodes", 0))) > (nodes := len(await client.list("Node"))):
        raise LibreshError("too-few-nodes", f"This takes {wanted} nodes, and there are {nodes}", "use a larger cluster")
    await setting.wait_around(client, cls)
    stored = await client.get("ServiceClass", name) or cls
    return Bench(
        client=client,
        profile=profile,
        run=run,
        class_name=name,
        surroundings=surroundings,
        own_class=not options.class_name,
        notes=notes,
        patience=options.patience,
        crowd=options.crowd,
        capabilities=frozenset(stored["status"].get("capabilities", ())),
    )


# --- one case ----------------------------------------------------------------------------------------------------


async def try_case(bench: Bench, case: Case, options: Options, audience: Audience) -> Result:
    """A case from its beginning to its end."""
    began = time.monotonic()
    with audience.shown(case):
        status, message = await outcome_of(bench, case, options)
        seconds = round(time.monotonic() - began, 1)
        result = Result(case.name, case.title, case.level, status, seconds, message)
        audience.ended(result)
    return result


async def outcome_of(bench: Bench, case: Case, options: Options) -> tuple[str, str]:
    """What came of a case, and what there is to say of it."""
    if note := bench.notes.get(case.name):
        return UNSUPPORTED, note
    first = case is CASES[0]
    if not first and options.cases and case.name not in options.cases:
        return SKIPPED, "not asked for"
    if not first and bench.main is None:
        return SKIPPED, "there is no claim to try it with: provisioning failed"
    if case.capability and case.capability not in bench.capabilities:
        return UNSUPPORTED, f"the class does not say that its services can {case.capability}"
    try:
        return PASSED, await case.run(bench) or ""
    except NotSupported as reason:
        return UNSUPPORTED, str(reason)
    except (Failed, LibreshError) as error:
        return FAILED, f"{error}{await state_of(bench)}"
    except Exception as error:
        return FAILED, f"the suite met a bug of its own: {type(error).__name__}: {error}"


async def state_of(bench: Bench) -> str:
    """What the main claim says of itself, for the report of a failure."""
    if bench.main is None:
        return ""
    return f" (the main claim: {told(await bench.look(bench.main))})"


# --- before and after ----------------------------------------------------------------------------------------------


async def describe(client: Client) -> str:
    """What the cluster is."""
    nodes = await client.list("Node")
    version = (await client.version()).get("gitVersion", "")
    return f"Kubernetes {version}, {len(nodes)} node{'' if len(nodes) == 1 else 's'}"


async def clear(client: Client, run: str) -> None:
    """Removes all that a run made: claims with their data first, then the claims and all else they stood on."""
    labels = {RUN_LABEL: run}
    setup = setting.setup_space(run)
    await clear_claims(client, run, lambda space: space != setup)
    await clear_claims(client, run, lambda space: space == setup)
    spaces = await client.list("Namespace", labels=labels)
    for space in spaces:
        await client.delete("Namespace", space["metadata"]["name"])
    await emptied(client, ("Namespace",), run, lambda space: True)
    for kind in CLUSTER_WIDE:
        for obj in await client.list(kind, labels=labels):
            await client.delete(kind, obj["metadata"]["name"])


async def clear_claims(client: Client, run: str, chosen: Callable[[str], bool]) -> None:
    """Deletes the claims in some of the run's namespaces, until they are gone."""
    for kind in PROFILES:
        for obj in await client.list(kind, labels={RUN_LABEL: run}):
            if chosen(obj["metadata"]["namespace"]):
                await let_go(client, kind, obj["metadata"])
    await emptied(client, tuple(PROFILES), run, chosen)


async def let_go(client: Client, kind: str, meta: Object) -> None:
    """Deletes a claim, and says before that its data is to go as well."""
    try:
        await client.patch(kind, meta["name"], meta["namespace"], {"spec": {"deletionPolicy": "Delete"}})
    except NotFound:
        return
    await client.delete(kind, meta["name"], meta["namespace"])


async def emptied(client: Client, kinds: Sequence[str], run: str, chosen: Callable[[str], bool]) -> None:
    """Until nothing of these kinds is left in some of the run's namespaces. What does not go is named: it stays."""
    deadline = time.monotonic() + CLEARING
    while True:
        found = [
            f"{kind} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
            for kind in kinds
            for obj in await client.list(kind, labels={RUN_LABEL: run})
            if chosen(obj["metadata"].get("namespace", ""))
        ]
        if not found:
            return
        if time.monotonic() > deadline:
            raise LibreshError(
                "not-cleared",
                f"What the run made does not go: {', '.join(found[:8])}",
                f"look for the label {RUN_LABEL}={run}",
            )
        await asyncio.sleep(0.5)
