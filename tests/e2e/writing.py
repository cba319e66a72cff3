"""A client that writes ten times a second through the claim's secret, and remembers what was acknowledged."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.kubernetes import Kube, Object
from e2e.traffic import longest
from e2e.waiting import until
from e2e.world import World


@dataclass(frozen=True)
class Service:
    """What is written to: the program that does it, the Python of the service's image, and where the connection is."""

    code: Path
    python: str
    secret: str
    keys: tuple[str, ...]


POSTGRESQL = Service(
    Path(__file__).with_name("writer.py"),
    "/opt/patroni/bin/python",
    "postgresql-connection",
    ("host", "port", "username", "password", "database"),
)
BUCKET = Service(
    Path(__file__).with_name("store_writer.py"),
    "/usr/bin/python3",
    "bucket-connection",
    ("host", "port", "region", "bucket", "access-key-id", "secret-access-key"),
)


@dataclass(frozen=True)
class Writer:
    """The client's pod. What it says is in its log."""

    world: World
    namespace: str
    run: str

    @property
    def pod(self) -> str:
        return f"writer-{self.run}"

    async def said(self) -> list[dict[str, Any]]:
        """Every write so far, acknowledged or failed."""
        words = ("logs", "-n", self.namespace, self.pod)
        # The last line may not be whole yet.
        lines = (await asyncio.to_thread(self.world.kubectl, *words)).rpartition("\n")[0].splitlines()
        return [json.loads(line) for line in lines]

    async def acknowledged(self) -> list[dict[str, Any]]:
        return [each for each in await self.said() if each["acknowledged"]]

    async def flows(self, more: int = 30, seconds: float = 120) -> None:
        """Until so many more writes are acknowledged."""
        before = len(await self.acknowledged())

        async def look() -> bool:
            await asyncio.sleep(1)  # reading a log is work, and this machine has other work to do
            return len(await self.acknowledged()) >= before + more

        try:
            await until(look, f"{more} more writes to be acknowledged", seconds, forgive=(AssertionError,))
        except AssertionError as error:
            failed = [each["error"] for each in await self.said() if not each["acknowledged"]]
            raise AssertionError(f"{error}; it last met: {failed[-2:]}") from None


@dataclass(frozen=True)
class Result:
    """What a client met."""

    acknowledged: int
    failed: int
    lost: int
    gap: float
    """The longest time between two acknowledged writes, in seconds."""
    errors: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"none written for at most {self.gap:.1f} s; {self.acknowledged} writes acknowledged, "
            f"{self.failed} failed, {self.lost} lost"
        )


def judge(said: list[dict[str, Any]], stored: set[int]) -> Result:
    """What was said, beside what is there afterwards."""
    good = [each for each in said if each["acknowledged"]]
    bad = [each for each in said if not each["acknowledged"]]
    lost = [each["number"] for each in good if each["number"] not in stored]
    kinds = tuple(sorted({each["error"].partition("\n")[0][:100] for each in bad}))
    return Result(len(good), len(bad), len(lost), longest([each["at"] for each in good]), kinds)


@asynccontextmanager
async def writing(
    world: World, kube: Kube, claim: str, namespace: str, *, node: str, image: str, service: Service = POSTGRESQL
) -> AsyncIterator[Writer]:
    """A client on this node, which has begun to write; it is taken away in the end."""
    writer = Writer(world, namespace, uuid.uuid4().hex[:8])
    await kube.apply(code(namespace, service), client(writer, service, claim, node, image))

    async def runs() -> bool:
        return bool((await kube.get("Pod", writer.pod, namespace)).get("status", {}).get("phase") == "Running")

    try:
        await until(runs, "the client to run", 60)
        await writer.flows()
        yield writer
    finally:
        await kube.delete("Pod", writer.pod, namespace)


def code(namespace: str, service: Service) -> Object:
    metadata = {"name": "writer", "namespace": namespace}
    data = {service.code.name: service.code.read_text()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def client(writer: Writer, service: Service, claim: str, node: str, image: str) -> Object:
    secret = f"{claim}-{service.secret}"
    env = [
        {"name": f"DB_{key.upper().replace('-', '_')}", "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for key in service.keys
    ]
    container = {
        "name": "writer",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [service.python, f"/code/{service.code.name}", writer.run],
        "env": env,
        "volumeMounts": [{"name": "code", "mountPath": "/code"}],
    }
    spec = {
        "containers": [container],
        "nodeName": node,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "volumes": [{"name": "code", "configMap": {"name": "writer"}}],
    }
    metadata = {"name": writer.pod, "namespace": writer.namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
