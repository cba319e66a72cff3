"""Laws of servers that all claims of a class share: newcomers cost others nothing, an outage is told, many are few."""

import time
from collections import Counter
from typing import Any

import pytest

from laws.whole import Whole, whole

MAIL, IDENTITY = ("email.libre.sh/v1alpha1", "SMTPAccount"), ("identity.libre.sh/v1alpha1", "OIDCClient")
SERVERS = {"SMTPAccount": "embedded-smtpaccount-mail", "OIDCClient": "embedded-oidcclient-identity"}
MANY = 120


def account(kind: tuple[str, str], name: str) -> dict[str, Any]:
    parameters = {"redirectUris": ["https://app.example.org/callback"]} if kind is IDENTITY else {}
    metadata = {"name": name, "namespace": "team"}
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "spec": {"parameters": parameters}}


def ready(world: Whole, kind: str, name: str = "first", namespace: str = "team") -> str:
    found = world.api.get(kind, name, namespace) or {}
    return next(c["status"] for c in found["status"]["conditions"] if c["type"] == "Ready")


async def settled_and_ready(world: Whole) -> None:
    """Settled although the class rests for a while between its passes."""
    deadline = time.monotonic() + 20
    while world.not_ready() and time.monotonic() < deadline:
        await world.settle()
    assert world.not_ready() == {}


both = pytest.mark.parametrize("kind", [MAIL, IDENTITY], ids=lambda kind: str(kind[1]))


@both
async def test_a_newcomer_costs_the_others_nothing(kind: tuple[str, str]) -> None:
    async with whole(account(kind, "first")) as world:
        await world.start()
        await world.settle()
        before = len(world.api.journal)
        world.workloads.hold("Deployment", SERVERS[kind[1]])
        world.api.create(account(kind, "second"))
        await world.settle()
        assert ready(world, kind[1], "second") == "False"
        assert ready(world, "ServiceClass", f"embedded-{kind[1].lower()}", "") == "True"
        world.workloads.release("Deployment", SERVERS[kind[1]])
        await world.settle()
        assert world.not_ready() == {}
        assert "first" not in {write.name for write in world.api.journal[before:]}


@both
async def test_an_outage_is_told(kind: tuple[str, str]) -> None:
    async with whole(account(kind, "first")) as world:
        await world.start()
        await world.settle()
        world.workloads.fail("Deployment", SERVERS[kind[1]])
        await world.settle()
        assert ready(world, kind[1]) == ready(world, "ServiceClass", f"embedded-{kind[1].lower()}", "") == "False"
        world.workloads.release("Deployment", SERVERS[kind[1]])
        await world.settle()
        assert world.not_ready() == {}


@both
async def test_many_come_in_with_few_restarts_and_few_passes(kind: tuple[str, str]) -> None:
    async with whole(account(kind, "first")) as world:
        manager = await world.start()
        await world.settle()
        before = len(world.api.journal)
        passes = manager.metrics.passes
        done = Counter(dict(passes.values))
        for number in range(MANY):
            world.api.create(account(kind, f"more-{number}"))
        await settled_and_ready(world)
        restarts = [
            write
            for write in world.api.journal[before:]
            if (write.kind, write.name) == ("Deployment", SERVERS[kind[1]])
        ]
        assert len(restarts) <= MANY / 4
        made = Counter(dict(passes.values)) - done
        assert sum(count for labels, count in made.items() if kind[1] in labels) <= MANY * 12
