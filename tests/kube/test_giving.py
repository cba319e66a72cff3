"""How an errand gives a secret back (decision 7): into a Secret that the operator applies without data."""

import base64
from collections.abc import AsyncIterator

import pytest

from libresh.kube.applying import Owner, Performer
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.kube.cluster import Cluster
from libresh.kube.reader import PassReader
from libresh.plan.actions import Apply, From, Mint, Object, SecretKey
from libresh.ports import Watched
from support.fakeapi import FakeApi, Server

GIVEN = SecretKey("libresh-system", "mine-given", "secret-access-key")
WISH: Object = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": GIVEN.name,
        "namespace": GIVEN.namespace,
        "labels": {"app.kubernetes.io/managed-by": "libresh", "libre.sh/owner-uid": "uid"},
    },
}


class Giving:
    """A fake API server, and a performer that works for one claim."""

    def __init__(self, api: FakeApi, client: Client) -> None:
        self.api = api
        self.cluster = Cluster(client, [Watched("Secret", writes=True)])
        self.performer = Performer(self.cluster)

    async def perform(self, *actions: Apply | Mint) -> list[bool]:
        """A pass of the claim: which of its actions had to write."""
        await self.cluster.refresh()
        reader = PassReader(self.cluster, ("Bucket", "team", "mine"), "uid", frozenset({"Secret"}))
        owner = Owner(reader.key, "uid", reader, frozenset({"Secret"}))
        return [await self.performer.perform(action, owner) for action in actions]

    def give(self, value: str) -> None:
        """What the errand's program does, with a right to `patch` this one name."""
        encoded = base64.b64encode(value.encode()).decode()
        self.api.edit("Secret", GIVEN.name, GIVEN.namespace, manager="errand", data={GIVEN.key: encoded})


@pytest.fixture
async def giving() -> AsyncIterator[Giving]:
    api = FakeApi()
    async with Server(api) as server, Client(Access(server.url)) as client:
        yield Giving(api, client)


async def test_what_was_given_is_neither_taken_away_nor_written_again_and_reaches_the_connection(
    giving: Giving,
) -> None:
    assert await giving.perform(Apply(WISH)) == [True]
    connection = Mint({"name": "connection", "namespace": "team"}, {GIVEN.key: From(GIVEN)})
    for value in ("chosen-by-the-server", "chosen-by-the-server-again"):
        giving.give(value)
        assert await giving.perform(Apply(WISH), connection) == [False, True]
        assert await giving.perform(Apply(WISH), connection) == [False, False]
        for name, namespace in ((GIVEN.name, GIVEN.namespace), ("connection", "team")):
            secret = giving.api.get("Secret", name, namespace) or {}
            assert base64.b64decode(secret["data"][GIVEN.key]).decode() == value
    changed = {**WISH, "metadata": {**WISH["metadata"], "annotations": {"more": "said"}}}
    assert await giving.perform(Apply(changed)) == [True]
    secret = giving.api.get("Secret", GIVEN.name, GIVEN.namespace) or {}
    assert list(secret["data"]) == [GIVEN.key]
