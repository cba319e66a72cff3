"""Applications from the object to the last pod: stories in a world that does what it is told."""

from typing import Any

import pytest

from libresh.apps import packages
from libresh.catalog.settings import Settings
from libresh.drivers.connection import USUAL
from libresh.plan.actions import Ref
from libresh.plan.decision import Decision, Settled, Stalled, Waiting
from libresh.reconcilers.app import AppReconciler
from reconcilers.world import World

MATRIX = packages()["Matrix"]
CHAT = Ref("Matrix", "chat", "acme")
SYNAPSE = Ref("Deployment", "chat-synapse", "acme")
RECONCILER: AppReconciler[Any] = AppReconciler(MATRIX, Settings(image_prefix="images.test"))


def matrix(name: str = "chat", namespace: str = "acme", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps.libre.sh/v1alpha1",
        "kind": "Matrix",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"host": f"{name}.example.org", **spec},
    }


def profile(name: str, *, default: bool = False, locked: tuple[str, ...] = (), **defaults: Any) -> dict[str, Any]:
    marks = {"apps.libre.sh/is-default-profile": "true"} if default else {}
    return {
        "apiVersion": "apps.libre.sh/v1alpha1",
        "kind": "AppProfile",
        "metadata": {"name": name, "annotations": marks},
        "spec": {"appKind": "Matrix", "defaults": defaults, "locked": list(locked)},
    }


def bind_claims(world: World) -> None:
    """The claims' own reconcilers did their work."""
    for ref, obj in list(world.objects.items()):
        if ref.kind in USUAL and obj["metadata"]["generation"] != seen_generation(obj):
            secret = f"{ref.name}-connection"
            if Ref("Secret", secret, ref.namespace) not in world.secrets:
                world.give_secret(secret, USUAL[ref.kind], ref.namespace)
            world.mark(ref, binding={"name": secret}, driver="embedded", className="standard")


def seen_generation(obj: dict[str, Any]) -> int:
    """The generation the claim's reconciler has seen."""
    conditions = obj.get("status", {}).get("conditions", [])
    return conditions[0].get("observedGeneration", 0) if conditions else 0


async def once(world: World, ref: Ref = CHAT) -> Decision:
    decision = await world.once(RECONCILER, ref)
    assert decision is not None
    return decision


async def settle(world: World, ref: Ref = CHAT) -> Decision:
    """Lets everybody do their work until nothing changes."""
    for _ in range(20):
        before = len(world.writes)
        await once(world, ref)
        bind_claims(world)
        world.roll_out()
        if len(world.writes) == before:
            return await once(world, ref)
    raise AssertionError(f"it does not settle: {world.writes[-10:]}")


@pytest.fixture
async def world() -> World:
    """A world with a Matrix that is up."""
    made = World()
    made.put(matrix())
    assert isinstance((await settle(made)).outcome, Settled)
    return made


def status(world: World, ref: Ref = CHAT) -> dict[str, Any]:
    found: dict[str, Any] = world.objects[ref]["status"]
    return found


async def test_it_goes_from_nothing_to_settled_in_the_right_order() -> None:
    world = World()
    world.put(matrix())
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason == "NeedsNotReady"
    assert "PostgreSQL chat-db is being made" in outcome.message
    assert not [write for write in world.writes if "Deployment" in write or "Job" in write]

    bind_claims(world)
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason == "RunningTasks"
    assert [ref.name for ref in world.objects if ref.kind == "Job"]
    assert SYNAPSE not in world.objects

    world.roll_out()
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Waiting)
    assert outcome.reason == "RollingOut"
    assert outcome.message == "Waiting for synapse to be ready"

    world.roll_out()
    assert isinstance((await once(world)).outcome, Settled)


async def test_a_settled_pass_writes_nothing(world: World) -> None:
    before = len(world.writes)
    await once(world)
    assert world.writes[before:] == []


async def test_the_status_says_what_is_so(world: World) -> None:
    found = status(world)
    assert found["version"] == "1.163.2"
    assert found["url"] == "https://chat.example.org"
    assert found["components"] == [{"name": "synapse", "ready": True}]
    assert [each["ref"] for each in found["backing"]] == ["Redis chat-cache", "PostgreSQL chat-db", "Bucket chat-media"]
    assert found["kept"] == ["Bucket chat-media", "PostgreSQL chat-db", "Secret chat-keys"]
    assert found["effective"]["settings.registration"] == {"value": "Closed", "from": "built in"}


@pytest.mark.parametrize("deaths", range(1, 16))
async def test_a_crash_after_any_write_still_settles(deaths: int) -> None:
    world = World()
    world.put(matrix(mail={}, login={}))
    for _ in range(30):
        await world.once(RECONCILER, CHAT, stop_after=deaths)
        bind_claims(world)
        world.roll_out()
    assert isinstance((await settle(world)).outcome, Settled)


async def test_everything_that_is_deleted_comes_back(world: World) -> None:
    made = [ref for ref in [*world.objects, *world.secrets] if ref.kind not in USUAL and ref != CHAT]
    gone = [ref for ref in made if not ref.name.endswith("-connection") and ref.kind != "Job"]
    assert len(gone) > 8
    for ref in gone:
        world.remove(ref)
        await settle(world)
        assert ref in world.objects or ref in world.secrets, ref


async def test_a_finished_job_may_be_tidied_away_without_being_run_again(world: World) -> None:
    (job,) = [ref for ref in world.objects if ref.kind == "Job"]
    world.remove(job)
    assert isinstance((await once(world)).outcome, Settled)
    assert job not in world.objects


async def test_a_failed_job_stalls_and_says_where_to_look_and_how_to_go_on() -> None:
    world = World()
    world.put(matrix())
    await once(world)
    bind_claims(world)
    await once(world)
    (job,) = [ref for ref in world.objects if ref.kind == "Job"]
    world.objects[job]["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "TaskFailed"
    assert f"kubectl logs -n acme job/{job.name}" in outcome.message
    assert f"kubectl delete -n acme job/{job.name}" in outcome.message
    world.remove(job)
    assert isinstance((await settle(world)).outcome, Settled)


CHANGES: dict[str, tuple[dict[str, Any], bool]] = {
    "another upload limit restarts it": ({"settings": {"maxUploadSize": "100M"}}, True),
    "an ingress class restarts nothing": ({"ingress": {"className": "nginx"}}, False),
    "a certificate restarts nothing": ({"ingress": {"tls": {"clusterIssuer": "letsencrypt"}}}, False),
    "keeping or not keeping the data restarts nothing": ({"deletionPolicy": "Delete"}, False),
    "saying the default restarts nothing": ({"settings": {"registration": "Closed"}, "version": "1.163"}, False),
    "mail restarts it": ({"mail": {}}, True),
}


@pytest.mark.parametrize("case", CHANGES)
async def test_a_setting_restarts_only_what_must(world: World, case: str) -> None:
    change, restarts = CHANGES[case]
    before = world.objects[SYNAPSE]["spec"]["template"]
    world.edit(CHAT, **change)
    assert isinstance((await settle(world)).outcome, Settled)
    assert (world.objects[SYNAPSE]["spec"]["template"] != before) is restarts
    assert len([ref for ref in world.objects if ref.kind == "Job"]) == 1


async def test_while_a_change_rolls_it_does_not_claim_to_be_done(world: World) -> None:
    world.edit(CHAT, settings={"maxUploadSize": "100M"})
    assert isinstance((await once(world)).outcome, Waiting)


async def test_a_rotated_password_restarts_it(world: World) -> None:
    before = world.objects[SYNAPSE]["spec"]["template"]
    world.give_secret("chat-db-connection", USUAL["PostgreSQL"])
    await settle(world)
    assert world.objects[SYNAPSE]["spec"]["template"] != before


async def test_what_is_no_longer_wanted_goes(world: World) -> None:
    world.edit(CHAT, mail={})
    await settle(world)
    assert Ref("SMTPAccount", "chat-mail", "acme") in world.objects
    world.edit(CHAT, mail=None)
    await settle(world)
    assert Ref("SMTPAccount", "chat-mail", "acme") not in world.objects


async def test_a_service_that_is_down_is_said_and_nothing_is_taken_away(world: World) -> None:
    ref = Ref("PostgreSQL", "chat-db", "acme")
    world.objects[ref]["status"]["conditions"][0] |= {"status": "False", "message": "no pod is ready"}
    outcome = (await once(world)).outcome
    assert outcome == Waiting("NeedsNotReady", "PostgreSQL chat-db: no pod is ready")
    assert SYNAPSE in world.objects


async def test_the_claims_storage_may_be_grown_in_the_claim(world: World) -> None:
    ref = Ref("PostgreSQL", "chat-db", "acme")
    assert world.objects[ref]["spec"]["parameters"] == {"locale": "C", "storage": "10Gi"}
    world.edit(ref, parameters={"locale": "C", "storage": "20Gi"})
    before = len(world.writes)
    await settle(world)
    assert world.objects[ref]["spec"]["parameters"]["storage"] == "20Gi"
    assert not [write for write in world.writes[before:] if "PostgreSQL" in write]


async def test_login_follows_the_host(world: World) -> None:
    world.edit(CHAT, serverName="chat.example.org", login={})
    await settle(world)
    world.edit(CHAT, host="new.example.org")
    await settle(world)
    claim = world.objects[Ref("OIDCClient", "chat-login", "acme")]
    assert claim["spec"]["parameters"]["redirectUris"] == ["https://new.example.org/_synapse/client/oidc/callback"]


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no host": ({"host": None}, "HostMissing", "spec.host is not set"),
    "a version there is not": (
        {"version": "2.0"},
        "VersionUnknown",
        "there is no release 2.0 of Matrix homeserver (Synapse); there are: 1.163.2",
    ),
    "a version that is only spelled alike": ({"version": "1.16"}, "VersionUnknown", "there is no release 1.16"),
    "nobody could log in": ({"settings": {"passwordLogin": False}}, "NoLogin", "spec.settings.passwordLogin"),
    "an unknown profile": (
        {"profile": "coop"},
        "ProfileNotFound",
        "there is no AppProfile coop; profiles for Matrix: (there is none)",
    ),
    "another database": ({"database": {"claim": "other"}}, "ServiceMoved", "the data lies with PostgreSQL chat-db"),
    "another class": ({"database": {"className": "ha"}}, "ClassFixed", "was made of the class standard"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_wish_that_cannot_be_fulfilled_is_refused(world: World, case: str) -> None:
    change, reason, words = REFUSED[case]
    before = status(world)
    world.edit(CHAT, **change)
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == reason
    assert words in outcome.message
    assert outcome.ready, "what runs still works"
    assert SYNAPSE in world.objects
    assert status(world)["url"] == before["url"]


async def test_the_oldest_has_the_host(world: World) -> None:
    world.put(matrix("late", "other", host="chat.example.org"))
    late = Ref("Matrix", "late", "other")
    outcome = (await once(world, late)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "HostTaken"
    assert "spec.host: chat.example.org is taken by Matrix acme/chat" in outcome.message
    assert isinstance((await once(world)).outcome, Settled)
    world.remove(CHAT)
    assert not isinstance((await once(world, late)).outcome, Stalled)


async def test_a_host_of_a_web_client_counts_as_well() -> None:
    world = World()
    world.put(matrix("first", webClient={"host": "web.example.org"}))
    world.put(matrix("second", host="web.example.org"))
    outcome = (await once(world, Ref("Matrix", "second", "acme"))).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "HostTaken"


async def test_an_existing_secret_is_used_or_its_lack_is_named() -> None:
    world = World()
    world.put(matrix(database={"secret": "mine"}))
    for _ in range(3):
        outcome = (await once(world)).outcome
        bind_claims(world)
    assert outcome == Waiting("NeedsNotReady", "spec.database.secret: there is no Secret mine in this namespace")
    world.give_secret("mine", [key for key in USUAL["PostgreSQL"] if key != "password"])
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.message == "spec.database.secret: the Secret mine has no key password; add what is missing"
    world.give_secret("mine", USUAL["PostgreSQL"])
    assert isinstance((await settle(world)).outcome, Settled)
    assert Ref("PostgreSQL", "chat-db", "acme") not in world.objects


async def test_an_existing_claim_is_used_and_left_alone() -> None:
    world = World()
    world.put(matrix(database={"claim": "shared"}))
    world.put(
        {
            "apiVersion": "database.libre.sh/v1alpha1",
            "kind": "PostgreSQL",
            "metadata": {"name": "shared", "namespace": "acme"},
            "spec": {},
        }
    )
    assert isinstance((await settle(world)).outcome, Settled)
    assert not [write for write in world.writes if "PostgreSQL" in write]


async def test_nobodys_claim_is_taken_over() -> None:
    world = World()
    world.put(
        {
            "apiVersion": "database.libre.sh/v1alpha1",
            "kind": "PostgreSQL",
            "metadata": {"name": "chat-db", "namespace": "acme"},
            "spec": {},
        }
    )
    world.put(matrix())
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Stalled)
    assert outcome.reason == "NameTaken"
    assert "set spec.database.claim to chat-db" in outcome.message
    assert world.writes == ["status Matrix acme/chat"]


async def test_a_claim_of_an_earlier_one_is_waited_for(world: World) -> None:
    world.remove(CHAT)
    world.put(matrix())
    outcome = (await once(world)).outcome
    assert isinstance(outcome, Waiting)
    assert "PostgreSQL chat-db of an earlier application of this name is being removed" in outcome.message


def delete(world: World, ref: Ref = CHAT) -> None:
    world.objects[ref]["metadata"]["deletionTimestamp"] = "2026-02-01T00:00:00Z"


async def test_deleting_keeps_the_data_and_says_where_it_is(world: World) -> None:
    delete(world)
    outcome = (await once(world)).outcome
    assert outcome.message == "Deleted; kept: Bucket chat-media, PostgreSQL chat-db, Secret chat-keys"
    assert CHAT in world.objects
    await once(world)
    assert CHAT not in world.objects
    assert Ref("Secret", "chat-keys", "acme") in world.secrets
    assert world.objects[Ref("PostgreSQL", "chat-db", "acme")]["spec"]["deletionPolicy"] == "Retain"


async def test_deleting_with_delete_takes_all_away_and_nothing_else(world: World) -> None:
    world.put(matrix("other"))
    await settle(world, Ref("Matrix", "other", "acme"))
    others = {ref for ref in [*world.objects, *world.secrets] if ref.name.startswith("other")}
    world.edit(CHAT, deletionPolicy="Delete")
    delete(world)
    for _ in range(6):
        await world.once(RECONCILER, CHAT)
    assert CHAT not in world.objects
    assert SYNAPSE not in world.objects
    assert Ref("PostgreSQL", "chat-db", "acme") not in world.objects
    assert Ref("Secret", "chat-keys", "acme") not in world.secrets
    assert others <= {*world.objects, *world.secrets}


async def test_claims_learn_of_delete_before_they_go(world: World) -> None:
    world.edit(CHAT, deletionPolicy="Delete")
    delete(world)
    await once(world)
    decision = await once(world)
    kinds = [type(action).__name__ for action in decision.actions]
    assert kinds == ["Apply"] * 3 + ["Delete"] * 3


async def test_without_its_settings_nothing_is_destroyed(world: World) -> None:
    world.put(profile("coop", deletionPolicy="Delete"))
    world.edit(CHAT, profile="coop")
    await settle(world)
    world.remove(Ref("AppProfile", "coop"))
    delete(world)
    await once(world)
    await once(world)
    assert CHAT not in world.objects
    assert Ref("Secret", "chat-keys", "acme") in world.secrets
    assert world.objects[Ref("PostgreSQL", "chat-db", "acme")]["spec"]["deletionPolicy"] == "Retain"


async def test_a_recreated_one_finds_its_keys(world: World) -> None:
    before = await world.secret("acme", "chat-keys")
    delete(world)
    await once(world)
    await once(world)
    for ref in [ref for ref in world.objects if ref.namespace == "acme"]:
        world.remove(ref)
    world.put(matrix())
    assert isinstance((await settle(world)).outcome, Settled)
    assert await world.secret("acme", "chat-keys") == before


async def test_a_profile_reaches_its_instances(world: World) -> None:
    world.put(profile("coop", settings={"registration": "Open"}))
    world.edit(CHAT, profile="coop")
    await settle(world)
    assert status(world)["profile"] == "coop"
    assert status(world)["effective"]["settings.registration"] == {"value": "Open", "from": "AppProfile coop"}
    world.edit(CHAT, settings={"registration": "Closed"})
    await settle(world)
    assert "settings.registration" not in status(world)["effective"]
