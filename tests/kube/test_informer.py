"""Informers against servers that lag, lie and forget: in the end the cache is the truth."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from libresh.errors import Unavailable
from libresh.kube import informer as informers
from libresh.kube.auth import Access, from_kubeconfig
from libresh.kube.cache import Cache
from libresh.kube.client import Client
from libresh.kube.informer import Informer
from libresh.kube.kinds import KindInfo
from libresh.kube.objects import Shape
from support.apiserver import RealApi
from support.fakeapi import FakeApi, Server

PATIENCE = 20.0


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ns"}, "data": data}


def cached(informer: Informer) -> dict[str, int]:
    return {entry.meta.name: entry.version for entry in informer.cache.entries("ns")}


def truth(api: FakeApi) -> dict[str, int]:
    found = api.objects("ConfigMap", "ns")
    return {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in found}


async def until(check: Callable[[], Any], patience: float = PATIENCE) -> None:
    async with asyncio.timeout(patience):
        while not check():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(client: Client, **options: Any) -> AsyncIterator[Informer]:
    cache = Cache("ConfigMap", Shape(client.kinds["ConfigMap"]))
    found = Informer(client, cache, sleep=lambda seconds: asyncio.sleep(min(seconds, 0.02)), **options)
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("seed", range(6))
async def test_after_any_trouble_the_cache_is_the_truth(seed: int) -> None:
    dice = random.Random(seed)
    api = FakeApi(seed=seed)
    async with Server(api) as server, Client(Access(server.url)) as client, watching(client) as informer:
        for step in range(80):
            name = f"m{dice.randrange(5)}"
            match dice.choice(
                ["write", "write", "write", "delete", "break", "expire", "forget", "refuse", "wait", "repeat"]
            ):
                case "write":
                    if api.get("ConfigMap", name, "ns"):
                        api.edit("ConfigMap", name, "ns", data={"step": str(step)})
                    else:
                        api.create(config_map(name))
                case "delete" if api.get("ConfigMap", name, "ns"):
                    api.delete("ConfigMap", name, "ns")
                case "break":
                    api.break_watches(how=dice.choice(["reset", "end"]))
                case "expire":
                    api.break_watches(how="expire")
                case "forget":
                    api.compact()
                    api.break_watches(how="reset")
                case "refuse":
                    verb = dice.choice(["list", "watch"])
                    api.faults.refuse(dice.choice([429, 500, 410]), verb=verb, kind="ConfigMap")
                case "repeat":
                    api.repeat_events("ConfigMap")
                case _:
                    await asyncio.sleep(dice.choice([0, 0.005, 0.02]))
        await until(lambda: cached(informer) == truth(api))


async def test_a_kind_that_is_not_served_yet_is_waited_for() -> None:
    api = FakeApi()
    async with Server(api) as server, Client(Access(server.url)) as client:
        client.kinds.add(KindInfo("Later", "later.example.org/v1", "laters"))
        needed = Informer(client, Cache("Later", Shape(client.kinds["Later"])))
        optional = Informer(client, Cache("Later", Shape(client.kinds["Later"])), optional=True)
        tasks = [asyncio.create_task(each.run()) for each in (needed, optional)]
        await until(optional.synced.is_set)
        await until(lambda: needed.problem)
        assert not needed.synced.is_set()
        assert "laters" in needed.problem
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_metadata_only_keeps_no_values() -> None:
    api = FakeApi()
    api.create(config_map("a", secret="x"))
    async with Server(api) as server, Client(Access(server.url)) as client:
        cache = Cache("ConfigMap", Shape(client.kinds["ConfigMap"], metadata=True))
        task = asyncio.create_task(Informer(client, cache).run())
        await until(lambda: cache.get("ns", "a"))
        api.create(config_map("b", secret="x"))
        await until(lambda: cache.get("ns", "b"))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [entry.body for entry in cache.entries()] == [None, None]


async def test_only_the_selected_are_kept() -> None:
    api = FakeApi()
    ours = config_map("ours")
    ours["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "libresh"}
    api.create(ours)
    api.create(config_map("theirs"))
    async with Server(api) as server, Client(Access(server.url)) as client:
        cache = Cache("ConfigMap", Shape(client.kinds["ConfigMap"]), selector="app.kubernetes.io/managed-by=libresh")
        informer = Informer(client, cache)
        task = asyncio.create_task(informer.run())
        await until(lambda: api.requests["watch", "ConfigMap"])
        assert cached(informer).keys() == {"ours"}
        api.edit("ConfigMap", "ours", "ns", metadata={"labels": {"app.kubernetes.io/managed-by": None}})
        await until(lambda: not cached(informer))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_server_that_is_behind_is_not_believed_at_first() -> None:
    api = FakeApi()
    api.create(config_map("a", v="1"))
    async with Server(api) as server, Client(Access(server.url)) as client:
        cache = Cache("ConfigMap", Shape(client.kinds["ConfigMap"]))
        informer = Informer(client, cache)
        await informer.relist()
        api.freeze_lists("ConfigMap")
        api.edit("ConfigMap", "a", "ns", data={"v": "2"})
        api.create(config_map("b"))
        for name in ("a", "b"):
            body = await client.read("ConfigMap", name, "ns")
            assert body is not None
            cache.put(cache.shape.entry(body))
        newest = cached(informer)
        for _ in range(informers.BEHIND):
            with pytest.raises(Unavailable, match="behind"):
                await informer.relist()
            assert cached(informer) == newest
        api.thaw_lists()
        await informer.relist()
        assert cached(informer) == newest


async def test_a_restored_store_is_believed_in_the_end() -> None:
    api = FakeApi()
    for number in range(20):
        api.create(config_map(f"m{number}"))
    async with Server(api) as server, Client(Access(server.url)) as client:
        cache = Cache("ConfigMap", Shape(client.kinds["ConfigMap"]))
        await Informer(client, cache).relist()
        restored = FakeApi()
        restored.create(config_map("m1", from_backup="yes"))
        async with Server(restored) as other, Client(Access(other.url)) as now, watching_with(now, cache) as informer:
            await until(lambda: cached(informer) == truth(restored))
            restored.edit("ConfigMap", "m1", "ns", data={"then": "changed"})
            await until(lambda: cached(informer) == truth(restored))


@asynccontextmanager
async def watching_with(client: Client, cache: Cache) -> AsyncIterator[Informer]:
    found = Informer(client, cache, sleep=lambda seconds: asyncio.sleep(0.01))
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def forgetful() -> Any:
    """A real server that answers 410 for what etcd has forgotten."""
    with RealApi(flags=("--watch-cache=false",)) as server:
        yield server


@pytest.mark.apiserver
async def test_a_real_server_that_forgot_its_history(forgetful: RealApi) -> None:
    async with Client(from_kubeconfig([forgetful.kubeconfig()])) as client:
        await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}})
        for name in ("stays", "goes"):
            await client.create(config_map(name))
        cache = Cache("ConfigMap", Shape(client.kinds["ConfigMap"]))
        informer = Informer(client, cache, namespace="ns")
        await informer.relist()
        assert set(cached(informer)) >= {"stays", "goes"}
        await client.delete("ConfigMap", "goes", "ns")
        await client.patch("ConfigMap", "stays", "ns", {"data": {"v": "2"}})
        forgetful.compact()
        task = asyncio.create_task(informer.run())
        await until(lambda: "goes" not in cached(informer))
        assert informer.lists == 2
        await client.create(config_map("new"))
        await until(lambda: "new" in cached(informer))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
