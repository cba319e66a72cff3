"""The whole operator over the fake API server and the contract stub of Kubernetes' controllers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from libresh import operator
from libresh.api import CLAIMS
from libresh.catalog.settings import Settings
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.kube.kinds import Kinds
from libresh.runtime.manager import Manager
from support.fakeapi import FakeApi, Server
from support.fakeapi.workloads import Workloads
from support.manifests import crds

Object = dict[str, Any]

SETTINGS = Settings(image_prefix="images.example.org", domain="example.org")
PATIENCE = 30.0
QUIET_LOOKS = 12
COMPARED = (
    "Deployment",
    "StatefulSet",
    "Service",
    "PersistentVolumeClaim",
    "Ingress",
    "NetworkPolicy",
    "Secret",
)


def deaths(writes: Sequence[Any]) -> list[Any]:
    """The writes at which a story has its operator die: the fast part of the tests tries one in twelve of them."""
    return [
        pytest.param(write, marks=[pytest.mark.thorough] if place % 12 else []) for place, write in enumerate(writes)
    ]


def embedded_classes() -> list[Object]:
    """The classes of a fresh installation."""
    return [
        {
            "apiVersion": "services.libre.sh/v1alpha1",
            "kind": "ServiceClass",
            "metadata": {
                "name": f"embedded-{kind.KIND.kind.lower()}",
                "annotations": {"services.libre.sh/is-default-class": "true"},
            },
            "spec": {"claimKind": kind.KIND.kind, "driver": "embedded"},
        }
        for kind in CLAIMS
    ]


def matrix(name: str = "chat", namespace: str = "team", **spec: Any) -> Object:
    return {
        "apiVersion": "apps.libre.sh/v1alpha1",
        "kind": "Matrix",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"host": f"{name}.{namespace}.example.org", "mail": {}, "login": {}} | spec,
    }


@dataclass
class Whole:
    """A fake API server with the operator's life in the test's hands."""

    server: Server
    api: FakeApi
    workloads: Workloads
    managers: list[tuple[Manager, Client, "asyncio.Task[None]"]] = field(default_factory=list)

    async def start(self) -> Manager:
        """A new operator, as a new pod would start."""
        client = Client(Access(server=self.server.url), Kinds(operator.types()))
        await client.start()
        manager = Manager(client, operator.reconcilers(SETTINGS), metrics_port=None, leader_election=False)
        self.managers.append((manager, client, asyncio.create_task(manager.run())))
        return manager

    async def kill(self) -> None:
        """Ends every operator at once, in the middle of whatever it does."""
        for _, client, task in self.managers:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()
        self.managers.clear()

    async def settle(self) -> None:
        """Until nobody writes any more: neither the operator nor Kubernetes' controllers."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        looks, seen = 0, -1
        while looks < QUIET_LOOKS:
            await self.api.settle()
            await asyncio.sleep(0.02)
            now = sum(1 for write in self.api.journal if write.changed)
            looks, seen = (looks + 1, seen) if now == seen else (0, now)
            if asyncio.get_running_loop().time() > deadline:
                last = [(write.verb, write.kind, write.name) for write in self.api.journal[-10:]]
                raise AssertionError(f"it does not settle within {PATIENCE:.0f} s; last writes: {last}")

    async def until_dead_or_settled(self) -> None:
        """Until the planned crash happened, or there is nothing left to crash at."""
        settled = asyncio.ensure_future(self.settle())
        died = asyncio.ensure_future(self.api.faults.crashed.wait())
        await asyncio.wait({settled, died}, return_when=asyncio.FIRST_COMPLETED)
        for task in (settled, died):
            task.cancel()
        await asyncio.gather(settled, died, return_exceptions=True)

    async def die(self, write: int, step: Callable[[], Any] = lambda: None, when: str = "after") -> None:
        """After `step` the operator is ended at the `write`th write from now, if it has as many to make."""
        getattr(self.api.faults, f"crash_{when}")(write)
        step()
        if not self.managers:
            await self.start()
        await self.until_dead_or_settled()
        await self.kill()
        self.api.faults.heal()

    async def rise(self) -> None:
        """A new operator, until it has nothing left to do."""
        await self.start()
        await self.settle()

    async def restarted(self) -> list[tuple[str, str, str]]:
        """What a new operator in place of the old one writes until it has nothing left to do."""
        await self.kill()
        before = len(self.api.journal)
        manager = await self.start()
        await manager.working.wait()
        await self.settle()
        return [(write.verb, write.kind, write.name) for write in self.api.journal[before:]]

    async def written_within(self, seconds: float) -> list[tuple[str, str, str]]:
        """What anybody writes in the next moments."""
        before = len(self.api.journal)
        await asyncio.sleep(seconds)
        return [(write.verb, write.kind, write.name) for write in self.api.journal[before:]]

    def ready(self, kind: str, name: str, namespace: str) -> Object:
        """The condition of an object that says whether it can be used."""
        found = self.api.get(kind, name, namespace)
        assert found is not None
        condition: Object = next(each for each in found["status"]["conditions"] if each["type"] == "Ready")
        return condition

    def not_ready(self) -> dict[str, str]:
        """Every object of ours that is not Ready, with what it says."""
        found = {}
        for type in operator.types():
            for obj in self.api.objects(type.KIND.kind):
                conditions = {c["type"]: c for c in obj.get("status", {}).get("conditions", [])}
                ready = conditions.get("Ready", {})
                if ready.get("status") != "True":
                    where = f"{type.KIND.kind} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
                    found[where] = f"{ready.get('reason')}: {ready.get('message')}"
        return found

    def state(self) -> dict[str, Object]:
        """All that exists, without what differs between two runs of the same story."""
        return {
            f"{kind} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}": obj.get("spec", {})
            for kind in COMPARED
            for obj in self.api.objects(kind)
        }


@asynccontextmanager
async def whole(*objects: Object, crds_besides: Sequence[Object] = ()) -> AsyncIterator[Whole]:
    """A world with the embedded classes and `objects`; the operator is not started yet."""
    api = FakeApi(crds=(*crds(), *crds_besides), seed=1)
    async with Server(api) as server:
        world = Whole(server, api, Workloads(api))
        for obj in (*embedded_classes(), *objects):
            api.create(obj)
        try:
            yield world
        finally:
            await world.kill()
