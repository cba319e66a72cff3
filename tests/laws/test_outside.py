"""The whole operator with classes whose claims are accounts on servers somebody else runs, on a fake of those."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from laws.whole import Whole, deaths, matrix, whole
from support.outside import SYSTEM, Outside, decoded

Object = dict[str, Any]
GROUPS = {"PostgreSQL": "database.libre.sh", "Redis": "cache.libre.sh", "OIDCClient": "identity.libre.sh"}
ROLE = "team_mine_"
NAMES = {kind: f"mine-{kind.lower()}-connection" for kind in GROUPS}
CREDENTIALS = {
    "PostgreSQL": "mine-pg-credentials",
    "Redis": "mine-redis-credentials",
    "OIDCClient": "mine-oidc-credentials",
}
PORTS = {"PostgreSQL": 5432, "Redis": 6379, "OIDCClient": 8443}
DRIVERS = {"OIDCClient": "keycloak"}
WISHES = {"OIDCClient": {"parameters": {"redirectUris": ["https://wiki.example.org/callback"]}}}
PROGRAMS = {"PostgreSQL": "postgresql", "Redis": "redis", "OIDCClient": "keycloak"}
KEYS = {
    "PostgreSQL": ("username", "password"),
    "Redis": ("username", "password"),
    "OIDCClient": ("client-id", "client-secret"),
}
"""Of the connection secret: who, and with which password."""
AWAY = (1, "server.example.org:1 does not let the administrator in: Connection refused")

FIRST, *OTHERS = GROUPS
every_kind = pytest.mark.parametrize(
    "kind", [FIRST, *(pytest.param(kind, marks=pytest.mark.thorough) for kind in OTHERS)]
)


def admin() -> Object:
    metadata = {"name": "admin", "namespace": SYSTEM}
    data = {"username": "root", "password": "of-the-administrator"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def outside_class(kind: str, **parameters: Any) -> Object:
    given = {"host": "server.example.org", "tls": "require"}
    if kind == "OIDCClient":
        given = {"url": "https://server.example.org:8443", "realm": "acme"}
    given |= {"adminSecretRef": {"name": "admin"}, **parameters}
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": "outside"},
        "spec": {"claimKind": kind, "driver": DRIVERS.get(kind, "external"), "parameters": given},
    }


def claim(kind: str, **spec: Any) -> Object:
    return {
        "apiVersion": f"{GROUPS[kind]}/v1alpha1",
        "kind": kind,
        "metadata": {"name": "mine", "namespace": "team"},
        "spec": {"className": "outside", **WISHES.get(kind, {}), **spec},
    }


@asynccontextmanager
async def world(kind: str, *objects: Object, **spec: Any) -> AsyncIterator[tuple[Whole, Outside]]:
    """A claim that is served outside, settled."""
    async with prepared(kind, *(objects or (admin(),)), **spec) as (found, outside):
        await found.start()
        await found.settle()
        yield found, outside


@asynccontextmanager
async def prepared(kind: str, *objects: Object, **spec: Any) -> AsyncIterator[tuple[Whole, Outside]]:
    """The same before the operator starts."""
    async with whole(outside_class(kind), *objects) as found:
        outside = Outside(found.api, found.workloads)
        found.api.create(claim(kind, **spec))
        yield found, outside


def mine(found: Whole, kind: str) -> Object:
    obj = found.api.get(kind, "mine", "team")
    assert obj is not None
    return obj


def ready(found: Whole, kind: str) -> Object:
    return found.ready(kind, "mine", "team")


def published(found: Whole, kind: str) -> dict[str, str]:
    return decoded(found.api.get("Secret", NAMES[kind], "team"))


def works(found: Whole, outside: Outside, kind: str) -> bool:
    connection, (who, password) = published(found, kind), KEYS[kind]
    return connection[password] in outside.accounts[connection[who]]


def beside_the_administrator(found: Whole) -> list[str]:
    """What lies in the operator's namespace and was not put there by the test."""
    kinds = ("Job", "Secret", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding")
    names = [obj["metadata"]["name"] for kind in kinds for obj in found.api.objects(kind, SYSTEM)]
    return [name for name in names if name not in ("admin", "authority") and not name.startswith("embedded-")]


async def until(found: Whole, holds: Callable[[], bool], seconds: float = 8.0) -> None:
    """Until something is so that is noticed a little later: then it settles."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, found.not_ready()
        await found.settle()
    await found.settle()


def annotate(found: Whole, kind: str, text: str) -> None:
    found.api.edit(kind, "mine", "team", metadata={"annotations": {"services.libre.sh/rotate": text}})


def go(found: Whole, kind: str) -> None:
    found.api.delete(kind, "mine", "team")


# --- provided ----------------------------------------------------------------------------------------------------


@every_kind
async def test_an_account_is_made_once_and_then_there_is_silence(kind: str) -> None:
    async with world(kind) as (found, outside):
        assert found.not_ready() == {}
        assert works(found, outside, kind)
        assert beside_the_administrator(found) == []
        assert "rotate" in mine(found, kind)["status"]["capabilities"]
        assert len(outside.done) == 1
        assert await found.written_within(0.5) == []


@every_kind
async def test_a_restart_writes_nothing_and_runs_no_errand(kind: str) -> None:
    async with world(kind) as (found, outside):
        assert await found.restarted() == []
        assert len(outside.done) == 1


@every_kind
async def test_the_administrator_is_nowhere_but_in_the_operators_namespace(kind: str) -> None:
    async with prepared(kind, admin()) as (found, outside):
        outside.hangs = True
        await found.start()
        await found.settle()
        assert beside_the_administrator(found)
        kinds = (kind, "Job", "Pod", "NetworkPolicy", "Event", "ServiceClass")
        shown = "".join(str(obj) for each in kinds for obj in found.api.objects(each))
        shown += "".join(str(decoded(secret)) for secret in found.api.objects("Secret", "team"))
        (password,) = decoded(found.api.get("Secret", CREDENTIALS[kind], "team")).values()
        assert "of-the-administrator" not in shown
        assert password not in shown.replace(str({"password": password}), "")


async def test_names_on_the_server_say_whose_they_are() -> None:
    async with world("PostgreSQL") as (found, outside):
        (role,) = outside.accounts
        assert role.startswith(ROLE)
        connection = published(found, "PostgreSQL")
        assert (connection["username"], connection["database"]) == (role, role)
        assert connection["sslmode"] == "require"
        assert connection["uri"].endswith(f"@server.example.org:5432/{role}?sslmode=require")
    async with world("Redis") as (found, outside):
        assert list(outside.accounts) == ["team.mine"]
        assert published(found, "Redis")["prefix"] == "team:mine:"
        assert published(found, "Redis")["uri"].startswith("rediss://team.mine:")


@every_kind
async def test_what_is_missing_is_told_and_noticed_when_it_is_there(kind: str) -> None:
    async with world(kind, {**admin(), "stringData": {"username": "root"}}) as (found, outside):
        assert ready(found, kind)["reason"] == "AdministratorMissing"
        assert "adminSecretRef: there is no Secret libresh-system/admin with the keys" in ready(found, kind)["message"]
        assert beside_the_administrator(found) == []
        found.api.edit("Secret", "admin", SYSTEM, stringData={"password": "of-the-administrator"})
        await found.settle()
        assert found.not_ready() == {}
        assert works(found, outside, kind)


@pytest.mark.parametrize("authority", ["ConfigMap", "Secret"])
async def test_the_authority_of_the_server_reaches_the_errand_and_the_client(authority: str) -> None:
    reference = {"kind": authority, "name": "authority"}
    data = {"data": {"ca.crt": "PEM"}} if authority == "ConfigMap" else {"stringData": {"ca.crt": "PEM"}}
    theirs = {"apiVersion": "v1", "kind": authority, "metadata": {"name": "authority", "namespace": SYSTEM}}
    async with whole(outside_class("PostgreSQL", tls="verify-full", caRef=reference), admin()) as found:
        outside = Outside(found.api, found.workloads)
        outside.hangs = True
        found.api.create(claim("PostgreSQL"))
        await found.start()
        await found.settle()
        assert ready(found, "PostgreSQL")["reason"] == "AuthorityMissing"
        found.api.create({**theirs, **data})
        await until(found, lambda: ready(found, "PostgreSQL")["reason"] == "ErrandRunning")
        (files,) = [s for s in found.api.objects("Secret", SYSTEM) if s["metadata"]["name"].startswith("mine-")]
        assert decoded(files)["ca.crt"] == "PEM"
        outside.hangs = False
        await found.settle()
        assert found.not_ready() == {}
        assert published(found, "PostgreSQL")["ca.crt"] == "PEM"


async def test_an_application_that_cannot_prefix_its_keys_is_told() -> None:
    async with prepared("Redis", admin(), matrix(cache={"className": "outside"})) as (found, _):
        await found.start()
        await found.settle()
        app = found.api.get("Matrix", "chat", "team") or {}
        (stalled,) = [each for each in app["status"]["conditions"] if each["type"] == "Stalled"]
        assert stalled["reason"] == "NeedStalled"
        assert "spec.cache: Redis team/chat-cache lets in keys that begin with its prefix only" in stalled["message"]
        assert found.api.get("Deployment", "chat-synapse", "team") is None


# --- trouble -----------------------------------------------------------------------------------------------------


@every_kind
async def test_a_server_that_is_away_is_told_in_its_own_words_and_asked_again(kind: str) -> None:
    async with prepared(kind, admin()) as (found, outside):
        outside.fails = AWAY
        await found.start()
        await found.settle()
        assert ready(found, kind)["reason"] == "ErrandFailing"
        assert ready(found, kind)["message"] == f"{AWAY[1]}; it is tried again"
        assert NAMES[kind] not in {secret["metadata"]["name"] for secret in found.api.objects("Secret", "team")}
        outside.fails = None
        await found.settle()
        assert found.not_ready() == {}


async def test_a_refusal_stalls_and_one_of_a_later_wish_leaves_ready_what_works() -> None:
    async with world("PostgreSQL") as (found, outside):
        outside.fails = (3, "spec.parameters.extensions: postgis is not installed on server.example.org:5432")
        found.api.edit("PostgreSQL", "mine", "team", spec={"parameters": {"extensions": ["postgis"]}})
        await found.settle()
        assert (ready(found, "PostgreSQL")["status"], ready(found, "PostgreSQL")["reason"]) == ("True", "ServerRefuses")
        conditions = {each["type"]: each for each in mine(found, "PostgreSQL")["status"]["conditions"]}
        assert conditions["Stalled"]["message"] == outside.fails[1]
        outside.fails = None
        found.api.edit("PostgreSQL", "mine", "team", spec={"parameters": {"extensions": []}})
        await found.settle()
        assert found.not_ready() == {}
        assert "Stalled" not in {each["type"] for each in mine(found, "PostgreSQL")["status"]["conditions"]}
        assert beside_the_administrator(found) == []


async def test_an_errand_that_is_not_wanted_any_more_is_ended_before_the_next_begins() -> None:
    async with prepared("PostgreSQL", admin()) as (found, outside):
        outside.hangs = True
        await found.start()
        await found.settle()
        (first,) = found.api.objects("Job", SYSTEM)
        found.api.edit("PostgreSQL", "mine", "team", spec={"parameters": {"extensions": ["pg_trgm"]}})
        await found.settle()
        (second,) = found.api.objects("Job", SYSTEM)
        assert first["metadata"]["name"] != second["metadata"]["name"]
        outside.hangs = False
        await found.settle()
        assert found.not_ready() == {}
        assert set(outside.at_once) == {1}


@every_kind
async def test_a_lost_record_is_made_anew_with_the_same_password(kind: str) -> None:
    async with world(kind) as (found, outside):
        before = published(found, kind)
        found.api.delete("Secret", CREDENTIALS[kind], "team")
        await found.settle()
        assert found.not_ready() == {}
        assert published(found, kind) == before
        assert outside.locked_out == []


# --- rotation ----------------------------------------------------------------------------------------------------


@every_kind
async def test_another_text_is_another_password(kind: str) -> None:
    async with world(kind) as (found, outside):
        before = published(found, kind)[KEYS[kind][1]]
        for text in ("once", "again"):
            annotate(found, kind, text)
            await found.settle()
            assert found.not_ready() == {}
            now = published(found, kind)[KEYS[kind][1]]
            assert now != before
            assert works(found, outside, kind)
            assert before not in decoded(found.api.get("Secret", CREDENTIALS[kind], "team")).values()
            assert before not in next(iter(outside.accounts.values()))
            before = now
        found.api.edit(kind, "mine", "team", metadata={"annotations": {"services.libre.sh/rotate": None}})
        await found.settle()
        assert published(found, kind)[KEYS[kind][1]] == before, "to take the annotation away asks for nothing"
        assert beside_the_administrator(found) == []


async def test_while_a_cache_gets_a_new_password_the_published_one_always_works() -> None:
    async with world("Redis") as (found, outside):
        annotate(found, "Redis", "once")
        await found.settle()
        assert outside.locked_out == []


@every_kind
async def test_while_the_server_is_away_the_old_password_stays_published(kind: str) -> None:
    async with world(kind) as (found, outside):
        before = published(found, kind)
        outside.fails = AWAY
        annotate(found, kind, "once")
        await found.settle()
        assert published(found, kind) == before
        assert (ready(found, kind)["status"], ready(found, kind)["reason"]) == ("True", "ErrandFailing")
        outside.fails = None
        await found.settle()
        assert published(found, kind) != before
        assert works(found, outside, kind)


@every_kind
async def test_a_wish_that_is_taken_back_is_not_believed_to_have_been_without_effect(kind: str) -> None:
    async with world(kind) as (found, outside):
        annotate(found, kind, "a")
        await found.settle()
        outside.hangs = True
        annotate(found, kind, "b")
        await found.settle()
        await found.kill()
        outside.hangs = False
        await found.settle()
        for job in found.api.objects("Job", SYSTEM):
            found.api.delete("Job", job["metadata"]["name"], SYSTEM)  # it ended long ago
        await found.settle()
        annotate(found, kind, "a")
        await found.start()
        await found.settle()
        assert found.not_ready() == {}
        assert works(found, outside, kind)


# --- deletion ----------------------------------------------------------------------------------------------------


@every_kind
async def test_delete_leaves_nothing_on_the_server_nor_here(kind: str) -> None:
    async with world(kind, deletionPolicy="Delete") as (found, outside):
        go(found, kind)
        await found.settle()
        assert found.api.get(kind, "mine", "team") is None
        assert outside.accounts == {}
        assert beside_the_administrator(found) == []
        assert found.api.objects("Secret", "team") == []


@every_kind
async def test_retain_leaves_all_on_the_server_and_a_new_claim_finds_it(kind: str) -> None:
    async with world(kind) as (found, outside):
        before, accounts = published(found, kind), dict(outside.accounts)
        go(found, kind)
        await found.settle()
        assert found.api.get(kind, "mine", "team") is None
        assert outside.accounts == accounts
        assert beside_the_administrator(found) == []
        assert [s["metadata"]["name"] for s in found.api.objects("Secret", "team")] == [CREDENTIALS[kind]]
        found.api.create(claim(kind))
        await found.settle()
        assert found.not_ready() == {}
        assert published(found, kind) == before
        assert len(outside.done) == 2, "what was so for the old claim is not believed for the new one"


@every_kind
async def test_a_server_that_is_away_holds_the_claim_until_it_is_back_or_the_data_may_stay(kind: str) -> None:
    for way_out in ("the server is back", "the data may stay"):
        async with world(kind, deletionPolicy="Delete") as (found, outside):
            outside.fails = AWAY
            go(found, kind)
            await found.settle()
            assert AWAY[1] in ready(found, kind)["message"]
            assert '{"spec":{"deletionPolicy":"Retain"}}' in ready(found, kind)["message"]
            if way_out == "the data may stay":
                found.api.edit(kind, "mine", "team", spec={"deletionPolicy": "Retain"})
            else:
                outside.fails = None
            await found.settle()
            assert found.api.get(kind, "mine", "team") is None
            assert bool(outside.accounts) == (way_out == "the data may stay")
            assert beside_the_administrator(found) == []


@every_kind
async def test_a_claim_that_goes_while_it_is_made_is_made_no_further(kind: str) -> None:
    async with prepared(kind, admin(), deletionPolicy="Delete") as (found, outside):
        outside.hangs = True
        await found.start()
        await found.settle()
        go(found, kind)
        await found.settle()
        assert ready(found, kind)["message"] == f"server.example.org:{PORTS[kind]} is being told"
        outside.hangs = False
        await found.settle()
        assert outside.done == [f"{PROGRAMS[kind]} remove"]
        assert set(outside.at_once) == {1}
        assert found.api.get(kind, "mine", "team") is None
        assert beside_the_administrator(found) == []


@every_kind
async def test_a_claim_for_which_nothing_was_begun_asks_nobody(kind: str) -> None:
    async with whole(outside_class(kind), admin()) as found:
        outside = Outside(found.api, found.workloads)
        outside.fails = AWAY
        taken = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAMES[kind], "namespace": "team"}}
        found.api.create(taken)
        found.api.create(claim(kind, deletionPolicy="Delete"))
        await found.start()
        await found.settle()
        assert ready(found, kind)["reason"] == "SecretTaken"
        go(found, kind)
        await found.settle()
        assert found.api.get(kind, "mine", "team") is None
        assert found.api.get("Secret", NAMES[kind], "team") is not None


# --- killed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["after", "before"])
@pytest.mark.parametrize("death", deaths(range(1, 25, 4)))
async def test_it_may_die_at_any_write(death: int, when: str) -> None:
    """Killed at the same write of each of its three ways: it still provides, rotates and removes."""
    async with prepared("Redis", admin(), deletionPolicy="Delete") as (found, outside):
        steps = (lambda: None, lambda: annotate(found, "Redis", "once"), lambda: go(found, "Redis"))
        for step in steps:
            await found.die(death, step, when)
            await found.rise()
            if step is not steps[-1]:
                assert found.not_ready() == {}
                assert works(found, outside, "Redis")
            await found.kill()
        assert outside.locked_out == []
        assert set(outside.at_once) == {1}
        assert outside.accounts == {}
        assert found.api.get("Redis", "mine", "team") is None
        assert beside_the_administrator(found) == []
        assert found.api.objects("Secret", "team") == []
