"""What only the fake can do: faults, journal, garbage collection on demand, speed."""

import asyncio
import json
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from support.fakeapi import FakeApi, Fault, Refusal, Server
from support.fakeapi.errors import conflict


def config_map(name: str, namespace: str = "default", **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


async def test_a_crash_after_a_write_applies_it_and_lets_nothing_more_in(fake_api: Server) -> None:
    fake_api.api.faults.crash_after(2)
    url = f"{fake_api.url}/api/v1/namespaces/default/configmaps"
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json=config_map("one")) as answer:
            assert answer.status == 201
        for name in ("two", "three"):
            with pytest.raises(aiohttp.ClientError):
                await session.post(url, json=config_map(name))
        assert fake_api.api.faults.crashed.is_set()
        assert [found["metadata"]["name"] for found in fake_api.api.objects("ConfigMap")] == ["one", "two"]
        fake_api.api.faults.heal()
        async with session.post(url, json=config_map("three")) as answer:
            assert answer.status == 201
    assert [str(write) for write in fake_api.api.journal] == [
        "create ConfigMap default/one",
        "create ConfigMap default/two",
        "create ConfigMap default/three",
    ]


async def test_a_crash_before_a_write_does_not_apply_it(fake_api: Server) -> None:
    fake_api.api.faults.crash_before(1)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"{fake_api.url}/api/v1/namespaces/default/configmaps", json=config_map("one"))
    assert fake_api.api.objects("ConfigMap") == []


@pytest.mark.parametrize("code", [409, 410, 429, 500, 503])
async def test_refusals_on_demand(fake_api: Server, code: int) -> None:
    fake_api.api.faults.refuse(code, verb="get", kind="ConfigMap")
    fake_api.api.create(config_map("one"))
    url = f"{fake_api.url}/api/v1/namespaces/default/configmaps/one"
    async with aiohttp.ClientSession() as session:
        async with session.get(url) as answer:
            assert (answer.status, (await answer.json())["code"]) == (code, code)
        async with session.get(url) as answer:
            assert answer.status == 200


async def test_ten_thousand_objects_are_listed_in_pages_quickly() -> None:
    api = FakeApi()
    api.load(config_map(f"c{number:05}", filler="x" * 2800) for number in range(10_000))
    async with Server(api) as server, aiohttp.ClientSession() as session:
        url, started, seen = f"{server.url}/api/v1/configmaps?limit=500", time.process_time(), 0
        going_on = ""
        while True:
            async with session.get(url, params={"continue": going_on} if going_on else {}) as answer:
                body = await answer.read()
            seen += body.count(b'"uid"')
            going_on = body[: body.index(b'"items"')].partition(b'"continue":"')[2].partition(b'"')[0].decode()
            if not going_on:
                break
        spent = time.process_time() - started
    assert seen == 10_000
    assert spent < 1.0, f"{spent:.2f} s"


async def test_requests_are_counted(fake_api: Server) -> None:
    async with aiohttp.ClientSession() as session:
        await session.get(f"{fake_api.url}/api/v1/configmaps")
        await session.get(f"{fake_api.url}/api/v1/namespaces/default/configmaps/none")
    assert fake_api.api.requests == {("list", "ConfigMap"): 1, ("get", "ConfigMap"): 1}


async def test_held_events_are_late(fake_api: Server) -> None:
    api = fake_api.api
    api.hold("ConfigMap")
    async with aiohttp.ClientSession() as session:
        watch = await session.get(f"{fake_api.url}/api/v1/configmaps?watch=1&resourceVersion={api.rv}")
        api.create(config_map("one"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(watch.content.readline(), 0.1)
        api.release("ConfigMap")
        assert b'"ADDED"' in await asyncio.wait_for(watch.content.readline(), 2)


def test_unknown_kinds_say_what_to_do() -> None:
    with pytest.raises(KeyError, match="install its CRD"):
        FakeApi().create({"apiVersion": "a/v1", "kind": "Thing", "metadata": {"name": "x"}})
    with pytest.raises(Refusal, match="not found"):
        FakeApi().delete("ConfigMap", "none", "default")


async def test_bookmarks_come_at_intervals_and_on_demand() -> None:
    """The real server (1.36) sends one after every minute of a watch, and none before its end."""
    api = FakeApi(bookmark_every=0.05)
    async with Server(api) as server, aiohttp.ClientSession() as session:
        url = f"{server.url}/api/v1/configmaps?watch=1&allowWatchBookmarks=true&resourceVersion="
        watch = await session.get(f"{url}{api.rv}")
        assert b"BOOKMARK" in await asyncio.wait_for(watch.content.readline(), 2)
        api.bookmark_every = 60
        await watch.content.readline()
        api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}})
        api.bookmark()
        mark = await asyncio.wait_for(watch.content.readline(), 2)
        assert f'"resourceVersion":"{api.rv}"'.encode() in mark


WATCH = "/api/v1/configmaps?watch=1&resourceVersion="


async def event(watch: aiohttp.ClientResponse) -> dict:
    async with asyncio.timeout(5):
        return json.loads(await watch.content.readline())


async def test_events_are_lost_and_doubled_on_demand(fake_api: Server) -> None:
    api = fake_api.api
    api.drop_events("ConfigMap")
    async with aiohttp.ClientSession() as session:
        watch = await session.get(f"{fake_api.url}{WATCH}{api.rv}")
        for name in ("lost", "told", "doubled"):
            if name == "doubled":
                api.repeat_events("ConfigMap")
            api.create(config_map(name))
        found = [(await event(watch))["object"]["metadata"]["name"] for _ in range(3)]
    assert found == ["told", "doubled", "doubled"]


@pytest.mark.parametrize("how", ["end", "reset", "expire"])
async def test_watches_end_on_demand(fake_api: Server, how: str) -> None:
    api = fake_api.api
    async with aiohttp.ClientSession() as session:
        watch = await session.get(f"{fake_api.url}{WATCH}{api.rv}")
        api.create(config_map("one"))
        assert (await event(watch))["type"] == "ADDED"
        api.break_watches("ConfigMap", how)
        if how == "reset":
            with pytest.raises(aiohttp.ClientPayloadError):
                await watch.content.readline()
        elif how == "expire":
            last = await event(watch)
            assert (last["type"], last["object"]["code"]) == ("ERROR", 410)
        else:
            assert await watch.content.readline() == b""


async def test_lists_are_stale_on_demand(fake_api: Server) -> None:
    api = fake_api.api
    api.create(config_map("old"))
    api.freeze_lists("ConfigMap")
    then = api.rv
    api.create(config_map("new"))
    async with aiohttp.ClientSession() as session:
        url = f"{fake_api.url}/api/v1/configmaps"
        stale = await (await session.get(url)).json()
        api.thaw_lists()
        fresh = await (await session.get(url)).json()
    assert [item["metadata"]["name"] for item in stale["items"]] == ["old"]
    assert stale["metadata"]["resourceVersion"] == str(then)
    assert len(fresh["items"]) == 2


@pytest.mark.parametrize(("when", "there"), [("before", 0), ("after", 1)])
async def test_an_answer_can_get_lost_before_or_after_the_write(fake_api: Server, when: str, there: int) -> None:
    fake_api.api.faults.reset(verb="create", when=when)
    async with aiohttp.ClientSession() as session:
        url = f"{fake_api.url}/api/v1/namespaces/default/configmaps"
        with pytest.raises(aiohttp.ClientError):
            await session.post(url, json=config_map("one"))
        assert len(fake_api.api.objects("ConfigMap")) == there
        async with session.post(url, json=config_map("two")) as answer:
            assert answer.status == 201


async def test_a_fault_can_choose_its_requests(fake_api: Server) -> None:
    chosen = Fault(
        conflict("configmaps", "", "x"), matches=lambda request, target: target.name.startswith("x"), times=-1
    )
    fake_api.api.faults.add(chosen)
    async with aiohttp.ClientSession() as session:
        url = f"{fake_api.url}/api/v1/namespaces/default/configmaps"
        found = [(await session.get(f"{url}/{name}")).status for name in ("x1", "a", "x2")]
    assert found == [409, 404, 409]
    assert chosen.hits == 2


async def test_a_token_may_be_asked_for() -> None:
    async with Server(FakeApi(), token="secret") as server, aiohttp.ClientSession() as session:
        url = f"{server.url}/api/v1/configmaps"
        assert (await session.get(url)).status == 401
        assert (await session.get(url, headers={"Authorization": "Bearer secret"})).status == 200


def test_the_same_seed_gives_the_same_uids() -> None:
    uids = [
        [api.create(config_map(name))["metadata"]["uid"] for name in "ab"]
        for api in (FakeApi(), FakeApi(), FakeApi(seed=2))
    ]
    assert uids[0] == uids[1] != uids[2]


def test_namespaces_need_not_be_there_unless_asked() -> None:
    FakeApi().create(config_map("one", "anywhere"))
    with pytest.raises(Refusal, match='namespaces "anywhere" not found'):
        FakeApi(strict_namespaces=True).create(config_map("one", "anywhere"))


async def test_it_runs_as_a_process_for_benchmarks() -> None:
    folder = Path(__file__).parents[1]
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.fakeapi", cwd=folder, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert program.stdout is not None
        url = (await asyncio.wait_for(program.stdout.readline(), 20)).decode().strip()
        async with aiohttp.ClientSession() as session:
            await session.post(f"{url}/-/load", json=[config_map("one"), config_map("two")])
            await session.delete(f"{url}/api/v1/namespaces/default/configmaps/one")
            state = await (await session.get(f"{url}/-/state")).json()
        assert (state["requests"], state["writes"], state["changes"]) == ({"delete ConfigMap": 1}, 1, 1)
    finally:
        program.kill()
        await program.wait()
