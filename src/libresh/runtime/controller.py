"""Feeds one loop from one queue with a few workers."""

import asyncio
import logging
import random
import time

from libresh.kube.cache import Key
from libresh.runtime.loop import End, Loop, Result
from libresh.runtime.metrics import Metrics
from libresh.runtime.queue import Queue

log = logging.getLogger(__name__)

FEW = 100
EACH = 0.002
"""Seconds of rest for each object a pass read, where it read more than a few: what thousands come to share (a class and
its claims) must not be looked at as a whole for every one of them."""
CONFLICTS = 5
"""After so many conflicts in a row on one object it is looked at with backoff, too."""


class Controller:
    """The workers of one kind."""

    def __init__(self, loop: Loop, metrics: Metrics, *, workers: int = 8) -> None:
        self.loop = loop
        self.kind = loop.kind
        self.metrics = metrics
        self.workers = workers
        self.queue: Queue[Key] = Queue()
        self._conflicts: dict[Key, int] = {}
        self._rested: dict[Key, float] = {}
        """Until when a key that was just worked on is left alone."""
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._waiting = metrics.waiting.at(self.kind, self.kind)
        self._working = metrics.working.at(self.kind, self.kind)
        metrics.workers.set(workers, self.kind)
        metrics.collectors.append(self._collect)

    def wake(self, key: Key, own: bool) -> None:
        """Something about this object changed; `own` says that it was the object itself."""
        until = self._rested.get(key, 0.0)
        if until > (now := time.monotonic()):
            self.queue.soon(key, until - now)
        else:
            self.queue.add(key, urgent=bool(self._tasks))

    def defer(self, key: Key, delay: float) -> None:
        """Something that many share changed."""
        self.queue.soon(key, delay)

    def start(self) -> None:
        """Starts the workers, after putting every object in line."""
        self._stopping = False
        self.queue.reopen()
        for entry in self.loop.cluster.caches[self.kind].entries():
            self.queue.add((self.kind, *entry.key), urgent=False)
        for number in range(self.workers):
            self._tasks.append(asyncio.create_task(self._work(), name=f"worker {self.kind} {number}"))

    async def stop(self, grace: float) -> None:
        """Lets passes under way finish within `grace` seconds, then cancels them."""
        self._stopping = True
        self.queue.close()
        idle = [task for task in self._tasks if not task.done()]
        if self.queue.working and grace > 0:
            deadline = time.monotonic() + grace
            while self.queue.working and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
        for task in idle:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    @property
    def broken(self) -> list[str]:
        """Workers that ended although they never should."""
        return [] if self._stopping else [task.get_name() for task in self._tasks if task.done()]

    async def _work(self) -> None:
        queue, once = self.queue, self.loop.once
        while not self._stopping:
            key = await queue.get()
            started = time.perf_counter()
            self._waiting.observe(queue.waited)
            rest = 0.0
            try:
                result = await once(key, queue.failures(key))
                rest = self._leave_alone(key, result.read)
                self._settle(key, result)
            except Exception:
                # The loop turns everything into a result; what still comes through must not end the worker.
                log.exception("a pass broke the loop: %s", key)
                queue.retry(key)
            finally:
                queue.done(key, rest)
                self._working.observe(time.perf_counter() - started)
            # A pass that found all as it should be waited for nothing: let others (the lease!) have their turn.
            await asyncio.sleep(0)

    def _leave_alone(self, key: Key, read: int) -> float:
        """For how many seconds the object of a pass that `read` so many others is left alone."""
        if read <= FEW:
            return 0.0
        rest = read * EACH
        self._rested[key] = time.monotonic() + rest
        return rest

    def _settle(self, key: Key, result: Result) -> None:
        """When to look again."""
        queue = self.queue
        match result.end:
            case End.GONE:
                queue.forget(key)
                self._conflicts.pop(key, None)
                self._rested.pop(key, None)
            case End.CONFLICT:
                count = self._conflicts[key] = self._conflicts.get(key, 0) + 1
                if count > CONFLICTS:
                    queue.retry(key)
                else:
                    queue.add(key)
            case End.FAILED:
                queue.retry(key)
            case _:
                queue.succeeded(key)
                if self._conflicts:
                    self._conflicts.pop(key, None)
                if result.recheck is not None:
                    queue.later(key, spread(result.recheck))

    def _collect(self) -> None:
        metrics, queue, kind = self.metrics, self.queue, self.kind
        metrics.depth.set(len(queue), kind, kind)
        metrics.adds.set(queue.added, kind, kind)
        metrics.retries.set(queue.retried, kind, kind)
        metrics.scheduled.set(queue.scheduled, kind, kind)
        metrics.active.set(queue.working, kind)


def spread(seconds: float) -> float:
    """Long waits end at different moments, so that thousands of objects are not looked at all at once."""
    return seconds * random.uniform(0.9, 1.1) if seconds >= 60 else seconds
