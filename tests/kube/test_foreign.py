"""Single objects of other people: one watch for all that bear a label, one each for those that do not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from libresh.kube import foreign
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.kube.foreign import Foreign
from libresh.kube.objects import Entry
from support.fakeapi import FakeApi, Server

LABEL = "application=spilo"
Name = tuple[str, str, str]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "PATIENCE", 0.1)


def secret(name: str, space: str = "a", *, labelled: bool = True) -> dict[str, Any]:
    labels = {"application": "spilo"} if labelled else {}
    meta = {"name": name, "namespace": space, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"k": "dg=="}}


async def until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not check():
            await asyncio.sleep(0.01)


class World:
    """Single objects that are asked for, and whose changes are heard."""

    def __init__(self, api: FakeApi, client: Client) -> None:
        self.api = api
        self.heard: list[str] = []
        self.foreign = Foreign(client, self.hear, lambda key: False, live=True)

    def hear(self, kind: str, old: Entry | None, new: Entry | None, source: Name | None) -> None:
        entry = new or old
        assert entry is not None
        self.heard.append(entry.meta.name)

    async def ask(self, name: str, space: str = "a") -> Entry | None:
        """What a pass does."""
        found = await self.foreign.look("Secret", space, name)
        self.foreign.keep("Secret", space, name, LABEL)
        return found

    async def hears(self, name: str, do: Callable[[], object]) -> bool:
        """Whether the change that `do` makes is heard."""
        self.heard.clear()
        do()
        try:
            async with asyncio.timeout(0.5):
                while name not in self.heard:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def world(*objects: dict[str, Any]) -> AsyncIterator[World]:
    api = FakeApi()
    for obj in objects:
        api.create(obj)
    async with Server(api) as server, Client(Access(server.url)) as client:
        found = World(api, client)
        try:
            yield found
        finally:
            await found.foreign.stop()


async def test_one_watch_serves_all_that_bear_the_label() -> None:
    made = [secret(f"s{number}", f"space-{number % 3}") for number in range(30)]
    async with world(*made) as found:
        for obj in made:
            assert await found.ask(obj["metadata"]["name"], obj["metadata"]["namespace"]) is not None
        await until(lambda: len(found.heard) == 30)
        assert len(found.foreign) == 1
        assert await found.hears("s7", lambda: found.api.edit("Secret", "s7", "space-1", data={"k": "dw=="}))
        assert await found.hears("s8", lambda: found.api.delete("Secret", "s8", "space-2"))
        assert await found.foreign.look("Secret", "space-2", "s8") is None


async def test_what_comes_later_is_noticed() -> None:
    async with world(secret("first")) as found:
        await found.ask("first")
        assert await found.ask("second") is None
        await until(lambda: not found.foreign._asked)
        assert len(found.foreign) == 1
        assert await found.hears("second", lambda: found.api.create(secret("second")))


async def test_what_is_absent_is_watched_alone_while_none_of_its_sort_was_seen() -> None:
    async with world() as found:
        assert await found.ask("only") is None
        await until(lambda: len(found.foreign) == 2)
        assert await found.hears("only", lambda: found.api.create(secret("only", labelled=False)))


async def test_a_few_tell_whether_all_of_a_sort_bear_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "SCOUTS", 2)
    async with world() as found:
        for name in ("a", "b", "c", "d"):
            assert await found.ask(name) is None
        await until(lambda: len(found.foreign) == 3)
        found.api.create(secret("a", labelled=False))
        await until(lambda: len(found.foreign) == 5)
        assert await found.hears("d", lambda: found.api.create(secret("d", labelled=False)))


async def test_those_that_told_are_watched_with_the_others_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "SCOUTS", 2)
    async with world() as found:
        for name in ("a", "b", "c", "d"):
            await found.ask(name)
        await until(lambda: len(found.foreign) == 3)
        for name in ("a", "b", "c", "d"):
            assert await found.hears(name, partial(found.api.create, secret(name)))
            assert await found.ask(name) is not None
        async with asyncio.timeout(10):
            while len(found.foreign) > 1:  # its own watch may tell of one before that of all does
                for name in ("a", "b", "c", "d"):
                    await found.ask(name)
                await asyncio.sleep(0.01)
        assert await found.hears("b", lambda: found.api.delete("Secret", "b", "a"))


async def test_what_lacks_the_label_is_watched_alone() -> None:
    async with world(secret("first"), secret("bare", labelled=False)) as found:
        await found.ask("first")
        assert await found.ask("bare") is not None
        await until(lambda: len(found.foreign) == 2)
        assert await found.hears("bare", lambda: found.api.edit("Secret", "bare", "a", data={"k": "dw=="}))


async def test_a_watch_ends_with_the_last_who_asks() -> None:
    async with world(secret("first"), secret("second")) as found:
        await found.ask("first")
        await found.ask("second")
        found.foreign.release(("Secret", "a", "first"))
        assert len(found.foreign) == 1
        found.foreign.release(("Secret", "a", "second"))
        assert len(found.foreign) == 0
        assert found.foreign.idle
