"""Fixtures every test may use: the fake API server, the real one, and both in turn."""

from collections.abc import AsyncIterator

import pytest
from support.fakeapi import FakeApi, Server
from support.manifests import crds


@pytest.fixture
async def fake_api() -> AsyncIterator[Server]:
    """A fake API server over HTTP with libre.sh's kinds: `fake_api.url` for clients, `fake_api.api` for the test."""
    async with Server(FakeApi(crds=crds())) as server:
        yield server
