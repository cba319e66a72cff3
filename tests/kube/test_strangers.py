"""What exists besides ours: asked by name, or for all at once where many are made."""

from typing import Any

import pytest

from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.kube.strangers import BURST, MANY, MOMENT, Strangers
from support.fakeapi import FakeApi, Server


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def config_map(name: str, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": "v"}}


async def test_one_by_one_and_then_all_at_once() -> None:
    api, clock = FakeApi(), Clock()
    api.create(config_map("theirs"))
    async with Server(api) as server, Client(Access(server.url)) as client:
        strangers = Strangers(client, clock=clock)
        for number in range(50):
            assert await strangers.find("ConfigMap", "ns", f"new-{number}") is None
            found = await strangers.find("ConfigMap", "ns", "theirs")
            assert found is not None
            assert found.meta.name == "theirs"
            assert found.body is None
        assert api.requests["list", "ConfigMap"] == 1
        assert api.requests["get", "ConfigMap"] == 50 + BURST // 2
        api.create(config_map("later"))
        clock.now += MOMENT
        assert await strangers.find("ConfigMap", "ns", "later") is not None


@pytest.mark.parametrize("asked", [1, 20])
async def test_a_crowd_is_never_listed_whole(asked: int) -> None:
    api, clock = FakeApi(), Clock()
    for number in range(MANY + 1):
        api.create(config_map(f"m{number}"))
    async with Server(api) as server, Client(Access(server.url)) as client:
        strangers = Strangers(client, clock=clock)
        for _ in range(asked):
            assert await strangers.find("ConfigMap", "ns", "new") is None
            assert await strangers.find("ConfigMap", "ns", f"m{MANY}") is not None
            clock.now += MOMENT / 10
        assert api.requests["list", "ConfigMap"] <= 1
