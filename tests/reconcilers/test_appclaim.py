"""Claims of applications, against a contract stub of a Collabora: from the founding text's object to a connection."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from libresh.api.appclaims import CollaboraClaim
from libresh.catalog.settings import Settings
from libresh.plan.actions import Literal, Ref
from libresh.plan.decision import Decision, Settled, Stalled, Waiting
from libresh.reconcilers.appclaim import AppClaimReconciler
from reconcilers.world import World
from support import collabora_stub

FOUNDING = Path(__file__).with_name("collaboraclaim.yaml")
CLAIM = Ref("CollaboraClaim", "test-instance", "default")
SECRET = Ref("Secret", "collabora-connection-details", "default")
SYSTEM = Settings().system_namespace


@pytest.fixture(autouse=True)
def stub() -> Iterator[None]:
    """The contract stub is installed, unless a test says otherwise."""
    with collabora_stub.installed():
        yield


def founding(**spec: Any) -> dict[str, Any]:
    """The founding text's object, as kubectl would put it into the namespace default."""
    obj: dict[str, Any] = yaml.safe_load(FOUNDING.read_text())
    obj["metadata"]["namespace"] = "default"
    obj["spec"] |= spec
    return obj


def office(name: str = "office", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps.libre.sh/v1alpha1",
        "kind": "Collabora",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"host": f"{name}.example.org", **spec},
    }


def put_office(world: World, name: str = "office", namespace: str = "default", **spec: Any) -> Ref:
    """A Collabora that is up."""
    ref = world.put(office(name, namespace, **spec))
    world.give_secret(f"{name}-admin", ["password"], namespace)
    world.mark(ref)
    return ref


async def settle(world: World) -> Decision:
    """Passes until nothing is written."""
    reconciler: AppClaimReconciler[CollaboraClaim] = AppClaimReconciler(CollaboraClaim, Settings())
    for _ in range(6):
        before = len(world.writes)
        decision = await world.once(reconciler, CLAIM)
        assert decision is not None
        if len(world.writes) == before:
            return decision
    raise AssertionError(f"it does not settle: {world.writes}")


def status(world: World) -> dict[str, Any]:
    return {key: value for key, value in world.objects[CLAIM]["status"].items() if key != "conditions"}


def claimed(**spec: Any) -> World:
    world = World()
    world.put(founding(**spec))
    return world


async def test_the_founding_text_gets_the_only_collabora_of_its_namespace() -> None:
    world = claimed()
    put_office(world)
    assert (await settle(world)).outcome == Settled("The connection is complete")
    assert status(world) == {
        "app": {"name": "office", "namespace": "default"},
        "binding": {"name": "collabora-connection-details"},
    }
    made = world.secrets[SECRET]
    assert made.type == "servicebinding.io/collabora"
    assert made.metadata["labels"]["libre.sh/connection-schema"] == "collabora.v1"
    assert made.values["type"] == Literal("collabora")
    assert made.values["provider"] == Literal("collabora")
    assert made.values["uri"] == Literal("http://office-web.default.svc:9980")
    assert made.values["url"] == Literal("https://office.example.org")
    assert made.metadata["ownerReferences"][0]["name"] == "test-instance"


async def test_without_a_name_it_has_the_kinds_name_for_its_secret() -> None:
    world = World()
    world.put(founding(writeConnectionSecretToRef={"name": "x"}) | {"spec": {}})
    put_office(world)
    await settle(world)
    assert status(world)["binding"] == {"name": "test-instance-collaboraclaim-connection"}


async def test_without_a_package_it_says_so_and_the_way_out() -> None:
    world = claimed()
    with collabora_stub.absent():
        outcome = (await settle(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "AppNotInstalled"
    assert "this libre.sh has no application Collabora" in outcome.message
    assert "Install a package that brings Collabora (entry point libresh.apps)" in outcome.message
    assert "type, provider, host, port, uri, url" in outcome.message
    assert world.writes == ["status CollaboraClaim default/test-instance"]


async def test_a_package_that_goes_takes_no_connection_away() -> None:
    world = claimed()
    put_office(world)
    await settle(world)
    with collabora_stub.absent():
        outcome = (await settle(world)).outcome
    assert isinstance(outcome, Stalled)
    assert not outcome.ready
    assert SECRET in world.secrets
    assert status(world)["binding"] == {"name": "collabora-connection-details"}


async def test_the_operators_own_namespace_serves_those_who_have_none() -> None:
    world = claimed()
    put_office(world, namespace=SYSTEM, allowedNamespaces={"all": True})
    assert isinstance((await settle(world)).outcome, Settled)
    assert status(world)["app"] == {"name": "office", "namespace": SYSTEM}


async def test_nobody_elses_is_taken_however_it_offers_itself() -> None:
    world = claimed()
    put_office(world, namespace="stranger", allowedNamespaces={"all": True})
    outcome = (await settle(world)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason == "NoApp"
    assert "there is no Collabora in this namespace" in outcome.message
    assert SECRET not in world.secrets


async def test_several_are_listed() -> None:
    world = claimed()
    put_office(world, "one")
    put_office(world, "two")
    outcome = (await settle(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "SeveralApps"
    assert "there are several Collabora in the namespace default: one, two; name one" in outcome.message


async def test_what_was_found_is_kept_when_another_appears() -> None:
    world = claimed()
    put_office(world, namespace=SYSTEM, allowedNamespaces={"names": ["default"]})
    await settle(world)
    put_office(world, "nearer")
    assert isinstance((await settle(world)).outcome, Settled)
    assert status(world)["app"] == {"name": "office", "namespace": SYSTEM}


async def test_naming_another_one_switches() -> None:
    world = claimed()
    put_office(world)
    await settle(world)
    put_office(world, "other")
    world.edit(CLAIM, appRef={"name": "other"})
    assert isinstance((await settle(world)).outcome, Settled)
    assert world.secrets[SECRET].values["url"] == Literal("https://other.example.org")


GRANTS: dict[str, tuple[dict[str, Any] | None, dict[str, str], bool]] = {
    "nothing": (None, {}, False),
    "an empty grant": ({}, {}, False),
    "another namespace": ({"names": ["acme"]}, {}, False),
    "this namespace": ({"names": ["acme", "default"]}, {}, True),
    "all": ({"all": True}, {}, True),
    "a label it has": ({"matchLabels": {"tier": "paid"}}, {"tier": "paid"}, True),
    "a label it has not": ({"matchLabels": {"tier": "paid"}}, {"tier": "free"}, False),
}


@pytest.mark.parametrize(("grant", "labels", "allowed"), GRANTS.values(), ids=GRANTS)
async def test_another_namespace_needs_the_owners_grant(
    grant: dict[str, Any] | None, labels: dict[str, str], allowed: bool
) -> None:
    world = claimed(appRef={"name": "office", "namespace": "acme"})
    world.put({"kind": "Namespace", "metadata": {"name": "default", "labels": labels}})
    put_office(world, namespace="acme", **({} if grant is None else {"allowedNamespaces": grant}))
    outcome = (await settle(world)).outcome
    assert (SECRET in world.secrets) is allowed
    if allowed:
        assert isinstance(outcome, Settled)
        return
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "NotGranted"
    assert "spec.appRef: no Collabora office in the namespace acme allows the namespace default" in outcome.message
    assert "add it to spec.allowedNamespaces.names there" in outcome.message


async def test_strangers_cannot_tell_what_is_there_from_what_is_not() -> None:
    there, absent = (
        claimed(appRef={"name": "office", "namespace": "acme"}),
        claimed(appRef={"name": "office", "namespace": "acme"}),
    )
    put_office(there, namespace="acme")
    assert (await settle(there)).outcome == (await settle(absent)).outcome


async def test_a_withdrawn_grant_takes_the_connection_away_and_a_new_one_brings_it_back() -> None:
    world = claimed(appRef={"name": "office", "namespace": "acme"})
    ref = put_office(world, namespace="acme", allowedNamespaces={"names": ["default"]})
    await settle(world)
    before = world.secrets[SECRET].values
    world.edit(ref, allowedNamespaces=None)
    world.mark(ref)
    outcome = (await settle(world)).outcome
    assert isinstance(outcome, Stalled)
    assert not outcome.ready
    assert SECRET not in world.secrets
    assert "binding" not in status(world)
    world.edit(ref, allowedNamespaces={"all": True})
    world.mark(ref)
    assert isinstance((await settle(world)).outcome, Settled)
    assert world.secrets[SECRET].values == before


async def test_a_label_that_is_taken_from_a_namespace_withdraws_the_grant() -> None:
    world = claimed(appRef={"name": "office", "namespace": "acme"})
    world.put({"kind": "Namespace", "metadata": {"name": "default", "labels": {"tier": "paid"}}})
    put_office(world, namespace="acme", allowedNamespaces={"matchLabels": {"tier": "paid"}})
    assert isinstance((await settle(world)).outcome, Settled)
    world.put({"kind": "Namespace", "metadata": {"name": "default", "labels": {}}})
    assert isinstance((await settle(world)).outcome, Stalled)
    assert SECRET not in world.secrets


async def test_it_waits_for_the_application_and_keeps_its_connection_when_that_goes_down() -> None:
    world = claimed(appRef={"name": "office"})
    outcome = (await settle(world)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason == "AppNotFound"
    ref = world.put(office())
    world.give_secret("office-admin", ["password"], "default")
    world.mark(ref, ready=False)
    assert (await settle(world)).outcome.reason == "AppNotReady"
    assert SECRET not in world.secrets
    world.mark(ref)
    assert isinstance((await settle(world)).outcome, Settled)
    world.mark(ref, ready=False)
    outcome = (await settle(world)).outcome
    assert isinstance(outcome, Waiting)
    assert SECRET in world.secrets, "whoever uses it need not restart when the application is back"
    assert status(world)["binding"] == {"name": "collabora-connection-details"}


async def test_an_applications_own_words_stay_in_its_namespace() -> None:
    world = claimed(appRef={"name": "office", "namespace": "acme"})
    ref = put_office(world, namespace="acme", allowedNamespaces={"all": True})
    world.mark(ref, ready=False)
    world.objects[ref]["status"]["conditions"][0]["message"] = "the database chat-secret-project is down"
    assert (await settle(world)).outcome == Waiting("AppNotReady", "Collabora acme/office is not ready")


async def test_somebody_elses_secret_is_not_overwritten() -> None:
    world = claimed()
    put_office(world)
    world.give_secret(SECRET.name, ["mine"], "default")
    outcome = (await settle(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "SecretTaken"
    assert set(world.secrets[SECRET].values) == {"mine"}


async def test_a_deleted_connection_comes_back() -> None:
    world = claimed()
    put_office(world)
    await settle(world)
    before = world.secrets[SECRET].values
    world.remove(SECRET)
    assert isinstance((await settle(world)).outcome, Settled)
    assert world.secrets[SECRET].values == before


async def test_another_secret_name_leaves_no_old_one_behind() -> None:
    world = claimed()
    put_office(world)
    await settle(world)
    world.edit(CLAIM, writeConnectionSecretToRef={"name": "elsewhere"})
    assert isinstance((await settle(world)).outcome, Settled)
    assert SECRET not in world.secrets
    assert Ref("Secret", "elsewhere", "default") in world.secrets


async def test_a_package_that_says_less_than_the_schema_is_found_out() -> None:
    world = claimed()
    put_office(world)
    whole = collabora_stub.connection

    def less(*args: Any) -> Any:
        return {key: value for key, value in whole(*args).items() if key != "url"}

    object.__setattr__(collabora_stub.PACKAGE.offer, "connection", less)
    try:
        outcome = (await settle(world)).outcome
    finally:
        object.__setattr__(collabora_stub.PACKAGE.offer, "connection", whole)
    assert outcome == Waiting(
        "ConnectionIncomplete", "The connection secret collabora-connection-details has no url yet"
    )
    assert "binding" not in status(world)
