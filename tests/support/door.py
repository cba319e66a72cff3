"""A plain way to talk to either API server, so that one suite can ask both the same."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from .apiserver import RealApi
from .fakeapi import FakeApi, Server

Object = dict[str, Any]
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PATIENCE = 45.0
"""The real garbage collector looks for new kinds every 30 seconds."""


@dataclass
class Reply:
    """An answer."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, path: str) -> Any:
        """A value of the body: `reply["metadata.name"]`; None where there is nothing."""
        here = self.body
        for part in path.split("."):
            here = here.get(part) if isinstance(here, dict) else None
        return here


@dataclass
class Door:
    """One server and the namespace a test has to itself."""

    url: str
    session: aiohttp.ClientSession
    namespace: str
    fake: FakeApi | None = None
    """The fake behind this door, or None for the real server."""
    real: RealApi | None = None

    async def compact(self) -> None:
        """Makes the server forget the past."""
        if self.fake is not None:
            self.fake.compact()
        elif self.real is not None:
            await asyncio.to_thread(self.real.compact)

    async def ask(
        self, method: str, path: str, body: Any = None, *, accept: str = "", content: str = "", **query: Any
    ) -> Reply:
        """One request. `{ns}` in the path stands for the test's namespace."""
        headers = {"Content-Type": content or "application/json"} if body is not None else {}
        headers["Accept"] = accept or "application/json"
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        params = {key.replace("continue_", "continue"): str(value) for key, value in query.items()}
        url = self.url + path.replace("{ns}", self.namespace)
        async with self.session.request(method, url, data=data, headers=headers, params=params) as answer:
            text = await answer.read()
            kind = answer.headers.get("Content-Type", "")
            found = json.loads(text) if "json" in kind and text else text.decode(errors="replace")
            return Reply(answer.status, found, dict(answer.headers))

    async def get(self, path: str, **query: Any) -> Reply:
        return await self.ask("GET", path, **query)

    async def create(self, path: str, body: Object, **query: Any) -> Reply:
        return await self.ask("POST", path, body, **{"fieldManager": "maker", **query})

    async def put(self, path: str, body: Object, **query: Any) -> Reply:
        return await self.ask("PUT", path, body, **{"fieldManager": "putter", **query})

    async def apply(self, path: str, body: Object, manager: str = "one", force: bool = False, **query: Any) -> Reply:
        more = {"force": "true"} if force else {}
        return await self.ask("PATCH", path, body, content=APPLY, fieldManager=manager, **more, **query)

    async def merge(self, path: str, body: Object, manager: str = "patcher", **query: Any) -> Reply:
        return await self.ask("PATCH", path, body, content=MERGE, fieldManager=manager, **query)

    async def json_patch(self, path: str, body: list[Object], manager: str = "patcher") -> Reply:
        return await self.ask("PATCH", path, body, content=JSON_PATCH, fieldManager=manager)

    async def delete(self, path: str, **options: Any) -> Reply:
        return await self.ask("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", **options})

    async def eventually(self, check: Callable[[], Awaitable[Any]]) -> Any:
        """Waits until `check` gives something true: the fake settles, the real server takes its time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.fake is not None:
                await self.fake.settle()
            if found := await check():
                return found
            assert self.fake is None, "the fake is settled and the condition does not hold"
            assert time.monotonic() < deadline, "the condition did not come to hold"
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def watch(self, path: str, **query: Any) -> AsyncIterator["Watching"]:
        """A watch."""
        url = self.url + path.replace("{ns}", self.namespace)
        accept = query.pop("accept", "application/json")
        params = {"watch": "1", **{key: str(value) for key, value in query.items()}}
        limit = aiohttp.ClientTimeout(total=60)
        async with self.session.get(url, params=params, headers={"Accept": accept}, timeout=limit) as answer:
            yield Watching(answer)


@dataclass
class Watching:
    """An open watch."""

    answer: aiohttp.ClientResponse

    @property
    def status(self) -> int:
        return self.answer.status

    async def next(self, patience: float = PATIENCE) -> Object | None:
        """The next event, or None at the end of the stream."""
        async with asyncio.timeout(patience):
            line = await self.answer.content.readline()
        found: Object | None = json.loads(line) if line else None
        return found

    async def take(self, count: int) -> list[tuple[str, str]]:
        """The next events as (type, name)."""
        found = []
        for _ in range(count):
            event = await self.next()
            assert event is not None, f"the watch ended after {found}"
            found.append((event["type"], event["object"]["metadata"].get("name", "")))
        return found

    async def silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes."""
        try:
            return await self.next(seconds) is None
        except TimeoutError:
            return True


NUMBERS = itertools.count(1)


@asynccontextmanager
async def door_to(server: RealApi) -> AsyncIterator[Door]:
    """A door to a real server, with a fresh namespace."""
    connector = aiohttp.TCPConnector(ssl=server.context())
    headers = {"Authorization": f"Bearer {server.token}"}
    namespace = f"real-namespace-{next(NUMBERS)}"
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        door = Door(server.url, session, namespace, real=server)
        made = await door.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        assert made.status == 201, made.body
        yield door


@asynccontextmanager
async def fake_door_to(api: FakeApi) -> AsyncIterator[Door]:
    """A door to a fake."""
    async with Server(api) as server, aiohttp.ClientSession() as session:
        yield Door(server.url, session, "fake-namespace", api)
