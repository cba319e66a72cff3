"""The whole operator with classes that hand claims to another operator, on contract stubs of those operators."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from laws.whole import Whole, deaths, whole
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.kube.kinds import Kinds
from support.contracts import CloudNativePG, Contract, Crossplane, Zalando, over_http

Object = dict[str, Any]
SPACE, CLAIM_NAME, SECRET = "team", "my-db", "my-db-postgresql-connection"
MANY = 60
KEYS = {
    "host": "endpoint",
}


@dataclass(frozen=True)
class Story:
    """One driver, its class's parameters, and what it makes for the claim my-db."""

    driver: str
    stub: type[Contract]
    kind: str
    name: str
    parameters: Object
    failing: Object
    """A status that says that something is wrong,"""
    told: str
    """and what the claim then says."""
    secret: str
    """The other operator's Secret."""
    least: int
    """How many objects of its kind stand for the claim."""


IMAGES = {"17": "images.example.org/postgresql:17"}
STORIES = (
    Story(
        "cloudnative-pg",
        CloudNativePG,
        "postgresql.cnpg.io/v1/Cluster",
        "my-db-pg",
        {"images": IMAGES, "instances": 3, "backup": {"schedule": "0 3 * * *", "objectStore": "offsite"}},
        {
            "phase": "Cluster is unrecoverable and needs manual intervention",
            "phaseReason": "all volumes are gone",
            "readyInstances": 0,
        },
        "from which it could be started again",
        "my-db-pg-app",
        3,
    ),
    Story(
        "zalando",
        Zalando,
        "acid.zalan.do/v1/postgresql",
        "pg-my-db",
        {"instances": 2},
        {"PostgresClusterStatus": "SyncFailed"},
        "could not bring the cluster to what is declared",
        "app-owner-user.pg-my-db.credentials.postgresql.acid.zalan.do",
        1,
    ),
    Story(
        "crossplane",
        Crossplane,
        "platform.example.org/v1/Instance",
        "my-db-postgresql",
        {
            "apiVersion": "platform.example.org/v1",
            "kind": "Instance",
            "composition": "small",
            "patches": [{"fromFieldPath": "spec.parameters.version", "toFieldPath": "spec.parameters.version"}],
            "connection": {"keys": KEYS},
        },
        {
            "conditions": [
                {"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "cannot compose"},
                {"type": "Ready", "status": "False", "reason": "Creating"},
            ]
        },
        "Crossplane could not do all it should (ReconcileError): cannot compose",
        "my-db-postgresql-connection-details",
        1,
    ),
    Story(
        "crossplane",
        Crossplane,
        "platform.example.org/v1/InstanceClaim",
        "my-db-postgresql",
        {
            "apiVersion": "platform.example.org/v1",
            "kind": "InstanceClaim",
            "mode": "Claim",
            "connection": {"secretName": "given-%s", "keys": KEYS},
        },
        {"conditions": [{"type": "Ready", "status": "False", "reason": "Waiting", "message": "for the composite"}]},
        "is not ready (Waiting): for the composite",
        "given-my-db-postgresql",
        1,
    ),
)
every_story = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.kind.rpartition("/")[2])


def build_class(story: Story) -> Object:
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": "handed"},
        "spec": {"claimKind": "PostgreSQL", "driver": story.driver, "parameters": story.parameters},
    }


def claim(name: str = CLAIM_NAME, parameters: Object | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "database.libre.sh/v1alpha1",
        "kind": "PostgreSQL",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {"className": "handed", "parameters": parameters or {}, **spec},
    }


@asynccontextmanager
async def world(story: Story, *objects: Object, served: bool = True) -> AsyncIterator[tuple[Whole, Contract]]:
    async with whole(build_class(story)) as found:
        if served:
            install(found, story)
        stub = story.stub(found.api)
        for obj in objects:
            found.api.create(obj)
        await found.start()
        await found.settle()
        yield found, stub


def install(found: Whole, story: Story) -> None:
    for crd in story.stub.crds:
        found.api.install(crd)


def ready(found: Whole, name: str = CLAIM_NAME) -> Object:
    return found.ready("PostgreSQL", name, SPACE)


def live(found: Whole, story: Story) -> Object | None:
    return found.api.get(story.kind, story.name, SPACE)


def connection(found: Whole) -> dict[str, str]:
    secret = found.api.get("Secret", SECRET, SPACE)
    return {key: base64.b64decode(value).decode() for key, value in (secret or {}).get("data", {}).items()}


def all_theirs(found: Whole, story: Story) -> list[str]:
    kinds = [f"{version}/{kind}" for version, kind in story.stub.kinds]
    made = [obj["metadata"]["name"] for kind in kinds for obj in found.api.objects(kind, SPACE)]
    secrets = [
        obj for obj in found.api.objects("Secret", SPACE) if story.stub.mark in obj["metadata"].get("labels", {})
    ]
    return made + [obj["metadata"]["name"] for obj in secrets]


async def until(found: Whole, holds: Any, seconds: float = 8.0) -> None:
    """Until something is so that nothing tells: then it settles."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, list(found.not_ready().items())[:3]
        await found.api.settle()
        await asyncio.sleep(0.05)
    await found.settle()


@every_story
async def test_a_claim_becomes_ready_and_then_there_is_silence(story: Story) -> None:
    async with world(story, claim()) as (found, _):
        assert found.not_ready() == {}
        given = connection(found)
        assert given["provider"] == story.driver
        assert given["password"].startswith("password-of-")
        assert f":{given['password']}@{given['host']}:{given['port']}/{given['database']}" in given["uri"]
        obj = found.api.get("PostgreSQL", CLAIM_NAME, SPACE) or {}
        assert given["password"] not in str(obj)
        assert story.name in obj["status"]["instance"]["ref"]
        labels = (live(found, story) or {})["metadata"]["labels"]
        assert (labels["libre.sh/kept-for"], labels["libre.sh/kept-in"]) == ("PostgreSQL.my-db", SPACE)
        assert "ownerReferences" not in (live(found, story) or {})["metadata"]
        assert await found.written_within(0.6) == []


@every_story
async def test_a_restart_writes_nothing(story: Story) -> None:
    async with world(story, claim()) as (found, _):
        assert await found.restarted() == []


@every_story
async def test_secrets_that_somebody_deletes_come_back(story: Story) -> None:
    async with world(story, claim()) as (found, stub):
        given = connection(found)
        found.api.delete("Secret", SECRET, SPACE)
        await found.settle()
        assert connection(found) == given
        stub.working = False
        found.api.delete("Secret", story.secret, SPACE)
        await found.settle()
        assert ready(found)["reason"] == "CredentialsMissing"
        assert f"the Secret team/{story.secret} with " in ready(found)["message"]
        assert connection(found) == given
        stub.working = True
        await found.settle()
        assert found.not_ready() == {}
        assert connection(found) == given


@every_story
async def test_a_key_that_their_secret_lacks_is_named(story: Story) -> None:
    async with world(story) as (found, stub):
        stub.lacking = {"password"}
        found.api.create(claim())
        await found.settle()
        assert ready(found)["reason"] == "CredentialsMissing"
        assert f"Waiting for password in the Secret team/{story.secret}, which " in ready(found)["message"]
        assert connection(found) == {}
        stub.lacking = set()
        await found.settle()
        assert found.not_ready() == {}


@every_story
async def test_what_is_wrong_over_there_is_told(story: Story) -> None:
    async with world(story, claim()) as (found, stub):
        stub.says[story.name] = story.failing
        await found.settle()
        assert ready(found)["status"] == "False"
        assert story.told in ready(found)["message"]
        stub.says.clear()
        await found.settle()
        assert found.not_ready() == {}


@every_story
async def test_an_edit_of_their_object_does_not_last_and_its_deletion_neither(story: Story) -> None:
    async with world(story, claim()) as (found, _):
        spec = (live(found, story) or {})["spec"]
        field = next(iter(spec))
        found.api.edit(story.kind, story.name, SPACE, spec={field: None})
        await found.settle()
        assert (live(found, story) or {})["spec"] == spec
        found.api.delete(story.kind, story.name, SPACE)
        await found.settle()
        assert (live(found, story) or {})["spec"] == spec
        assert found.not_ready() == {}


@pytest.mark.parametrize("story", STORIES[:2], ids=lambda story: story.driver)
async def test_more_room_reaches_their_object(story: Story) -> None:
    async with world(story, claim(parameters={"storage": "1Gi"})) as (found, _):
        found.api.edit("PostgreSQL", CLAIM_NAME, SPACE, spec={"parameters": {"storage": "2Gi"}})
        await found.settle()
        spec = (live(found, story) or {})["spec"]
        assert (spec.get("volume") or spec["storage"])["size"] == "2Gi"
        assert found.not_ready() == {}


@every_story
async def test_a_kind_that_is_not_served_is_told_and_noticed_when_it_is(story: Story) -> None:
    async with world(story, claim(), served=False) as (found, _):
        assert ready(found)["reason"] == "KindMissing"
        assert "install the operator that does" in ready(found)["message"]
        install(found, story)
        await until(found, lambda: ready(found)["status"] == "True")
        assert found.not_ready() == {}


@every_story
async def test_deletion_keeps_the_data_and_a_new_claim_finds_it(story: Story) -> None:
    async with world(story, claim()) as (found, _):
        before = live(found, story) or {}
        theirs = all_theirs(found, story)
        found.api.delete("PostgreSQL", CLAIM_NAME, SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", CLAIM_NAME, SPACE) is None
        assert connection(found) == {}
        assert all_theirs(found, story) == theirs
        found.api.create(claim())
        await found.settle()
        assert found.not_ready() == {}
        after = live(found, story) or {}
        assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])


@every_story
async def test_delete_removes_all_of_it(story: Story) -> None:
    wish = claim(parameters={"extensions": ["pg_trgm"]}, deletionPolicy="Delete")
    async with world(story, wish) as (found, _):
        assert found.not_ready() == {}
        assert len(all_theirs(found, story)) > story.least
        found.api.delete("PostgreSQL", CLAIM_NAME, SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", CLAIM_NAME, SPACE) is None
        assert connection(found) == {}
        assert all_theirs(found, story) == []


@every_story
async def test_somebody_elses_object_is_neither_taken_over_nor_deleted(story: Story) -> None:
    theirs = {
        "apiVersion": story.kind.rpartition("/")[0],
        "kind": story.kind.rpartition("/")[2],
        "metadata": {"name": story.name, "namespace": SPACE},
        "spec": {},
    }
    async with world(story, theirs, claim(deletionPolicy="Delete")) as (found, _):
        assert ready(found)["reason"] == "ObjectTaken"
        assert connection(found) == {}
        found.api.delete("PostgreSQL", CLAIM_NAME, SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", CLAIM_NAME, SPACE) is None
        assert (live(found, story) or {})["spec"] == {}


@every_story
@pytest.mark.parametrize("death", deaths(range(1, 9, 2)))
async def test_it_may_die_at_any_write(story: Story, death: int) -> None:
    async with whole(build_class(story)) as found:
        install(found, story)
        story.stub(found.api)
        found.api.create(claim(parameters={"extensions": ["pg_trgm"]}, deletionPolicy="Delete"))
        await found.die(death)
        await found.rise()
        assert found.not_ready() == {}
        await found.die(death, lambda: found.api.delete("PostgreSQL", CLAIM_NAME, SPACE))
        await found.rise()
        assert found.api.get("PostgreSQL", CLAIM_NAME, SPACE) is None
        assert all_theirs(found, story) == []


@pytest.mark.thorough
@every_story
async def test_many_claims_at_once(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("laws.whole.PATIENCE", 120.0)
    names = [f"db-{number}" for number in range(MANY)]
    async with world(story, *(claim(name) for name in names)) as (found, _):
        # On a busy machine nobody may write for a while although there is more to do.
        await until(found, lambda: found.not_ready() == {}, seconds=120.0)
        assert len(found.api.objects(story.kind, SPACE)) == MANY
        secrets = [found.api.get("Secret", f"{name}-postgresql-connection", SPACE) for name in names]
        assert len({(secret or {})["data"]["password"] for secret in secrets}) == MANY


async def test_extensions_are_added_later_and_what_became_of_them_is_told() -> None:
    story = STORIES[0]
    async with world(story, claim()) as (found, stub):
        assert found.api.objects("postgresql.cnpg.io/v1/Database", SPACE) == []
        # The Cluster and its Database have the same name: what is said here is said of both.
        stub.says["my-db-pg"] = {
            "phase": "Cluster in healthy state",
            "readyInstances": 3,
            "applied": False,
            "message": "extension postgis is not available",
            "observedGeneration": 1,
        }
        found.api.edit("PostgreSQL", CLAIM_NAME, SPACE, spec={"parameters": {"extensions": ["postgis"]}})
        await found.settle()
        assert ready(found)["reason"] == "ComposedFailed"
        assert "extension postgis is not available; correct spec.parameters.extensions" in ready(found)["message"]
        stub.says.clear()
        found.api.edit("PostgreSQL", CLAIM_NAME, SPACE, spec={"parameters": {"extensions": []}})
        await found.settle()
        assert found.not_ready() == {}
        (database,) = found.api.objects("postgresql.cnpg.io/v1/Database", SPACE)
        assert database["spec"]["extensions"] == []


async def test_a_claim_keeps_its_place_in_the_object_store_and_a_new_one_gets_its_own() -> None:
    story = STORIES[0]

    def place(found: Whole) -> str:
        (plugin,) = (live(found, story) or {})["spec"]["plugins"]
        return str(plugin["parameters"]["serverName"])

    async with world(story, claim()) as (found, _):
        first = place(found)
        assert first.startswith("team.my-db-pg.")
        found.api.delete("PostgreSQL", CLAIM_NAME, SPACE)
        await found.settle()
        found.api.create(claim(deletionPolicy="Delete"))
        await found.settle()
        assert place(found) == first
        found.api.delete("PostgreSQL", CLAIM_NAME, SPACE)
        await found.settle()
        found.api.create(claim())
        await found.settle()
        assert place(found) != first


@every_story
async def test_the_stubs_do_the_same_over_http(story: Story) -> None:
    async with whole(build_class(story)) as found:
        install(found, story)
        client = Client(Access(server=found.server.url), Kinds())
        await client.start()
        try:
            async with over_http(client, story.stub(), every=0.02) as stub:
                found.api.create(claim())
                await found.start()
                await until(found, lambda: found.not_ready() == {} and bool(connection(found)))
                assert stub.trouble == ""
        finally:
            await client.close()
