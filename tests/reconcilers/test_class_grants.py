"""Classes that are for some namespaces only."""

from typing import Any

import pytest

from libresh.api.cache import Redis
from libresh.catalog.settings import Settings
from libresh.plan.actions import Ref
from libresh.plan.decision import Decision, Stalled, Waiting
from libresh.reconcilers.claim import ClaimReconciler
from reconcilers.world import World

CLAIM = Ref("Redis", "cache", "acme")
RECONCILER = ClaimReconciler(Redis, Settings())


def cls(name: str, *, default: bool = False, **spec: Any) -> dict[str, Any]:
    marks = {"services.libre.sh/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": name, "annotations": marks},
        "spec": {"claimKind": "Redis", "driver": "embedded", **spec},
    }


def claim(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "cache", "namespace": "acme"}
    return {"apiVersion": "cache.libre.sh/v1alpha1", "kind": "Redis", "metadata": metadata, "spec": spec}


async def once(world: World) -> Decision:
    decision = await world.once(RECONCILER, CLAIM)
    assert decision is not None
    return decision


def chosen(world: World) -> str:
    found: str = world.objects[CLAIM].get("status", {}).get("className", "")
    return found


ALLOWED: dict[str, tuple[dict[str, Any], bool]] = {
    "a class says nothing": ({}, True),
    "all": ({"allowedNamespaces": {"all": True}}, True),
    "this namespace": ({"allowedNamespaces": {"names": ["acme"]}}, True),
    "its label": ({"allowedNamespaces": {"matchLabels": {"tier": "paid"}}}, True),
    "another namespace": ({"allowedNamespaces": {"names": ["other"]}}, False),
    "another label": ({"allowedNamespaces": {"matchLabels": {"tier": "free"}}}, False),
    "nobody": ({"allowedNamespaces": {}}, False),
}


@pytest.mark.parametrize(("spec", "allowed"), ALLOWED.values(), ids=ALLOWED)
async def test_a_named_class(spec: dict[str, Any], allowed: bool) -> None:
    world = World()
    world.put({"kind": "Namespace", "metadata": {"name": "acme", "labels": {"tier": "paid"}}})
    world.put(cls("fast", **spec))
    world.put(cls("for-all"))
    world.put(claim(className="fast"))
    outcome = (await once(world)).outcome
    assert chosen(world) == ("fast" if allowed else "")
    if not allowed:
        assert isinstance(outcome, Stalled)
        assert outcome.reason == "NotGranted"
        assert outcome.message == (
            "spec.className: ServiceClass fast does not allow the namespace acme; name one of: for-all, or ask whoever "
            "runs the cluster to add it to the class's spec.allowedNamespaces"
        )


async def test_the_default_is_one_that_the_namespace_may_use() -> None:
    world = World()
    world.put(cls("paid", default=True, allowedNamespaces={"names": ["other"]}))
    world.put(claim())
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason == "NoDefaultClass"
    assert "name one of: (there is none)" in outcome.message
    world.put(cls("free", default=True, allowedNamespaces={"names": ["acme"]}))
    await once(world)
    assert chosen(world) == "free", "two defaults are none too many where no namespace has both"


async def test_a_grant_that_is_withdrawn_stops_new_claims_and_nothing_that_runs() -> None:
    world = World()
    world.put(cls("fast"))
    world.put(claim(className="fast"))
    for _ in range(4):
        await once(world)
    server = Ref("StatefulSet", "cache-redis", "acme")
    before = world.objects[server]
    world.put(cls("fast", allowedNamespaces={}))
    outcome = (await once(world)).outcome
    assert not isinstance(outcome, Stalled)
    assert chosen(world) == "fast"
    assert world.objects[server] == before
