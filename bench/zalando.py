"""A contract stub of Zalando's postgres-operator for the real API server: no PostgreSQL runs, its objects say it does.

What it writes is decided by the tests' stub (support.contracts.zalando): the Secret of each role, and the status.
"""

import asyncio
import contextlib
import os
import signal

from bench.stub import WORKERS
from libresh.errors import Conflict, LibreshError
from libresh.kube.auth import find_access
from libresh.kube.cache import Cache, Key
from libresh.kube.client import Client
from libresh.kube.informer import Informer
from libresh.kube.kinds import KindInfo, Kinds
from libresh.kube.objects import Entry, Shape
from libresh.runtime.queue import Queue
from support.contracts.zalando import GROUP, RUNNING, credentials

KIND = KindInfo("postgresql", f"{GROUP}/v1", "postgresqls")


class Stub:
    """One watch, a few workers."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.queue: Queue[Key] = Queue()
        self.cache = Cache(KIND.kind, Shape(KIND), listener=self.changed)

    def changed(self, kind: str, old: Entry | None, new: Entry | None, source: Key | None) -> None:
        if new is not None:
            self.queue.add((kind, *new.key))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(Informer(self.client, self.cache, optional=True).run())
            for _ in range(WORKERS):
                group.create_task(self.work())

    async def work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.serve(key[1], key[2])
            except LibreshError:
                self.queue.retry(key)  # somebody else wrote it meanwhile
            finally:
                self.queue.done(key)

    async def serve(self, namespace: str, name: str) -> None:
        """Secrets first, as the operator does; then it says that it runs."""
        entry = self.cache.get(namespace, name)
        if entry is None or self.cache.shape.value(entry).get("status") == RUNNING:
            return
        for secret in credentials(self.cache.shape.value(entry)):
            with contextlib.suppress(Conflict):  # it is there already
                await self.client.create(secret)
        await self.client.patch(KIND.kind, name, namespace, {"status": RUNNING}, subresource="status")


async def main() -> None:
    kinds = Kinds(())
    kinds.add(KIND)
    async with Client(find_access(os.environ["KUBECONFIG"]), kinds) as client:
        task = asyncio.ensure_future(Stub(client).run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await asyncio.wait([task])


if __name__ == "__main__":
    asyncio.run(main())
