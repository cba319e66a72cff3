"""What claims and applications require of the services behind them: who is told what, and which way is out."""

from typing import Any

import pytest

from libresh.api.database import PostgreSQL
from libresh.catalog.settings import Settings
from libresh.plan.actions import Ref
from libresh.plan.decision import Decision, Settled, Stalled
from libresh.reconcilers.claim import ClaimReconciler
from reconcilers import test_app, test_app_services
from reconcilers.test_app import CHAT, SYNAPSE, bind_claims, matrix, profile, status
from reconcilers.test_app_services import EVERY, claim, every_role
from reconcilers.test_class_grants import cls
from reconcilers.world import World

DB = Ref("PostgreSQL", "mine", "acme")
RECONCILER = ClaimReconciler(PostgreSQL, Settings())
HA = {"parameters": {"members": 3}}
MISSING = "CapabilityMissing"


def databases(name: str, **more: Any) -> dict[str, Any]:
    return cls(name, claimKind="PostgreSQL", **more)


async def once(world: World) -> Decision:
    decision = await world.once(RECONCILER, DB)
    assert decision is not None
    return decision


# what: (classes, the claim's spec, what is said)
UNABLE: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "one that can is named": (
        [databases("small"), databases("ha", **HA)], {"className": "small", "requires": ["ha", "expand"]},
        "spec.requires: ServiceClass small (driver embedded) does not promise ha; name a class that promises all of it "
        "in spec.className: ha; or take ha out, or wait: it is provisioned as soon as the class does",
    ),
    "none can": (
        [databases("small"), databases("ha", **HA)], {"className": "ha", "requires": ["pitr", "clone"]},
        "does not promise clone, pitr; no class for PostgreSQL promises all of it: take clone, pitr out, or wait",
    ),
    "the default is held to it, too": (
        [databases("small", default=True), databases("ha", **HA)], {"requires": ["ha"]},
        "ServiceClass small (driver embedded) does not promise ha; name a class that promises all of it in "
        "spec.className: ha; or",
    ),
    "in the other spelling": (
        [databases("small")], {"compositionRef": {"name": "small"}, "requires": ["ha"]}, "small (driver embedded)",
    ),
    "of other namespaces' classes nothing is said": (
        [databases("small"), databases("ha", **HA, allowedNamespaces={"names": ["other"]})],
        {"className": "small", "requires": ["ha"]}, "no class for PostgreSQL promises all of it: ",
    ),
    "nor of those of other kinds": (
        [databases("small"), cls("cache", claimKind="Redis"), cls("store", claimKind="Bucket", **HA)],
        {"className": "small", "requires": ["ha"]}, "no class for PostgreSQL promises all of it: ",
    ),
    "nor of those whose parameters fit nothing": (
        [databases("small"), databases("bad", parameters={"members": "three"})],
        {"className": "small", "requires": ["ha"]}, "no class for PostgreSQL promises all of it: ",
    ),
    "nor of those whose driver is not there": (
        [databases("small"), databases("odd", driver="odd")], {"className": "small", "requires": ["ha"]},
        "no class for PostgreSQL promises all of it: ",
    ),
    "of what other operators can do nothing is known": (
        [databases("given", driver="static", parameters={"secretRef": {"name": "a", "namespace": "b"}})],
        {"className": "given", "requires": ["ha"]}, "ServiceClass given (driver static) does not promise ha",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNABLE)
async def test_a_class_that_does_not_promise_it_makes_nothing(case: str) -> None:
    classes, spec, words = UNABLE[case]
    world = World()
    for each in classes:
        world.put(each)
    world.put(claim("PostgreSQL", **spec))
    decision = await once(world)
    assert isinstance(decision.outcome, Stalled)
    assert decision.outcome.reason == MISSING
    assert not decision.outcome.ready
    assert words in decision.outcome.message
    assert (decision.status, decision.actions) == ({}, ())


@pytest.mark.parametrize(
    ("given", "reason"),
    [({"driver": "odd"}, "DriverUnknown"), ({"parameters": {"members": "three"}}, "InvalidClassParameters")],
)
async def test_a_class_that_cannot_serve_at_all_says_that_first(given: dict[str, Any], reason: str) -> None:
    world = World()
    world.put(databases("bad", **given))
    world.put(claim("PostgreSQL", className="bad", requires=["ha"]))
    assert getattr((await once(world)).outcome, "reason", "") == reason


async def test_what_is_promised_is_provisioned() -> None:
    world = World()
    world.put(databases("ha", **HA))
    world.put(claim("PostgreSQL", className="ha", requires=["quota", "ha"]))
    assert (await once(world)).status["className"] == "ha"


async def test_an_edit_of_the_class_afterwards_is_not_the_claims() -> None:
    world = World()
    world.put(databases("ha", **HA))
    world.put(claim("PostgreSQL", className="ha", requires=["ha"]))
    await once(world)
    world.put(databases("ha"))
    assert getattr((await once(world)).outcome, "reason", "") != MISSING


# --- applications -------------------------------------------------------------------------------------------------


def bind(world: World, *capabilities: str) -> None:
    """The claims' own reconcilers did their work; all services can do this."""
    bind_claims(world)
    for ref, obj in list(world.objects.items()):
        if ref.kind in test_app_services.GROUPS and "binding" in obj.get("status", {}):
            world.objects[ref] = {**obj, "status": {**obj["status"], "capabilities": list(capabilities)}}


async def settle(world: World, *capabilities: str) -> Decision:
    for _ in range(20):
        before = len(world.writes)
        bind(world, *capabilities)
        await test_app.once(world)
        bind(world, *capabilities)
        world.roll_out()
        if len(world.writes) == before:
            return await test_app.once(world)
    raise AssertionError(f"it does not settle: {world.writes[-10:]}")


def told(role: str, service: str, words: str = "ha") -> str:
    kind, name = service.split()[:2]
    return (
        f"spec.{role}.requires: {service} cannot do {words}; name a service that can, or take {words} out (libresh "
        f"claim explain {kind.lower()}/{name} tells what another class would take)"
    )


@every_role
async def test_a_claim_that_exists_is_held_to_what_the_application_requires(role: str) -> None:
    kind, _ = EVERY[role]
    world = World()
    world.put(claim(kind))
    world.put(matrix(**{role: {"claim": "mine", "requires": ["quota", "ha"]}}))
    outcome = (await settle(world, "quota")).outcome
    assert outcome == Stalled(MISSING, told(role, f"{kind} mine"))
    assert SYNAPSE not in world.objects, "it is not started"
    assert not [ref for ref in world.objects if ref.kind == "Job"]
    (backing,) = [each for each in status(world)["backing"] if each["role"] == role]
    assert backing == {"role": role, "ref": f"{kind} mine", "ready": True, "message": told(role, f"{kind} mine")}
    assert "requires" not in world.objects[Ref(kind, "mine", "acme")]["spec"], "somebody else's claim is left alone"
    assert isinstance((await settle(world, "quota", "ha")).outcome, Settled)
    assert SYNAPSE in world.objects


async def test_so_is_one_of_another_namespace() -> None:
    world = World()
    world.put(claim("PostgreSQL", "big", "data", allowedNamespaces={"all": True}))
    world.put(matrix(database={"claim": "big", "namespace": "data", "requires": ["ha"]}))
    assert (await settle(world)).outcome == Stalled(MISSING, told("database", "PostgreSQL big of data"))
    assert isinstance((await settle(world, "ha")).outcome, Settled)


async def test_what_runs_goes_on_and_is_looked_after() -> None:
    world = World()
    world.put(matrix())
    await settle(world)
    before = world.objects[SYNAPSE]
    world.edit(CHAT, database={"requires": ["ha"]}, cache={"requires": ["ha"]})
    outcome = (await settle(world)).outcome
    both = f"{told('database', 'PostgreSQL chat-db')}; {told('cache', 'Redis chat-cache')}"
    assert outcome == Stalled(MISSING, both, ready=True)
    assert world.objects[SYNAPSE] == before
    world.edit(CHAT, settings={"maxUploadSize": "1M"})
    outcome = (await settle(world)).outcome
    assert outcome == Stalled(MISSING, both, ready=True)
    assert world.objects[SYNAPSE]["spec"] != before["spec"], "other edits are made"
    world.objects[SYNAPSE].pop("status")
    outcome = (await test_app.once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert not outcome.ready, "what does not run is told, whatever is required"
    assert "Besides: " in outcome.message


@every_role
async def test_the_claim_that_is_made_for_it_requires_it(role: str) -> None:
    kind, made = EVERY[role]
    world = World()
    world.put(matrix(**{role: {"className": "std", "requires": ["quota", "ha", "quota"]}}))
    await test_app.once(world)
    assert world.objects[Ref(kind, made, "acme")]["spec"]["requires"] == ["ha", "quota"]


async def test_another_class_can_be_named_while_none_serves_the_claim() -> None:
    """As the claim says that it should be. Once one serves it, it stays."""
    world = World()
    world.put(matrix(database={"className": "small"}))
    await test_app.once(world)
    world.edit(CHAT, database={"className": "ha"})
    await test_app.once(world)
    made = Ref("PostgreSQL", "chat-db", "acme")
    assert world.objects[made]["spec"]["className"] == "ha"
    world.mark(made, className="ha", driver="embedded")
    world.edit(CHAT, database={"className": "small"})
    outcome = (await test_app.once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "ClassFixed"


PROFILES: dict[str, tuple[dict[str, Any], str, str]] = {
    "a secret": (
        {"secret": "given", "requires": ["ha"]}, "ServiceUnclear",
        "spec.database has secret and requires, with what profiles give: nobody knows what stands behind a Secret",
    ),
    "a word that is none": (
        {"requires": ["fast"]}, "InvalidDefaults",
        "spec.defaults.database.requires[0]: Invalid enum value 'fast' (it takes clone, expand, ha, keep, pitr, ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PROFILES)
async def test_what_a_profile_gives_is_looked_at_as_well(case: str) -> None:
    """The API server cannot see into a profile's defaults."""
    wish, reason, words = PROFILES[case]
    world = World()
    world.put(profile("coop", default=True, database=wish))
    world.put(matrix())
    outcome = (await test_app.once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == reason
    assert words in outcome.message
