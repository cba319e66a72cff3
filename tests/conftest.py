"""Fixtures every test may use: the fake API server, the real one, and both in turn."""

import itertools
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from support.apiserver import RealApi
from support.door import Door, trust
from support.fakeapi import FakeApi, Server
from support.manifests import crds
from support.widgets import CRDS

COUNTER = itertools.count(1)


@pytest.fixture
async def fake_api() -> AsyncIterator[Server]:
    """A fake API server over HTTP with libre.sh's kinds: `fake_api.url` for clients, `fake_api.api` for the test."""
    async with Server(FakeApi(crds=crds())) as server:
        yield server


@pytest.fixture(scope="session")
def real_api() -> Iterator[RealApi]:
    """The real kube-apiserver with garbage collection, one for the whole run. Make a namespace of your own in it."""
    with RealApi(controllers=True) as server:
        yield server


@pytest.fixture(scope="session")
def real_api_with_widgets(real_api: RealApi) -> RealApi:
    """The real server with the kinds of support.widgets."""
    for crd in CRDS:
        real_api.install(crd)
    return real_api


@pytest.fixture
async def fake_door() -> AsyncIterator[Door]:
    """The fake with the kinds of support.widgets."""
    api = FakeApi(crds=CRDS)
    async with Server(api) as server, aiohttp.ClientSession() as session:
        yield Door(server.url, session, "test", api)


@pytest.fixture
async def real_door(real_api_with_widgets: RealApi) -> AsyncIterator[Door]:
    """The real server with the kinds of support.widgets and a fresh namespace."""
    server = real_api_with_widgets
    connector = aiohttp.TCPConnector(ssl=trust(server.ca))
    headers = {"Authorization": f"Bearer {server.token}"}
    namespace = f"test-{next(COUNTER)}-{time.monotonic_ns() % 10**6}"
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        door = Door(server.url, session, namespace)
        made = await door.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        assert made.status == 201, made.body
        yield door


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.apiserver)])
def api(request: pytest.FixtureRequest) -> Door:
    """Each server in turn: what a test says of it must hold for both."""
    door: Door = request.getfixturevalue(f"{request.param}_door")
    return door
