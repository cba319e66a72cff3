"""Claims of applications under the whole operator: from an application to a connection, across namespaces, and back."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from laws.whole import Whole, deaths, whole
from libresh.api.crds import crd_for
from reconcilers.test_appclaim import founding, office
from support import collabora_stub

Object = dict[str, Any]
ADDRESS = "http://office-web.team.svc:9980"


@asynccontextmanager
async def served(*objects: Object) -> AsyncIterator[Whole]:
    """An operator with the contract stub of a Collabora."""
    with collabora_stub.installed():
        async with whole(*objects, crds_besides=(crd_for(collabora_stub.CollaboraStub),)) as world:
            yield world


def claim(**spec: Any) -> Object:
    """The founding text's object, for the application in `team`."""
    return founding(appRef={"name": "office", "namespace": "team"}, **spec)


def value(world: Whole, key: str) -> str:
    """A value of the founding text's connection secret; "" while there is none."""
    secret = world.api.get("Secret", "collabora-connection-details", "default") or {}
    return base64.b64decode(secret.get("data", {}).get(key, "")).decode()


def grant(*names: str) -> Object:
    return {"allowedNamespaces": {"names": list(names)}}


async def test_the_founding_texts_claim_without_a_package() -> None:
    with collabora_stub.absent():
        async with whole(founding()) as world:
            await world.start()
            await world.settle()
            assert list(world.not_ready()) == ["CollaboraClaim default/test-instance"]
            assert "AppNotInstalled: kind: this libre.sh has no application Collabora" in "".join(
                world.not_ready().values()
            )


async def test_the_founding_texts_claim_beside_a_collabora_and_then_silence() -> None:
    async with served(office(namespace="default"), founding()) as world:
        await world.start()
        await world.settle()
        assert world.not_ready() == {}
        assert value(world, "url") == "https://office.example.org"
        assert len(value(world, "password")) > 20
        assert await world.restarted() == []


async def test_a_grant_that_comes_and_goes() -> None:
    async with served(office(namespace="team"), claim()) as world:
        await world.start()
        await world.settle()
        assert list(world.not_ready()) == ["CollaboraClaim default/test-instance"]
        assert value(world, "uri") == ""
        world.api.edit("Collabora", "office", "team", spec=grant("default"))
        await world.settle()
        assert world.not_ready() == {}
        assert value(world, "uri") == ADDRESS
        world.api.edit("Collabora", "office", "team", spec=grant("other"))
        await world.settle()
        assert "NotGranted" in world.not_ready()["CollaboraClaim default/test-instance"]
        assert world.api.get("Secret", "collabora-connection-details", "default") is None


async def test_a_namespace_that_gets_a_label_gets_the_grant() -> None:
    spec = {"allowedNamespaces": {"matchLabels": {"tier": "paid"}}}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
    async with served(space, office(namespace="team", **spec), claim()) as world:
        await world.start()
        await world.settle()
        assert value(world, "uri") == ""
        world.api.edit("Namespace", "default", metadata={"labels": {"tier": "paid"}})
        await world.settle()
        assert value(world, "uri") == ADDRESS
        world.api.edit("Namespace", "default", metadata={"labels": {"tier": None}})
        await world.settle()
        assert value(world, "uri") == ""


async def test_a_new_password_reaches_those_who_are_bound() -> None:
    async with served(office(namespace="team", **grant("default")), claim()) as world:
        await world.start()
        await world.settle()
        changed = base64.b64encode(b"another password").decode()
        world.api.edit("Secret", "office-admin", "team", data={"password": changed})
        await world.settle()
        assert value(world, "password") == "another password"


async def test_somebody_deletes_the_connection_and_it_comes_back() -> None:
    async with served(office(namespace="team", **grant("default")), claim()) as world:
        await world.start()
        await world.settle()
        before = value(world, "password")
        world.api.delete("Secret", "collabora-connection-details", "default")
        await world.settle()
        assert world.not_ready() == {}
        assert value(world, "password") == before


@pytest.mark.parametrize("death", deaths(range(1, 22, 3)))
async def test_it_may_die_at_any_write(death: int) -> None:
    async with served(office(namespace="team", **grant("default")), claim()) as world:
        for _ in range(2):
            await world.die(death)
        await world.rise()
        assert world.not_ready() == {}
        assert value(world, "uri") == ADDRESS


async def test_deletion_leaves_nothing_and_the_application_alone() -> None:
    async with served(office(namespace="team", **grant("default")), claim()) as world:
        await world.start()
        await world.settle()
        world.api.delete("CollaboraClaim", "test-instance", "default")
        await world.settle()
        assert world.api.get("CollaboraClaim", "test-instance", "default") is None
        assert world.api.get("Secret", "collabora-connection-details", "default") is None
        assert world.not_ready() == {}


async def test_no_secret_value_reaches_a_status_or_an_event() -> None:
    async with served(office(namespace="team", **grant("default")), claim()) as world:
        await world.start()
        await world.settle()
        shown = "".join(
            str(obj) for kind in ("Collabora", "CollaboraClaim", "Event") for obj in world.api.objects(kind)
        )
        assert len(value(world, "password")) > 20
        assert value(world, "password") not in shown
