"""Edits of claims that are served: what is refused leaves what runs as it is, and says so."""

from typing import Any

import pytest

from libresh.api.cache import Redis
from libresh.api.database import PostgreSQL
from libresh.catalog.settings import Settings
from libresh.plan.actions import Ref
from libresh.plan.decision import Decision, Settled, Stalled, Waiting
from libresh.reconcilers.claim import ClaimReconciler
from reconcilers.test_class_grants import cls
from reconcilers.world import World

RECONCILERS: dict[str, ClaimReconciler[Any]] = {
    "PostgreSQL": ClaimReconciler(PostgreSQL, Settings()),
    "Redis": ClaimReconciler(Redis, Settings()),
}
GROUPS = {"PostgreSQL": PostgreSQL.KIND.api_version, "Redis": Redis.KIND.api_version}


def roll_out(world: World) -> None:
    """Servers run as they should, volumes are as big as was asked."""
    for ref, obj in world.objects.items():
        if ref.kind == "StatefulSet":
            counts = {key: obj["spec"]["replicas"] for key in ("replicas", "readyReplicas", "updatedReplicas")}
            obj["status"] = {"observedGeneration": obj["metadata"]["generation"], **counts}
        if ref.kind == "PersistentVolumeClaim":
            obj["status"] = {"capacity": obj["spec"]["resources"]["requests"]}


async def settle(world: World, ref: Ref) -> Decision:
    for _ in range(12):
        before = len(world.writes)
        decision = await world.once(RECONCILERS[ref.kind], ref)
        roll_out(world)
        if len(world.writes) == before:
            assert decision is not None
            return decision
    raise AssertionError(f"it does not settle: {world.writes[-5:]}")


async def served(kind: str, **parameters: Any) -> tuple[World, Ref]:
    """A claim that is ready."""
    world = World()
    world.put(cls("std", claimKind=kind))
    metadata = {"name": "mine", "namespace": "acme"}
    spec = {"className": "std", "parameters": parameters}
    ref = world.put({"apiVersion": GROUPS[kind], "kind": kind, "metadata": metadata, "spec": spec})
    assert isinstance((await settle(world, ref)).outcome, Settled)
    return world, ref


def running(world: World) -> dict[str, Any]:
    """All that stands behind the claim."""
    return {
        str(ref): obj["spec"] for ref, obj in world.objects.items() if "spec" in obj and ref.name.startswith("mine-")
    }


REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any], str, str]] = {
    "a smaller database": (
        "PostgreSQL", {"storage": "2Gi"}, {"storage": "1Gi"}, "ChangeRefused",
        "spec.parameters.storage can grow but not shrink: no volume can be made smaller",
    ),
    "another locale": (
        "PostgreSQL", {"locale": "C"}, {"locale": "fr_FR.UTF-8"}, "ChangeRefused",
        "spec.parameters.locale cannot be changed: PostgreSQL fixes it",
    ),
    "another major version": (
        "PostgreSQL", {"version": "17"}, {"version": "18"}, "ChangeRefused",
        "spec.parameters.version cannot be changed yet: another major version has another format on disk",
    ),
    "a cache that begins to be kept": (
        "Redis", {}, {"persistence": True}, "ChangeRefused", "spec.parameters.persistence cannot be changed",
    ),
    "a cache that is kept no more": (
        "Redis", {"persistence": True}, {"persistence": False}, "ChangeRefused", "would be left behind",
    ),
    "a smaller cache on a volume": (
        "Redis", {"persistence": True, "memory": "64Mi"}, {"persistence": True, "memory": "32Mi"}, "ChangeRefused",
        "spec.parameters.memory can grow but not shrink",
    ),
    "less than works at all": (
        "Redis", {}, {"memory": "1Mi"}, "InvalidSize", "spec.parameters.memory: 1Mi is too small",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "before", "after", "reason", "words"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_edit_leaves_what_runs_as_it_is(
    kind: str, before: dict[str, Any], after: dict[str, Any], reason: str, words: str
) -> None:
    world, ref = await served(kind, **before)
    stands, binding = running(world), world.objects[ref]["status"]["binding"]
    world.edit(ref, parameters=after)
    outcome = (await settle(world, ref)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == reason
    assert words in outcome.message
    assert outcome.ready
    assert running(world) == stands
    assert world.objects[ref]["status"]["binding"] == binding
    world.edit(ref, parameters=before)
    assert isinstance((await settle(world, ref)).outcome, Settled)


async def test_while_an_edit_is_refused_what_runs_is_still_looked_after() -> None:
    world, ref = await served("Redis")
    world.edit(ref, parameters={"persistence": True})
    await settle(world, ref)
    server = Ref("StatefulSet", "mine-redis", "acme")
    world.remove(server)
    first = await world.once(RECONCILERS["Redis"], ref)
    assert first is not None
    assert isinstance(first.outcome, Stalled)
    second = await world.once(RECONCILERS["Redis"], ref)
    assert second is not None
    assert isinstance(second.outcome, Stalled)
    assert not second.outcome.ready, "a server that is gone is told, refused edit or not"
    assert "Besides: Valkey is starting" in second.outcome.message
    await settle(world, ref)
    assert server in world.objects


ALLOWED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a larger database": ("PostgreSQL", {"storage": "1Gi"}, {"storage": "2Gi"}),
    "an extension more": ("PostgreSQL", {}, {"extensions": ["pg_trgm"]}),
    "an extension less": ("PostgreSQL", {"extensions": ["pg_trgm"]}, {}),
    "a smaller cache": ("Redis", {"memory": "64Mi"}, {"memory": "32Mi"}),
    "a larger cache on a volume": (
        "Redis", {"persistence": True, "memory": "64Mi"}, {"persistence": True, "memory": "128Mi"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "before", "after"), ALLOWED.values(), ids=ALLOWED)
async def test_what_is_allowed_is_done(kind: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    world, ref = await served(kind, **before)
    stands = running(world)
    world.edit(ref, parameters=after)
    assert isinstance((await settle(world, ref)).outcome, Settled)
    assert running(world) != stands
    assert after.items() <= world.objects[ref]["status"]["asked"].items()


async def test_data_of_another_major_version_is_not_touched() -> None:
    """As a later libre.sh would have left it: this one knows nothing of that version."""
    world, ref = await served("PostgreSQL")
    world.objects[ref]["status"]["asked"]["version"] = "18"
    stands = running(world)
    world.remove(Ref("StatefulSet", "mine-pg", "acme"))
    del stands["StatefulSet acme/mine-pg"]
    outcome = (await settle(world, ref)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "ChangeRefused"
    assert "spec.parameters.version cannot be changed yet" in outcome.message
    assert running(world) == stands, "PostgreSQL 17 is not started on data of 18"


async def test_a_version_that_the_class_does_not_have_is_refused_before_anything_is_made() -> None:
    world = World()
    world.put(cls("std", claimKind="PostgreSQL"))
    spec = {"className": "std", "parameters": {"version": "16"}}
    metadata = {"name": "mine", "namespace": "acme"}
    ref = world.put({"apiVersion": GROUPS["PostgreSQL"], "kind": "PostgreSQL", "metadata": metadata, "spec": spec})
    outcome = (await settle(world, ref)).outcome
    assert outcome == Stalled(
        "VersionMissing",
        "spec.parameters.version: ServiceClass std has PostgreSQL 17, not 16; ask for what it has, or name another "
        "class",
    )
    assert running(world) == {}


async def test_a_claim_without_a_record_gets_one_and_is_not_held() -> None:
    """As one that an earlier libre.sh served."""
    world, ref = await served("Redis")
    del world.objects[ref]["status"]["asked"]
    outcome = (await settle(world, ref)).outcome
    assert isinstance(outcome, Settled)
    assert world.objects[ref]["status"]["asked"] == {"memory": "64Mi", "persistence": False}


async def test_before_a_class_serves_it_everything_can_be_changed() -> None:
    world = World()
    metadata = {"name": "mine", "namespace": "acme"}
    ref = world.put({"apiVersion": GROUPS["Redis"], "kind": "Redis", "metadata": metadata, "spec": {}})
    assert isinstance((await settle(world, ref)).outcome, Waiting)
    world.edit(ref, parameters={"persistence": True})
    world.put(cls("std", default=True))
    assert isinstance((await settle(world, ref)).outcome, Settled)
    assert world.objects[ref]["status"]["asked"]["persistence"] is True
