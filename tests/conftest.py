"""Fixtures every test may use: the fake API server, the real one, and both in turn."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.apiserver import RealApi
from support.door import Door, door_to, fake_door_to
from support.fakeapi import FakeApi, Server
from support.manifests import crds
from support.widgets import CRDS

E2E = Path(__file__).parent / "e2e"
LOCAL = Path(__file__).parent / "local"
NODES = ("test_nodes", "test_failover")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs real parts bears the name of its row in tools/check; what takes minutes to compile is in none."""
    for item in items:
        if item.get_closest_marker("ha"):
            continue
        if item.get_closest_marker("e2e") or item.get_closest_marker("apiserver"):
            item.add_marker(row_of(item.path))


def row_of(file: Path) -> str:
    """The row that the tests of a file are in."""
    if file.parent == LOCAL or (file.parent == E2E and file.stem in NODES):
        return "nodes"
    return "stories" if file.parent == E2E else "parts"


@pytest.fixture
async def fake_api() -> AsyncIterator[Server]:
    """A fake API server over HTTP with libre.sh's kinds: `fake_api.url` for clients, `fake_api.api` for the test."""
    async with Server(FakeApi(crds=crds())) as server:
        yield server


@pytest.fixture(scope="session")
def real_api() -> Iterator[RealApi]:
    """The real kube-apiserver with garbage collection, one for the whole run. Make a namespace of your own in it.

    It serves the kinds of support.widgets; those of libre.sh a test installs itself.
    """
    with RealApi(controllers=True, crds=CRDS) as server:
        yield server


@pytest.fixture(scope="session")
def forgetful_api() -> Iterator[RealApi]:
    """The real server without its watch cache: it forgets what etcd was told to forget."""
    with RealApi(crds=CRDS, flags=("--watch-cache=false",)) as server:
        yield server


@pytest.fixture
async def fake_door() -> AsyncIterator[Door]:
    """The fake with the kinds of support.widgets."""
    async with fake_door_to(FakeApi(crds=CRDS)) as door:
        yield door


@pytest.fixture
async def real_door(real_api: RealApi) -> AsyncIterator[Door]:
    """The real server with the kinds of support.widgets and a fresh namespace."""
    async with door_to(real_api) as door:
        yield door


@pytest.fixture
async def forgetful_door(forgetful_api: RealApi) -> AsyncIterator[Door]:
    """As real_door, without the watch cache."""
    async with door_to(forgetful_api) as door:
        yield door


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.apiserver)])
def api(request: pytest.FixtureRequest) -> Door:
    """Each server in turn: what a test says of it must hold for both."""
    door: Door = request.getfixturevalue(f"{request.param}_door")
    return door


@pytest.fixture(params=["fake", pytest.param("forgetful", marks=pytest.mark.apiserver)])
def forgetting(request: pytest.FixtureRequest) -> Door:
    """As `api`, where `await forgetting.compact()` makes the server forget the past."""
    door: Door = request.getfixturevalue(f"{request.param}_door")
    return door
