"""Laws of the operator as a whole: it settles, then is silent; it may die after any write; deletion ends."""

import base64
from typing import Any

import pytest

from laws.whole import deaths, matrix, whole
from libresh import operator
from libresh.catalog.settings import Settings
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.kube.kinds import Kinds


async def test_from_nothing_to_ready_and_then_silence() -> None:
    async with whole(matrix()) as world:
        await world.start()
        await world.settle()
        assert world.not_ready() == {}
        assert await world.written_within(1) == []


async def test_a_restart_writes_nothing() -> None:
    async with whole(matrix(), matrix("talk", "other")) as world:
        await world.start()
        await world.settle()
        assert world.not_ready() == {}
        assert await world.restarted() == []


@pytest.mark.parametrize("when", ["after", "before"])
@pytest.mark.parametrize("death", deaths(range(1, 96, 6)))
async def test_it_may_die_at_any_write(death: int, when: str) -> None:
    """Killed at the `death`th write, started again, and again at the `death`th write from there: it still settles."""
    async with whole(matrix()) as world:
        for _ in range(2):
            await world.die(death, when=when)
        await world.rise()
        assert world.not_ready() == {}


async def test_connections_that_somebody_deletes_come_back_as_they_were() -> None:
    async with whole(matrix()) as world:
        await world.start()
        await world.settle()
        before, running = secrets_of(world.api), templates(world.api)
        for secret in world.api.objects("Secret", "team"):
            if secret["metadata"]["name"].endswith(("-connection", "-config")):
                world.api.delete("Secret", secret["metadata"]["name"], "team")
        await world.settle()
        assert world.not_ready() == {}
        after = secrets_of(world.api)
        assert sorted(name for name in before if before[name] != after.get(name)) == []
        assert templates(world.api) == running, "nothing is restarted for a Secret that came back as it was"


async def test_a_service_that_fails_is_told_and_is_well_again(caplog: pytest.LogCaptureFixture) -> None:
    async with whole(matrix()) as world:
        await world.start()
        await world.settle()
        world.workloads.hold("StatefulSet", "chat-db-pg")
        await world.settle()
        assert sorted(world.not_ready()) == ["Matrix team/chat", "PostgreSQL team/chat-db"]
        world.workloads.release("StatefulSet", "chat-db-pg")
        await world.settle()
        assert world.not_ready() == {}
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


async def test_a_lost_password_comes_back_from_the_connection() -> None:
    async with whole(matrix()) as world:
        await world.start()
        await world.settle()
        before = secrets_of(world.api)
        world.api.delete("Secret", "chat-db-pg-credentials", "team")
        await world.settle()
        after = secrets_of(world.api)
        assert after["chat-db-pg-credentials"]["password"] == before["chat-db-pg-credentials"]["password"]
        assert after["chat-db-postgresql-connection"] == before["chat-db-postgresql-connection"]


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_deletion_ends(policy: str) -> None:
    async with whole(matrix(deletionPolicy=policy), matrix("talk", "other")) as world:
        await world.start()
        await world.settle()
        before = world.state()
        world.api.delete("Matrix", "chat", "team")
        await world.settle()
        left = {name for name in world.state() if " team/" in name}
        assert world.api.get("Matrix", "chat", "team") is None
        if policy == "Delete":
            assert left == set()
        else:
            assert {name for name in left if name.startswith("PersistentVolumeClaim")} == {
                "PersistentVolumeClaim team/chat-db-pg-data",
                "PersistentVolumeClaim team/chat-media-s3-data",
            }
            assert "Secret team/chat-keys" in left
            assert not any(name.startswith(("Deployment", "StatefulSet", "Ingress")) for name in left)
        others = {name: spec for name, spec in before.items() if " other/" in name}
        now = world.state()
        assert {name: now.get(name) for name in others} == others


async def test_what_was_kept_is_found_again() -> None:
    async with whole(matrix()) as world:
        await world.start()
        await world.settle()
        before = secrets_of(world.api)
        volume = world.api.get("PersistentVolumeClaim", "chat-db-pg-data", "team")
        world.api.delete("Matrix", "chat", "team")
        await world.settle()
        world.api.create(matrix())
        await world.settle()
        assert world.not_ready() == {}
        after = secrets_of(world.api)
        for name in ("chat-keys", "chat-db-pg-credentials", "chat-media-s3-credentials"):
            assert after[name] == before[name]
        again = world.api.get("PersistentVolumeClaim", "chat-db-pg-data", "team")
        assert volume is not None
        assert again is not None
        assert again["metadata"]["uid"] == volume["metadata"]["uid"]


@pytest.mark.parametrize("death", deaths(range(1, 30, 4)))
async def test_deletion_may_die_at_any_write(death: int) -> None:
    async with whole(matrix(deletionPolicy="Delete")) as world:
        await world.start()
        await world.settle()
        await world.die(death, lambda: world.api.delete("Matrix", "chat", "team"))
        await world.rise()
        assert {name for name in world.state() if " team/" in name} == set()


async def test_no_secret_value_reaches_a_status_or_an_event() -> None:
    async with whole(matrix()) as world:
        await world.start()
        await world.settle()
        values = [value for data in secrets_of(world.api).values() for value in data.values() if len(value) > 24]
        plain = [base64.b64decode(value).decode() for value in values]
        kinds = ("Matrix", "PostgreSQL", "Redis", "Bucket", "SMTPAccount", "OIDCClient", "Deployment", "StatefulSet")
        shown = "".join(str(obj) for kind in (*kinds, "ConfigMap", "Job", "Event") for obj in world.api.objects(kind))
        assert values
        assert not any(value in shown for value in (*values, *plain) if is_secret(value))


def templates(api: Any) -> dict[str, Any]:
    """What runs, by name."""
    found = [*api.objects("Deployment", "team"), *api.objects("StatefulSet", "team")]
    return {workload["metadata"]["name"]: workload["spec"]["template"] for workload in found}


def is_secret(value: str) -> bool:
    """Addresses and the like are in connection secrets, too, and are no secrets."""
    return not any(word in value for word in ("example.org", ".svc", "libresh"))


def secrets_of(api: Any) -> dict[str, dict[str, str]]:
    return {secret["metadata"]["name"]: secret.get("data", {}) for secret in api.objects("Secret", "team")}


async def test_it_knows_which_cluster_it_is_in() -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    async with whole(space) as world, Client(Access(server=world.server.url), Kinds(operator.types())) as client:
        found = await operator.with_identity(client, Settings())
        assert found.cluster == world.api.get("Namespace", "kube-system")["metadata"]["uid"]
        assert len(found.cluster) > 30
