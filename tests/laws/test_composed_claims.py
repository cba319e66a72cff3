"""The whole operator with a class that hands claims to another operator, on a fake of that operator."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from laws.whole import Whole, deaths, whole
from libresh.drivers.composition import importing
from libresh.kube import foreign
from support.contracts.zalando import CRD, Zalando

Object = dict[str, Any]
GIVEN = Path(__file__).resolve().parents[1] / "drivers" / "composition"
CLASS = importing.build_class(yaml.safe_load((GIVEN / "zalandopg.yaml").read_text()))
CLAIM: Object = yaml.safe_load((GIVEN / "claim.yaml").read_text())
NAME, SPACE = "libresh-my-db", "default"
CREDENTIALS = "postgres.libresh-my-db.credentials.postgresql.acid.zalan.do"


def claim(**spec: Any) -> Object:
    return {**CLAIM, "spec": {**CLAIM["spec"], **spec}}


@asynccontextmanager
async def world(*objects: Object, served: bool = True) -> AsyncIterator[tuple[Whole, Zalando]]:
    async with whole(CLASS) as found:
        if served:
            found.api.install(CRD)
        zalando = Zalando(found.api)
        zalando.working = served
        for obj in objects:
            found.api.create(obj)
        await found.start()
        await found.settle()
        yield found, zalando


def ready(found: Whole, namespace: str = SPACE) -> Object:
    return found.ready("PostgreSQL", "my-db", namespace)


def connection(found: Whole) -> dict[str, str]:
    secret = found.api.get("Secret", "my-db-connection-details", SPACE)
    return {key: base64.b64decode(value).decode() for key, value in (secret or {}).get("data", {}).items()}


async def until(found: Whole, holds: Any, seconds: float = 8.0) -> None:
    """Until something is so that nothing tells: then it settles."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, ready(found)
        await found.api.settle()
        await asyncio.sleep(0.05)
    await found.settle()


async def test_the_founding_claim_becomes_ready_and_then_there_is_silence() -> None:
    async with world(CLAIM) as (found, _):
        assert found.not_ready() == {}
        password = f"password-of-{CREDENTIALS}"
        assert connection(found) == {
            "type": "postgresql",
            "provider": "zalando",
            "host": "libresh-my-db.default.svc",
            "port": "5432",
            "database": "postgres",
            "username": "postgres",
            "password": password,
            "uri": f"postgresql://postgres:{password}@libresh-my-db.default.svc:5432/postgres?sslmode=require",
        }
        obj = found.api.get("PostgreSQL", "my-db", SPACE)
        assert obj is not None
        assert obj["status"]["binding"] == {"name": "my-db-connection-details"}
        assert CREDENTIALS in obj["status"]["instance"]["ref"]
        assert password not in str(obj)
        assert await found.written_within(0.6) == []


async def test_a_restart_writes_nothing() -> None:
    async with world(CLAIM) as (found, _):
        assert await found.restarted() == []


async def test_an_edit_of_the_claim_reaches_the_object_and_one_of_the_object_does_not_last() -> None:
    async with world(CLAIM) as (found, _):
        found.api.edit("PostgreSQL", "my-db", SPACE, spec={"parameters": {"storage": "6G"}})
        await found.settle()
        assert (found.api.get("postgresql", NAME, SPACE) or {})["spec"]["volume"]["size"] == "6G"
        found.api.edit("postgresql", NAME, SPACE, spec={"numberOfInstances": 7})
        await found.settle()
        assert (found.api.get("postgresql", NAME, SPACE) or {})["spec"]["numberOfInstances"] == 1


async def test_what_somebody_deletes_comes_back() -> None:
    async with world(CLAIM) as (found, _):
        found.api.delete("postgresql", NAME, SPACE)
        await found.settle()
        assert found.api.get("postgresql", NAME, SPACE) is not None
        assert found.not_ready() == {}


async def test_trouble_of_the_other_operator_is_told() -> None:
    async with world(CLAIM) as (found, zalando):
        zalando.working = False
        status = {"PostgresClusterStatus": "UpdateFailed"}
        found.api.edit("postgresql", NAME, SPACE, status=status)
        await found.settle()
        assert "status.PostgresClusterStatus is UpdateFailed, not Running" in ready(found)["message"]
        zalando.working = True
        await found.settle()
        assert found.not_ready() == {}


async def test_a_kind_that_is_not_served_is_told_and_noticed_when_it_is() -> None:
    async with world(CLAIM, served=False) as (found, zalando):
        assert ready(found)["reason"] == "KindMissing"
        assert "The cluster serves no postgresql of acid.zalan.do/v1: install the operator" in ready(found)["message"]
        found.api.install(CRD)
        zalando.working = True
        await until(found, lambda: ready(found)["status"] == "True")
        assert found.not_ready() == {}


async def test_a_right_that_is_missing_is_told_and_noticed_when_it_is_given() -> None:
    async with whole(CLASS) as found:
        found.api.install(CRD)
        Zalando(found.api)
        found.api.faults.refuse(403, kind="postgresql", times=-1)
        found.api.create(CLAIM)
        await found.start()
        await found.settle()
        assert ready(found)["reason"] == "NoRights"
        assert "postgresqls of acid.zalan.do" in ready(found)["message"]
        assert "libre.sh/aggregate-to-operator" in ready(found)["message"]
        found.api.faults.heal()
        await until(found, lambda: ready(found)["status"] == "True")


async def test_a_role_of_its_own_stays_in_the_class_that_the_claim_keeps() -> None:
    """An empty list in a class says something: it must survive the way through the claim's status."""
    cls = deepcopy(CLASS)
    manifest = cls["spec"]["parameters"]["resources"][0]["base"]["spec"]["forProvider"]["manifest"]
    manifest["spec"] |= {"users": {"app": []}, "databases": {"app": "app"}}
    async with whole(cls) as found:
        found.api.install(CRD)
        Zalando(found.api)
        found.api.create(CLAIM)
        await found.start()
        await found.settle()
        assert found.not_ready() == {}
        assert (found.api.get("postgresql", NAME, SPACE) or {})["spec"]["users"] == {"app": []}
        assert connection(found)["username"] == "app"
        assert connection(found)["database"] == "app"


async def test_a_claim_of_a_kind_that_is_not_served_can_go() -> None:
    async with world(claim(deletionPolicy="Delete"), served=False) as (found, _):
        found.api.delete("PostgreSQL", "my-db", SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", "my-db", SPACE) is None


async def test_many_claims_cost_two_watches() -> None:
    claims = [
        {
            **claim(writeConnectionSecretToRef={"name": f"db-{number}-details"}),
            "metadata": {"name": f"db-{number}", "namespace": SPACE},
        }
        for number in range(40)
    ]
    async with world(*claims) as (found, _):
        await until(found, lambda: found.not_ready() == {})
        cluster = found.managers[0][0].cluster
        await until(found, lambda: len(cluster.foreign) == 2)
        found.api.delete("Secret", "postgres.libresh-db-7.credentials.postgresql.acid.zalan.do", SPACE)
        await until(found, lambda: found.not_ready() == {})


async def test_deletion_keeps_the_data_and_a_new_claim_finds_it() -> None:
    async with world(CLAIM) as (found, _):
        uid = (found.api.get("postgresql", NAME, SPACE) or {})["metadata"]["uid"]
        found.api.delete("PostgreSQL", "my-db", SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", "my-db", SPACE) is None
        assert found.api.get("Secret", "my-db-connection-details", SPACE) is None
        assert (found.api.get("postgresql", NAME, SPACE) or {})["metadata"]["uid"] == uid
        found.api.create(CLAIM)
        await found.settle()
        assert found.not_ready() == {}
        assert (found.api.get("postgresql", NAME, SPACE) or {})["metadata"]["uid"] == uid


async def test_delete_removes_all_of_it() -> None:
    async with world(claim(deletionPolicy="Delete")) as (found, _):
        found.api.delete("PostgreSQL", "my-db", SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", "my-db", SPACE) is None
        assert found.api.objects("postgresql") == []
        assert [s for s in found.api.objects("Secret", SPACE) if "my-db" in s["metadata"]["name"]] == []


async def test_somebody_elses_object_is_seen_where_a_watch_shows_only_ours() -> None:
    connection = {"writeConnectionSecretToRef": {"name": "first-connection-details"}}
    async with world({**claim(**connection), "metadata": {"name": "first", "namespace": SPACE}}) as (found, _):
        meta = {"name": NAME, "namespace": SPACE}
        found.api.create({"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "metadata": meta, "spec": {}})
        found.api.create(CLAIM)
        await found.settle()
        assert ready(found)["reason"] == "ObjectTaken"
        assert {event["reason"] for event in found.api.objects("Event") if event["type"] == "Warning"} == {
            "ObjectTaken"
        }


async def test_somebody_elses_object_is_neither_taken_over_nor_deleted() -> None:
    theirs = {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "postgresql",
        "metadata": {"name": NAME, "namespace": SPACE},
        "spec": {"teamId": "theirs"},
    }
    async with whole(CLASS) as found:
        found.api.install(CRD)
        Zalando(found.api)
        found.api.create(theirs)
        found.api.create(claim(deletionPolicy="Delete"))
        await found.start()
        await found.settle()
        assert ready(found)["reason"] == "ObjectTaken"
        assert connection(found) == {}
        found.api.delete("PostgreSQL", "my-db", SPACE)
        await found.settle()
        assert found.api.get("PostgreSQL", "my-db", SPACE) is None
        assert (found.api.get("postgresql", NAME, SPACE) or {})["spec"] == {"teamId": "theirs"}


@pytest.mark.parametrize("death", deaths(range(1, 8)))
async def test_it_may_die_at_any_write(death: int) -> None:
    async with whole(CLASS) as found:
        found.api.install(CRD)
        Zalando(found.api)
        found.api.create(claim(deletionPolicy="Delete"))
        await found.die(death)
        await found.rise()
        assert found.not_ready() == {}
        await found.die(death, lambda: found.api.delete("PostgreSQL", "my-db", SPACE))
        await found.rise()
        assert found.api.get("PostgreSQL", "my-db", SPACE) is None
        assert found.api.objects("postgresql") == []


async def test_a_claim_beside_others_costs_few_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "PATIENCE", 60.0)
    connection = {"writeConnectionSecretToRef": {"name": "first-connection-details"}}
    first = {**claim(**connection), "metadata": {"name": "first", "namespace": SPACE}}
    async with world(first) as (found, _):
        found.api.requests.clear()
        found.api.create(CLAIM)
        await found.settle()
        assert found.not_ready() == {}
        asked = {key: count for key, count in found.api.requests.items() if key[1] not in ("ServiceClass", "Event")}
        assert asked.pop(("apply", "PostgreSQL")) <= 3, "its class on record, what it waits for, that it is ready"
        assert asked == {
            ("patch", "PostgreSQL"): 1,
            ("get", "postgresql"): 1,
            ("apply", "postgresql"): 1,
            ("get", "Secret"): 4,
            ("apply", "Secret"): 1,
        }
