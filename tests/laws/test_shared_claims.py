"""A database that another namespace shares, under the whole operator: granted, used, withdrawn, granted again."""

from typing import Any

import pytest

from laws.test_operator import secrets_of, templates
from laws.whole import Whole, deaths, matrix, whole

Object = dict[str, Any]
COPY = "chat-db-shared"


def database(*names: str) -> Object:
    return {
        "apiVersion": "database.libre.sh/v1alpha1",
        "kind": "PostgreSQL",
        "metadata": {"name": "big", "namespace": "data"},
        "spec": {"parameters": {"locale": "C"}, "allowedNamespaces": {"names": list(names)}},
    }


def chat() -> Object:
    return matrix(database={"claim": "big", "namespace": "data"})


def grant(world: Whole, *names: str) -> None:
    world.api.edit("PostgreSQL", "big", "data", spec={"allowedNamespaces": {"names": list(names)}})


async def test_it_is_used_and_then_silence() -> None:
    async with whole(database("team"), chat()) as world:
        await world.start()
        await world.settle()
        assert world.not_ready() == {}
        original = world.api.get("Secret", "big-postgresql-connection", "data")
        assert original is not None
        assert secrets_of(world.api)[COPY] == original["data"]
        copy = world.api.get("Secret", COPY, "team")
        assert copy is not None
        for secret in (original, copy):
            assert secret["type"] == "servicebinding.io/postgresql"
            assert secret["metadata"]["labels"]["libre.sh/connection-schema"] == "postgresql.v1"
        assert world.api.get("PostgreSQL", "chat-db", "team") is None
        assert await world.restarted() == []


async def test_a_withdrawn_grant_takes_the_copy_and_stops_no_pod() -> None:
    async with whole(database("team"), chat()) as world:
        await world.start()
        await world.settle()
        before, running = secrets_of(world.api)[COPY], templates(world.api)
        grant(world, "other")
        await world.settle()
        assert list(world.not_ready()) == ["Matrix team/chat"]
        assert "NotGranted" in world.not_ready()["Matrix team/chat"]
        assert COPY not in secrets_of(world.api)
        assert templates(world.api) == running
        grant(world, "team")
        await world.settle()
        assert world.not_ready() == {}
        assert secrets_of(world.api)[COPY] == before
        assert templates(world.api) == running, "nothing is restarted for a connection that came back as it was"


async def test_an_ungranted_claim_is_never_copied() -> None:
    async with whole(database("other"), chat()) as world:
        await world.start()
        await world.settle()
        assert list(world.not_ready()) == ["Matrix team/chat"]
        assert COPY not in secrets_of(world.api)


@pytest.mark.parametrize("death", deaths(range(3, 90, 14)))
async def test_it_may_die_at_any_write(death: int) -> None:
    async with whole(database("team"), chat()) as world:
        for _ in range(2):
            await world.die(death)
        await world.rise()
        assert world.not_ready() == {}


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_deleting_the_application_leaves_the_database(policy: str) -> None:
    async with whole(
        database("team"), matrix(database={"claim": "big", "namespace": "data"}, deletionPolicy=policy)
    ) as world:
        await world.start()
        await world.settle()
        world.api.delete("Matrix", "chat", "team")
        await world.settle()
        assert world.api.get("Matrix", "chat", "team") is None
        assert COPY not in secrets_of(world.api)
        assert world.api.get("PersistentVolumeClaim", "big-pg-data", "data") is not None
        assert world.not_ready() == {}


async def test_naming_the_claim_that_was_made_for_it_keeps_its_data() -> None:
    async with whole(matrix(deletionPolicy="Delete")) as world:
        await world.start()
        await world.settle()
        volume = world.api.get("PersistentVolumeClaim", "chat-db-pg-data", "team")
        world.api.edit("Matrix", "chat", "team", spec={"database": {"claim": "chat-db"}})
        await world.settle()
        assert world.not_ready() == {}
        again = world.api.get("PersistentVolumeClaim", "chat-db-pg-data", "team")
        assert volume is not None
        assert again is not None
        assert again["metadata"]["uid"] == volume["metadata"]["uid"]
