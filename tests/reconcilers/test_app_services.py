"""Where an application takes its services from: a class, a claim that exists (here or shared), a secret that exists."""

from typing import Any

import pytest

from libresh.api import CLAIMS
from libresh.drivers.connection import TYPES, USUAL
from libresh.plan.actions import Mint, Ref
from libresh.plan.decision import Settled, Stalled, Waiting
from reconcilers.test_app import CHAT, RECONCILER, SYNAPSE, bind_claims, delete, matrix, once, profile, settle, status
from reconcilers.world import World

GROUPS = {kind.KIND.kind: kind.KIND.api_version for kind in CLAIMS}
EVERY: dict[str, tuple[str, str]] = {
    "database": ("PostgreSQL", "chat-db"),
    "cache": ("Redis", "chat-cache"),
    "objectStore": ("Bucket", "chat-media"),
    "mail": ("SMTPAccount", "chat-mail"),
    "login": ("OIDCClient", "chat-login"),
}
"""Every service of a Matrix: its kind, and the claim that is made for it."""
DATA = ("database", "objectStore")
PARAMETERS = {"OIDCClient": {"parameters": {"redirectUris": ["https://a.example.org/"]}}}

every_role = pytest.mark.parametrize("role", EVERY)


def claim(kind: str, name: str = "mine", namespace: str = "acme", **spec: Any) -> dict[str, Any]:
    """A claim that somebody made."""
    return {
        "apiVersion": GROUPS[kind],
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**PARAMETERS.get(kind, {}), **spec},
    }


def claims_of(world: World, kind: str) -> set[str]:
    return {ref.name for ref in world.objects if ref.kind == kind and ref.namespace == "acme"}


async def running(**spec: Any) -> World:
    world = World()
    world.put(matrix(**spec))
    assert isinstance((await settle(world)).outcome, Settled)
    return world


@every_role
async def test_by_class(role: str) -> None:
    kind, made = EVERY[role]
    world = await running(**{role: {"className": "standard"}})
    assert world.objects[Ref(kind, made, "acme")]["spec"]["className"] == "standard"


@every_role
async def test_by_a_claim_that_exists(role: str) -> None:
    kind, _ = EVERY[role]
    world = World()
    world.put(claim(kind))
    before = world.objects[Ref(kind, "mine", "acme")]["spec"]
    world.put(matrix(**{role: {"claim": "mine"}}))
    assert isinstance((await settle(world)).outcome, Settled)
    assert claims_of(world, kind) == {"mine"}, "none is made beside it"
    assert world.objects[Ref(kind, "mine", "acme")]["spec"] == before, "it is left alone"


@every_role
async def test_by_a_secret_that_exists(role: str) -> None:
    kind, _ = EVERY[role]
    world = World()
    world.put(matrix(**{role: {"secret": "given"}}))
    for _ in range(3):
        outcome = (await once(world)).outcome
        bind_claims(world)
    assert outcome == Waiting("NeedsNotReady", f"spec.{role}.secret: there is no Secret given in this namespace")
    lacking = USUAL[kind][-1]
    world.give_secret("given", USUAL[kind][:-1])
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.message == f"spec.{role}.secret: the Secret given has no key {lacking}; add what is missing"
    world.give_secret("given", USUAL[kind])
    assert isinstance((await settle(world)).outcome, Settled)
    assert claims_of(world, kind) == set()


@every_role
async def test_a_secret_of_another_kind_is_refused(role: str) -> None:
    kind, _ = EVERY[role]
    other = "Redis" if kind != "Redis" else "Bucket"
    world = World()
    world.put(matrix(**{role: {"secret": "given"}}))
    world.give_secret("given", USUAL[kind])
    given = Ref("Secret", "given", "acme")
    world.secrets[given] = Mint(
        world.secrets[given].metadata, world.secrets[given].values, type=f"servicebinding.io/{TYPES[other]}"
    )
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "WrongSecret"
    assert f"is of the type servicebinding.io/{TYPES[other]}, not servicebinding.io/{TYPES[kind]}" in outcome.message


@every_role
async def test_a_claim_of_another_kind_is_not_found(role: str) -> None:
    kind, _ = EVERY[role]
    world = World()
    world.put(claim("Redis" if kind != "Redis" else "Bucket"))
    world.put(matrix(**{role: {"claim": "mine"}}))
    for _ in range(3):
        outcome = (await once(world)).outcome
        bind_claims(world)
    assert outcome == Waiting(
        "NeedsNotReady",
        f"spec.{role}.claim: there is no {kind} mine in this namespace; make it, or name another {kind}",
    )


@every_role
@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_naming_the_claim_that_was_made_for_it_loses_nothing(role: str, policy: str) -> None:
    kind, made = EVERY[role]
    world = await running(**{role: {}}, deletionPolicy=policy)
    uid = world.objects[Ref(kind, made, "acme")]["metadata"]["uid"]
    world.edit(CHAT, **{role: {"claim": made}})
    assert isinstance((await settle(world)).outcome, Settled)
    assert world.objects[Ref(kind, made, "acme")]["metadata"]["uid"] == uid
    assert not [write for write in world.writes if write.startswith(("prune", "delete"))]


@every_role
async def test_going_from_a_claim_of_its_own_to_another_one(role: str) -> None:
    """Where data is, it is refused: it would be left behind. Elsewhere the old claim goes once the new one serves."""
    kind, made = EVERY[role]
    world = await running(**{role: {}})
    world.edit(CHAT, **{role: {"claim": "mine"}})
    outcome = (await once(world)).outcome
    if role in DATA:
        assert isinstance(outcome, Stalled)
        assert outcome.reason == "ServiceMoved"
        assert outcome.ready, "what runs is left alone"
        assert claims_of(world, kind) == {made}
        return
    assert isinstance(outcome, Waiting)
    assert claims_of(world, kind) == {made}, "it stays until there is the other one"
    world.put(claim(kind))
    assert isinstance((await settle(world)).outcome, Settled)
    assert claims_of(world, kind) == {"mine"}


@every_role
async def test_a_claim_of_another_application_is_refused(role: str) -> None:
    kind, _ = EVERY[role]
    world = World()
    world.put(matrix("other", **{role: {}}))
    await settle(world, Ref("Matrix", "other", "acme"))
    (theirs,) = claims_of(world, kind)
    world.put(matrix(**{role: {"claim": theirs}}))
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "ServiceTaken"
    assert f"{kind} {theirs} was made for Matrix other and goes with it" in outcome.message


async def test_the_secret_of_its_own_claim_is_refused() -> None:
    world = await running()
    cache = world.objects[Ref("Redis", "chat-cache", "acme")]
    secret = Ref("Secret", "chat-cache-connection", "acme")
    owner = {"apiVersion": "v", "kind": "Redis", "name": "chat-cache", "uid": cache["metadata"]["uid"]}
    made = world.secrets[secret]
    world.secrets[secret] = Mint(made.metadata | {"ownerReferences": [owner]}, made.values)
    world.edit(CHAT, cache={"secret": secret.name})
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "ServiceTaken"
    assert "is the connection of Redis chat-cache, which was made for this application" in outcome.message
    assert Ref("Redis", "chat-cache", "acme") in world.objects


async def test_two_applications_do_not_keep_their_data_in_one_database() -> None:
    world = World()
    world.put(claim("PostgreSQL"))
    world.put(matrix(database={"claim": "mine"}))
    assert isinstance((await settle(world)).outcome, Settled)
    world.put(matrix("late", database={"claim": "mine"}))
    late = Ref("Matrix", "late", "acme")
    outcome = (await once(world, late)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "ServiceTaken"
    assert "Matrix acme/chat, which is older, keeps its data with PostgreSQL mine" in outcome.message
    assert isinstance((await once(world)).outcome, Settled), "the older one goes on"


async def test_a_cache_may_be_named_by_two() -> None:
    world = World()
    world.put(claim("Redis"))
    world.put(matrix(cache={"claim": "mine"}))
    world.put(matrix("late", cache={"claim": "mine"}))
    assert isinstance((await settle(world)).outcome, Settled)
    assert isinstance((await settle(world, Ref("Matrix", "late", "acme"))).outcome, Settled)


UNCLEAR: dict[str, tuple[dict[str, Any], str]] = {
    "a class and a claim": ({"className": "ha", "claim": "mine"}, "has className and claim"),
    "a claim and a secret": ({"claim": "mine", "secret": "given"}, "has claim and secret"),
    "a namespace alone": ({"namespace": "other"}, "has namespace"),
}


@pytest.mark.parametrize(("wish", "words"), UNCLEAR.values(), ids=UNCLEAR)
async def test_what_a_profile_leaves_unclear_is_refused(wish: dict[str, Any], words: str) -> None:
    """The API server cannot see into a profile's defaults."""
    world = World()
    world.put(profile("coop", default=True, database=wish))
    world.put(matrix())
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "ServiceUnclear"
    assert f"spec.database {words}" in outcome.message


# --- claims of other namespaces -----------------------------------------------------------------------------------


def shared(role: str = "database", grant: dict[str, Any] | None = None) -> World:
    """A claim in `data` that may be used from elsewhere, and a Matrix that names it."""
    kind, _ = EVERY[role]
    world = World()
    world.put({"kind": "Namespace", "metadata": {"name": "acme", "labels": {"tier": "paid"}}})
    world.put(claim(kind, "big", "data", **({} if grant is None else {"allowedNamespaces": grant})))
    world.put(matrix(**{role: {"claim": "big", "namespace": "data"}}))
    return world


@every_role
async def test_a_claim_of_another_namespace_is_used_by_a_copy_of_its_connection(role: str) -> None:
    kind, made = EVERY[role]
    world = shared(role, {"names": ["acme"]})
    assert isinstance((await settle(world)).outcome, Settled)
    copy = world.secrets[Ref("Secret", f"{made}-shared", "acme")]
    assert {value.source.namespace for value in copy.values.values()} == {"data"}  # type: ignore[union-attr]
    assert set(copy.values) == set(USUAL[kind])
    assert {"role": role, "ref": f"{kind} big of data", "ready": True} in status(world)["backing"]
    assert claims_of(world, kind) == set()
    before = len(world.writes)
    await once(world)
    assert world.writes[before:] == []


async def test_what_it_may_connect_to_follows() -> None:
    world = shared(grant={"matchLabels": {"tier": "paid"}})
    await settle(world)
    policy = world.objects[Ref("NetworkPolicy", "chat-synapse", "acme")]["spec"]
    there = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "data"}},
        "podSelector": {"matchLabels": {"libre.sh/owner": "PostgreSQL.big"}},
    }
    assert any(there in rule.get("to", ()) for rule in policy["egress"])


DENIED: dict[str, dict[str, Any] | None] = {
    "no grant": None,
    "an empty grant": {},
    "a grant for another": {"names": ["other"]},
    "a grant by another label": {"matchLabels": {"tier": "free"}},
}


@pytest.mark.parametrize("grant", DENIED.values(), ids=DENIED)
async def test_without_a_grant_nothing_is_shared(grant: dict[str, Any] | None) -> None:
    world = shared(grant=grant)
    for _ in range(3):
        outcome = (await once(world)).outcome
        bind_claims(world)
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "NotGranted"
    assert outcome.message == (
        "spec.database.claim: no PostgreSQL big in the namespace data allows this namespace; ask its owner to add it "
        "to spec.allowedNamespaces.names there, or name another one"
    )
    assert not [ref for ref in world.secrets if ref.name == "chat-db-shared"]
    assert SYNAPSE not in world.objects


async def test_a_withdrawn_grant_takes_the_copy_away_and_what_runs_goes_on() -> None:
    world = shared(grant={"all": True})
    await settle(world)
    running, big, copy = (
        world.objects[SYNAPSE],
        Ref("PostgreSQL", "big", "data"),
        Ref("Secret", "chat-db-shared", "acme"),
    )
    before = world.secrets[copy].values
    world.edit(big, allowedNamespaces=None)
    outcome = (await settle(world)).outcome
    assert isinstance(outcome, Stalled)
    assert not outcome.ready
    assert copy not in world.secrets
    assert world.objects[SYNAPSE] == running, "its pods are not touched"
    world.edit(big, allowedNamespaces={"all": True})
    assert isinstance((await settle(world)).outcome, Settled)
    assert world.secrets[copy].values == before


async def test_the_copy_overwrites_nobodys_secret() -> None:
    world = shared(grant={"all": True})
    world.give_secret("chat-db-shared", ["mine"])
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "NameTaken"
    assert (
        "the Secret chat-db-shared, where the connection of PostgreSQL big of data would be copied to"
        in outcome.message
    )
    assert set(world.secrets[Ref("Secret", "chat-db-shared", "acme")].values) == {"mine"}


async def test_a_copy_that_is_not_needed_any_more_goes() -> None:
    world = shared("cache", {"all": True})
    await settle(world)
    world.edit(CHAT, cache=None)
    assert isinstance((await settle(world)).outcome, Settled)
    assert Ref("Secret", "chat-cache-shared", "acme") not in world.secrets


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_deleting_the_application_leaves_others_claims_alone(policy: str) -> None:
    world = shared(grant={"all": True})
    world.edit(CHAT, deletionPolicy=policy)
    await settle(world)
    delete(world)
    for _ in range(10):
        await world.once(RECONCILER, CHAT)
    assert CHAT not in world.objects
    assert Ref("PostgreSQL", "big", "data") in world.objects
