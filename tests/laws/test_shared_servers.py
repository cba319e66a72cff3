"""Laws of servers that all claims of a class share: newcomers cost others nothing, an outage is told, many are few."""

import base64
import time
from collections import Counter
from typing import Any

import pytest

from laws.whole import Whole, whole
from libresh.kube import keys

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


async def test_a_class_that_signs_keeps_its_key_and_says_what_dns_needs() -> None:
    name, secret = "embedded-smtpaccount", "embedded-smtpaccount-mail-dkim"
    smarthost = {"host": "smtp.example.org", "tls": "none"}
    async with whole(account(MAIL, "first")) as world:
        await world.start()
        await world.settle()
        parameters = {"smarthost": smarthost, "dkim": {"domain": "example.org"}}
        world.api.edit("ServiceClass", name, spec={"parameters": parameters})
        await world.settle()
        assert world.not_ready() == {}
        made = world.api.get("Secret", secret, "libresh-system")["data"]
        cls = world.api.get("ServiceClass", name)
        assert cls is not None
        said = next(c["message"] for c in cls["status"]["conditions"] if c["type"] == "Ready")
        assert "TXT record libresh._domainkey.example.org" in said
        assert secret in said
        private, record = (base64.b64decode(made[key]).decode() for key in ("private.pem", "record"))
        assert record == f"v=DKIM1; k=rsa; p={keys.public_part(private.encode())}"
        assert "PRIVATE KEY" not in str(cls)
        world.api.delete("Secret", secret, "libresh-system")
        await world.settle()
        assert world.api.get("Secret", secret, "libresh-system")["data"] == made
        world.api.edit("ServiceClass", name, spec={"parameters": {"smarthost": None}})
        await world.settle()
        refused = world.api.get("ServiceClass", name)["status"]["conditions"]
        assert any("dkim: only what is relayed is signed" in each["message"] for each in refused)


@both
async def test_a_class_with_a_mistake_is_as_ready_as_its_server_is(kind: tuple[str, str]) -> None:
    name = f"embedded-{kind[1].lower()}"
    async with whole(account(kind, "first")) as world:
        await world.start()
        await world.settle()
        world.api.edit("ServiceClass", name, spec={"parameters": {"storage": "no size"}})
        await world.settle()
        assert ready(world, "ServiceClass", name, "") == ready(world, kind[1]) == "True"
        world.workloads.fail("Deployment", SERVERS[kind[1]])
        await world.settle()
        assert ready(world, "ServiceClass", name, "") == ready(world, kind[1]) == "False"


@pytest.mark.thorough
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
