"""What only the fake can do: faults, journal, garbage collection on demand, speed."""

import asyncio
import time

import aiohttp
import pytest

from support.fakeapi import FakeApi, Refusal, Server


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
    for number in range(10_000):
        api.create(config_map(f"c{number:05}", filler="x" * 2800))
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
