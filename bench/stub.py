"""A contract stub of Kubernetes' controllers for the real API server: nothing runs, statuses say that it does.

What the statuses say is decided by the tests' stub (support.fakeapi.workloads), which this one feeds from watches.
"""

import asyncio
import os
import signal
from datetime import UTC, datetime
from typing import Any

from libresh.errors import LibreshError
from libresh.kube.auth import find_access
from libresh.kube.cache import Cache, Key
from libresh.kube.client import Client
from libresh.kube.informer import Informer
from libresh.kube.objects import Entry, Shape
from libresh.runtime.queue import Queue
from support.fakeapi.workloads import STATUSES, Order, settled

KINDS = ("PersistentVolumeClaim", "StatefulSet", "Deployment", "Job", "Ingress")
GO = Order("go", "", "*", "")
WORKERS = 8


class Stub:
    """One watch for each kind, a few workers for all."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.queue: Queue[Key] = Queue()
        self.caches = {kind: Cache(kind, Shape(client.kinds[kind]), listener=self.changed) for kind in KINDS}

    def changed(self, kind: str, old: Entry | None, new: Entry | None, source: Key | None) -> None:
        if new is not None:
            self.queue.add((kind, *new.key))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for cache in self.caches.values():
                group.create_task(Informer(self.client, cache).run())
            for _ in range(WORKERS):
                group.create_task(self.work())

    async def work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.serve(*key)
            except LibreshError:
                self.queue.retry(key)  # somebody else wrote it meanwhile
            finally:
                self.queue.done(key)

    async def serve(self, kind: str, namespace: str, name: str) -> None:
        """Writes the status that the object should have, if it has another."""
        cache = self.caches[kind]
        entry = cache.get(namespace, name)
        if entry is None or entry.meta.deletion_timestamp is not None:
            return
        obj = cache.shape.value(entry)
        if kind == "StatefulSet":
            await self.create_claims(obj)
        wanted = STATUSES[kind](obj, GO, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        if wanted is None or settled(obj.get("status"), wanted):
            return
        await self.client.patch(kind, name, namespace, {"status": wanted}, subresource="status")

    async def create_claims(self, obj: dict[str, Any]) -> None:
        """The claims of a StatefulSet's members."""
        meta, spec = obj["metadata"], obj["spec"]
        for template in spec.get("volumeClaimTemplates") or ():
            for ordinal in range(spec.get("replicas", 1)):
                name = f"{template['metadata']['name']}-{meta['name']}-{ordinal}"
                if self.caches["PersistentVolumeClaim"].get(meta["namespace"], name) is None:
                    await self.create_claim(template, name, meta["namespace"], spec["selector"].get("matchLabels", {}))

    async def create_claim(self, template: dict[str, Any], name: str, namespace: str, labels: dict[str, str]) -> None:
        meta = {"name": name, "namespace": namespace}
        meta["labels"] = {**(template["metadata"].get("labels") or {}), **labels}  # type: ignore[assignment]
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": template["spec"]}
        if await self.client.get("PersistentVolumeClaim", name, namespace) is None:
            await self.client.create(claim)


async def main() -> None:
    async with Client(find_access(os.environ["KUBECONFIG"])) as client:
        task = asyncio.ensure_future(Stub(client).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await asyncio.wait([task])


if __name__ == "__main__":
    asyncio.run(main())
