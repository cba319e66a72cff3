"""Puts the parts together: one client, one cache per kind, one controller per reconciler, one leader.

informers start ──> caches synced ──> ready ──> lease ours ──> workers run ──> asked to stop, or lease lost
                                         (a stand-by waits here with warm caches)       │
                                                 workers end ──> lease released <───────┘
"""

import asyncio
import gc
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from libresh.api.meta import Resource
from libresh.errors import LibreshError
from libresh.kube.applying import Performer
from libresh.kube.cache import Key
from libresh.kube.client import Client
from libresh.kube.cluster import Cluster
from libresh.ports import Reconciler, Watched
from libresh.runtime.controller import Controller
from libresh.runtime.events import Recorder
from libresh.runtime.health import HealthServer
from libresh.runtime.leader import Leader
from libresh.runtime.loop import Loop
from libresh.runtime.metrics import Metrics

log = logging.getLogger(__name__)

STALE_WATCH = 180.0
"""A watch that said nothing for so long (bookmarks come every minute, dead ones are noticed after 90 s) is not well."""
STUCK_LEADER = 60.0
GRACE = 20.0


def default_identity() -> str:
    """Who we are in the lease: unique to this process, so that a restarted one waits for its former self."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


class Manager:
    """Runs reconcilers until it is asked to stop."""

    def __init__(
        self,
        client: Client,
        reconcilers: Sequence[Reconciler[Any]],
        *,
        types: Iterable[type[Resource]] = (),
        identity: str = "",
        namespace: str = "libresh-system",
        metrics_port: int | None = 8080,
        metrics_host: str = "0.0.0.0",
        leader_election: bool = True,
        workers: int = 8,
        grace: float = GRACE,
        metrics: Metrics | None = None,
        leader: Leader | None = None,
    ) -> None:
        self.client = client
        self.identity = identity or default_identity()
        self.grace = grace
        self.metrics = metrics or Metrics()
        client.report = self.metrics.request
        for type in dict.fromkeys((*(reconciler.type for reconciler in reconcilers), *types)):
            client.kinds.own(type)
        self.cluster = Cluster(client, watched_by(reconcilers))
        self.cluster.wake = self._wake
        self.cluster.defer = self._defer
        self.performer = Performer(self.cluster)
        self.recorder = Recorder(client, self.identity)
        self.loops = {loop.kind: loop for loop in map(self._loop_of, reconcilers)}
        self.controllers = {kind: Controller(loop, self.metrics, workers=workers) for kind, loop in self.loops.items()}
        self.leader: Leader | None = None
        if leader_election:
            self.leader = leader or Leader(client, identity=self.identity, namespace=namespace)
        self.server: HealthServer | None = None
        if metrics_port is not None:
            self.server = HealthServer(self.metrics, self.alive, self.ready, host=metrics_host, port=metrics_port)
        self.synced = asyncio.Event()
        self.working = asyncio.Event()
        self.metrics.collectors.append(self._collect)
        self._stop = asyncio.Event()
        self._recording: asyncio.Task[None] | None = None

    def _loop_of(self, reconciler: Reconciler[Any]) -> Loop:
        return Loop(self.cluster, reconciler, self.performer, self.recorder, self.metrics)

    def _wake(self, key: Key, own: bool) -> None:
        controller = self.controllers.get(key[0])
        if controller is not None:
            controller.wake(key, own)

    def _defer(self, key: Key, delay: float) -> None:
        controller = self.controllers.get(key[0])
        if controller is not None:
            controller.defer(key, delay)

    # --- running ---------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Asks `run` to end well: work under way is finished, the lease is given back."""
        self._stop.set()

    async def run(self) -> None:
        """Runs until `stop` is called. Losing the lease ends the work, not the run: we stand by again."""
        try:
            if self.server is not None:
                await self.server.start()
            await self.cluster.start()
            self._recording = asyncio.create_task(self.recorder.run(), name="events")
            if not await self._until_stopped(self.cluster.synced()):
                return
            self.synced.set()
            # What is cached by now lives long: looking through it for garbage again and again would be wasted.
            gc.collect()
            gc.freeze()
            log.info("all caches are filled: %d objects", sum(cache.size for cache in self.cluster.caches.values()))
            while not self._stop.is_set():
                await self._lead()
        finally:
            await self._end()

    async def _lead(self) -> None:
        """One term: wait for the lease, work, stop working, give the lease back."""
        leader = self.leader
        if leader is not None and not await self._until_stopped(leader.acquire()):
            await leader.release()
            return
        self.metrics.leading.set(1, "libresh-operator")
        try:
            for controller in self.controllers.values():
                controller.start()
            self.working.set()
            if leader is not None:
                await self._until_stopped(leader.keep())
            else:
                await self._stop.wait()
        finally:
            self.working.clear()
            # Without the lease there is no time to finish: somebody else may start any moment.
            grace = self.grace if leader is None or leader.leading else 0.0
            await self._stop_controllers(leader, grace)
            self.metrics.leading.set(0, "libresh-operator")
            if leader is not None:
                await leader.release()

    async def _stop_controllers(self, leader: Leader | None, grace: float) -> None:
        """Ends all workers; the lease is renewed meanwhile."""
        renewing = asyncio.create_task(leader.keep()) if leader is not None and leader.leading else None
        try:
            await asyncio.gather(*(controller.stop(grace) for controller in self.controllers.values()))
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)

    async def _until_stopped(self, work: Any) -> bool:
        """Waits for `work`, or until we are asked to stop: then False."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if task.cancelled():
            return False
        if (error := task.exception()) is not None:
            raise error
        return not self._stop.is_set()

    async def _end(self) -> None:
        if self._recording is not None:
            self._recording.cancel()
            await asyncio.gather(self._recording, return_exceptions=True)
            try:
                async with asyncio.timeout(2):
                    await self.recorder.flush()
            except (TimeoutError, LibreshError):
                log.debug("some events were not sent before the end")
        await self.cluster.stop()
        if self.server is not None:
            await self.server.stop()

    # --- telling ---------------------------------------------------------------------------------------------

    def alive(self) -> list[str]:
        """What only a restart can cure."""
        wrong = [f"{name} has ended" for name in self.cluster.broken]
        for controller in self.controllers.values():
            wrong += [f"{name} has ended" for name in controller.broken]
        if self.leader is not None and self.synced.is_set() and not self._stop.is_set():
            silent = time.monotonic() - self.leader.tried_at
            if silent > STUCK_LEADER:
                wrong.append(f"the leader election has not come round for {silent:.0f} s")
        return wrong

    def ready(self) -> list[str]:
        """What keeps us from working, or from taking over."""
        wrong = self.alive()
        if self._stop.is_set():
            wrong.append("stopping")
        for kind, informer in self.cluster.informers.items():
            if not informer.synced.is_set():
                wrong.append(f"{kind} has not been listed yet{': ' if informer.problem else ''}{informer.problem}")
            elif informer.age > STALE_WATCH:
                wrong.append(f"the watch of {kind} has said nothing for {informer.age:.0f} s: {informer.problem}")
        return wrong

    def _collect(self) -> None:
        for kind, cache in self.cluster.caches.items():
            self.metrics.cached.set(cache.size, kind)
            informer = self.cluster.informers[kind]
            self.metrics.watch_age.set(round(informer.age, 1), kind)
            self.metrics.lists.set(informer.lists, kind)


def watched_by(reconcilers: Iterable[Reconciler[Any]]) -> list[Watched]:
    """Everything the reconcilers look at: their own kinds and what they declare."""
    found: list[Watched] = []
    for reconciler in reconcilers:
        found.append(Watched(reconciler.type.KIND.kind, managed=False))
        found += reconciler.watches
    return found
