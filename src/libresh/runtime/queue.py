"""Which objects need a look: each at most once in line, never two looks at one object at a time.

add ──> in line ──> get ──> in work ──> done ──> (in line again, if it was added meanwhile)
         ^
later ───┘  when its time has come: one heap, one timer
"""

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 300.0
SLACK = 64
"""How many outdated entries the heap may hold beyond as many as it has current ones."""


class Queue(Generic[K]):
    """Two lines (what changed before what is merely due), a set in work, and a heap of later looks."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
    ) -> None:
        self.clock = clock
        self.chance = chance
        self.first_pause = first_pause
        self.longest_pause = longest_pause
        self.added = 0
        self.retried = 0
        self.waited = 0.0
        """How long the last one taken had stood in line."""
        self._first: deque[K] = deque()
        self._second: deque[K] = deque()
        self._dirty: dict[K, float] = {}
        self._urgent: set[K] = set()
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._due: dict[K, float] = {}
        self._soon: set[K] = set()
        self._heap: list[tuple[float, int, K]] = []
        self._count = itertools.count()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._closed = False

    def __len__(self) -> int:
        """How many stand in line."""
        return len(self._dirty)

    @property
    def working(self) -> int:
        return len(self._working)

    @property
    def scheduled(self) -> int:
        """How many are to be looked at later."""
        return len(self._due)

    # --- putting in ------------------------------------------------------------------------------------------

    def add(self, key: K, *, urgent: bool = True) -> None:
        """Puts a key in line, unless it stands there. One in work is put in line when its work is done."""
        if self._closed:
            return
        known = key in self._dirty
        if known and (not urgent or key in self._urgent):
            return
        if not known:
            self._dirty[key] = self.clock()
            self.added += 1
        if key in self._working:
            return
        # One that is known and now urgent gets a second place, in the first line. Whichever comes up first counts.
        if urgent:
            self._urgent.add(key)
            self._first.append(key)
        else:
            self._second.append(key)
        if not known:
            self._wake()

    def later(self, key: K, delay: float) -> None:
        """Puts a key in line after `delay` seconds. Only the last such wish for a key counts (but see `soon`)."""
        if self._closed:
            return
        when = self.clock() + delay
        due = self._due.get(key)
        if due == when or (due is not None and due < when and key in self._soon):
            return
        self._due[key] = when
        heapq.heappush(self._heap, (when, next(self._count), key))
        if len(self._heap) > 2 * len(self._due) + SLACK:
            self._heap = [item for item in self._heap if self._due.get(item[2]) == item[0]]
            heapq.heapify(self._heap)
        self._arm()

    def soon(self, key: K, delay: float) -> None:
        """Puts a key in line after `delay` seconds, or earlier if that was wished for already.

        A later wish for `later` does not put it off: something has changed that the pass under way may not have seen.
        """
        if self._closed or key in self._dirty:
            return
        due = self._due.get(key)
        if due is None or due > self.clock() + delay:
            self.later(key, delay)
        self._soon.add(key)

    def retry(self, key: K) -> float:
        """Puts a key that failed in line after a pause that doubles from one failure to the next. Returns it."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retried += 1
        ceiling = min(self.longest_pause, self.first_pause * 2.0 ** min(failures, 30))
        delay = ceiling * (0.5 + self.chance() / 2)
        self.later(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """The next failure counts as the first."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The object is gone: no later look, no count of failures."""
        self._failures.pop(key, None)
        self._due.pop(key, None)
        self._soon.discard(key)

    # --- taking out ------------------------------------------------------------------------------------------

    def take(self) -> K | None:
        """The next key, now in work, or None if there is nothing to do."""
        self.release_due()
        for line in (self._first, self._second):
            while line:
                key = line.popleft()
                if key in self._working or key not in self._dirty:
                    continue
                self.waited = self.clock() - self._dirty.pop(key)
                self._working.add(key)
                self._urgent.discard(key)
                if key in self._soon:
                    self._soon.discard(key)
                    self._due.pop(key, None)
                return key
        return None

    async def get(self) -> K:
        """Waits for the next key."""
        while True:
            key = self.take()
            if key is not None:
                return key
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            self._arm()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()
                raise

    def done(self, key: K, rest: float = 0.0) -> None:
        """The work on a key has ended. If it was added meanwhile its turn comes again, after `rest` seconds."""
        self._working.discard(key)
        if rest and key in self._dirty and not self._closed:
            del self._dirty[key]
            self._urgent.discard(key)
            self.soon(key, rest)
            return
        if key in self._dirty and not self._closed:
            self._urgent.add(key)
            self._first.append(key)
            self._wake()

    def close(self) -> None:
        """Takes nothing more; what is in line is dropped."""
        self._closed = True
        self._dirty.clear()
        self._urgent.clear()
        self._first.clear()
        self._second.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_at = None, float("inf")

    def reopen(self) -> None:
        """Takes keys again."""
        self._closed = False

    # --- time ------------------------------------------------------------------------------------------------

    def release_due(self) -> None:
        """Puts in line what has come due."""
        now = self.clock()
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, key = heapq.heappop(heap)
            if self._due.get(key) == when:
                del self._due[key]
                self._soon.discard(key)
                self.add(key, urgent=False)

    def next_due(self) -> float | None:
        """When (by the clock) the next one comes due."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _arm(self) -> None:
        if not self._waiters:
            return
        when = self.next_due()
        if when is None or (self._timer is not None and self._timer_at <= when):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, when - self.clock()), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        self.release_due()
        self._arm()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
