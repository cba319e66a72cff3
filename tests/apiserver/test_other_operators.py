"""Claims handed to other operators, on a real API server: its schemas take the objects, and the stubs run beside it.

The operators are contract stubs, and no service runs.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from libresh import operator
from libresh.catalog.settings import Settings
from libresh.kube import auth, composed
from libresh.kube.client import Client
from libresh.kube.kinds import Kinds
from libresh.runtime.manager import Manager
from support import trying
from support.apiserver import RealApi
from support.contracts import CloudNativePG, Contract, Crossplane, Zalando, over_http
from support.manifests import crds

pytestmark = pytest.mark.apiserver

Object = dict[str, Any]
SETTINGS = Settings(image_prefix="images.example.org", domain="example.org")
BACKUP = {
    "schedule": "0 3 * * *",
    "barmanObjectStore": {
        "destinationPath": "s3://backups/",
        "endpointURL": "https://s3.example.org",
        "credentials": {"name": "keys"},
        "retention": "30d",
    },
}
CASES: dict[str, tuple[type[Contract], str, Object]] = {
    "cnpg": (
        CloudNativePG,
        "cloudnative-pg",
        {
            "images": {"17": "images.example.org/postgresql:17"},
            "instances": 3,
            "synchronous": {"number": 1},
            "storageClass": "fast",
            "postgresql": {"max_connections": "200"},
            "backup": BACKUP,
        },
    ),
    "catalog": (
        CloudNativePG,
        "cloudnative-pg",
        {"imageCatalog": {"name": "c"}, "backup": {"schedule": "0 3 * * *", "objectStore": "offsite"}},
    ),
    "zalando": (
        Zalando,
        "zalando",
        {
            "instances": 3,
            "synchronous": "On",
            "storageClass": "fast",
            "logicalBackup": "0 3 * * *",
            "archive": True,
            "tls": {"secretName": "tls"},
        },
    ),
    "composite": (
        Crossplane,
        "crossplane",
        {
            "apiVersion": "platform.example.org/v1",
            "kind": "Instance",
            "composition": "small",
            "patches": [{"fromFieldPath": "spec.parameters.version", "toFieldPath": "spec.parameters.version"}],
            "connection": {"secretName": "of-%s", "secretField": "spec.secretName", "keys": {"host": "endpoint"}},
        },
    ),
    "claimed": (
        Crossplane,
        "crossplane",
        {
            "apiVersion": "platform.example.org/v1",
            "kind": "InstanceClaim",
            "mode": "Claim",
            "compositionSelector": {"tier": "small"},
            "compositionUpdatePolicy": "Manual",
            "connection": {"keys": {"host": "endpoint"}},
        },
    ),
}
SPACE = "default"
MOMENT = "2020-01-31T12:00:00Z"
COPIES: dict[str, Object] = {
    "cnpg-copy": {"claim": {"name": "cnpg"}},
    "cnpg-then": {"claim": {"name": "cnpg"}, "at": MOMENT},
    "catalog-then": {"claim": {"name": "catalog"}, "at": MOMENT},
    "zalando-copy": {"claim": {"name": "zalando"}},
    "zalando-then": {"claim": {"name": "zalando"}, "at": MOMENT},
}
"""Claims that begin with the data of others, by the class of those."""


@pytest.fixture(scope="module")
def server() -> Iterator[RealApi]:
    with RealApi(crds=crds()) as found:
        yield found


@asynccontextmanager
async def connected(server: RealApi, kinds: Kinds) -> AsyncIterator[Client]:
    client = Client(auth.find_access(str(server.kubeconfig())), kinds)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def working(server: RealApi) -> AsyncIterator[None]:
    """The operator."""
    async with connected(server, Kinds(operator.types())) as client:
        manager = Manager(client, operator.reconcilers(SETTINGS), metrics_port=None, leader_election=False)
        task = asyncio.create_task(manager.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(look: Any, *words: Any, seconds: float = 30) -> None:
    """Until `look(*words)` says "" in place of what is still missing."""
    deadline = time.monotonic() + seconds
    while missing := await look(*words):
        assert time.monotonic() < deadline, missing
        await asyncio.sleep(0.1)


async def test_every_driver_is_served_and_leaves_nothing(server: RealApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composed, "LOOK_AGAIN", composed.LOOK_AGAIN / 30)
    async with connected(server, Kinds(operator.types())) as client, working(server):
        for name, (_, driver, parameters) in CASES.items():
            spec = {"claimKind": "PostgreSQL", "driver": driver, "parameters": parameters}
            await client.create(made("services.libre.sh/v1alpha1", "ServiceClass", name, spec))
            await client.create(claim(name, name))
        for name, source in COPIES.items():
            await client.create(claim(name, source["claim"]["name"], source=source))
        tls = {"tls.crt": "", "tls.key": "", "ca.crt": base64.b64encode(b"authority").decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls", "namespace": SPACE}, "data": tls}
        await client.create(secret)
        names = [*CASES, *COPIES]
        stubs = [stub() for stub in (CloudNativePG, Zalando, Crossplane)]
        for name in CASES:
            await until(why_not_missed, client, name)
        for stub in stubs:
            await trying.define(client, stub)
        async with over_http(client, stubs[0]), over_http(client, stubs[1]), over_http(client, stubs[2]):
            for name in names:
                await until(why_not_ready, client, name)
                secret = await client.get("Secret", f"{name}-postgresql-connection", SPACE) or {}
                assert base64.b64decode(secret["data"]["password"]).startswith(b"password-of-")
            for name in names:
                await client.delete("PostgreSQL", name, SPACE)
            for name in names:
                await until(why_not_gone, client, name)
            for stub in stubs:
                await until(what_is_left, client, stub)
            assert [stub.trouble for stub in stubs] == ["", "", ""]


def claim(name: str, class_name: str, **spec: Any) -> Object:
    wish = {"className": class_name, "deletionPolicy": "Delete", "parameters": {"extensions": ["pg_trgm"]}, **spec}
    found = made("database.libre.sh/v1alpha1", "PostgreSQL", name, wish)
    return {**found, "metadata": {"name": name, "namespace": SPACE}}


def made(api_version: str, kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def ready_of(client: Client, name: str) -> Object:
    found = await client.get("PostgreSQL", name, SPACE) or {}
    return next((each for each in found.get("status", {}).get("conditions", []) if each["type"] == "Ready"), {})


async def why_not_missed(client: Client, name: str) -> str:
    ready = await ready_of(client, name)
    return "" if ready.get("reason") == "KindMissing" else f"{name} does not miss its operator: {ready}"


async def why_not_ready(client: Client, name: str) -> str:
    ready = await ready_of(client, name)
    return "" if ready.get("status") == "True" else f"{name} is not ready: {ready}"


async def why_not_gone(client: Client, name: str) -> str:
    return f"{name} does not go" if await client.get("PostgreSQL", name, SPACE) else ""


async def what_is_left(client: Client, stub: Contract) -> str:
    found: list[Object] = []
    for version, kind in stub.kinds:
        found += await client.list(await client.discover(version, kind), SPACE)
    found += [each for each in await client.list("Secret", SPACE) if stub.is_own(each)]
    return ", ".join(f"{each.get('kind')} {each['metadata']['name']}" for each in found)
