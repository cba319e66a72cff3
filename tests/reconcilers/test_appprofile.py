"""Profiles say themselves whether they can be used, and by how many they are named."""

from typing import Any

import pytest

from libresh.plan.actions import Ref
from libresh.plan.decision import Settled, Stalled
from libresh.reconcilers.appprofile import AppProfileReconciler
from reconcilers.world import World

COOP = Ref("AppProfile", "coop")
RECONCILER = AppProfileReconciler()


def profile(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps.libre.sh/v1alpha1",
        "kind": "AppProfile",
        "metadata": {"name": "coop"},
        "spec": {"appKind": "Matrix", **spec},
    }


async def test_it_counts_who_names_it() -> None:
    world = World()
    world.put(profile(defaults={"settings": {"federation": False}}))
    for name, named in (("a", "coop"), ("b", "coop"), ("c", "other")):
        meta = {"name": name, "namespace": "acme"}
        world.put(
            {"apiVersion": "apps.libre.sh/v1alpha1", "kind": "Matrix", "metadata": meta, "spec": {"profile": named}}
        )
    decision = await world.once(RECONCILER, COOP)
    assert decision is not None
    assert isinstance(decision.outcome, Settled)
    assert decision.status == {"instances": 2}


REFUSED = {
    "an application nobody installed": (
        {"appKind": "Wiki"},
        "AppUnknown",
        "there is no application Wiki; there are: Matrix",
    ),
    "defaults that do not fit": (
        {"defaults": {"settings": {"federation": 3}}},
        "InvalidDefaults",
        "settings.federation",
    ),
    "a path nobody has": ({"locked": ["settings.colour"]}, "InvalidDefaults", "settings.colour"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused(case: str) -> None:
    spec, reason, words = REFUSED[case]
    world = World()
    world.put(profile(**spec))
    decision = await world.once(RECONCILER, COOP)
    assert decision is not None
    assert isinstance(decision.outcome, Stalled)
    assert decision.outcome.reason == reason
    assert words in decision.outcome.message
