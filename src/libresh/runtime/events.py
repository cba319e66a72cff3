"""Kubernetes Events: one when a condition changed, repeated ones counted, floods cut off. Losing one harms nobody."""

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from libresh.api import conditions
from libresh.api.meta import Condition, Resource
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import NotFound
from libresh.plan.actions import Object

log = logging.getLogger(__name__)

CONTROLLER = "libre.sh/operator"
LONGEST_NOTE = 1000
BACKLOG = 1000
BURST = 10
REFILL = 60.0
"""Seconds until an object that used up its burst may have one more event."""
BURST_OF_ALL, REFILL_OF_ALL = 100, 1.0
"""The same for all objects together: ten thousand new objects are one story, not ten thousand."""
SERIES = 600.0
"""Seconds within which the same event is counted instead of made anew."""
REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Note:
    """One event to be."""

    regarding: Object
    reason: str
    note: str
    warning: bool
    at: datetime


@dataclass(slots=True)
class Sent:
    """An event that exists."""

    name: str
    namespace: str
    count: int
    at: float


@dataclass(slots=True)
class Budget:
    """How many more events there may be."""

    burst: int
    refill: float
    left: float
    at: float

    def take(self, now: float) -> bool:
        """Whether there may be one more."""
        self.left = min(self.burst, self.left + (now - self.at) / self.refill)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


def worth_telling(before: Iterable[Condition], after: Iterable[Condition]) -> list[Condition]:
    """The changed conditions that deserve an event: one for each reason, a refusal before the rest."""
    found: dict[str, Condition] = {}
    for condition in conditions.changed(before, after):
        if condition.reason not in found or is_warning(condition):
            found[condition.reason] = condition
    return list(found.values())


def is_warning(condition: Condition) -> bool:
    return condition.type == conditions.STALLED and condition.status == "True"


class Recorder:
    """Takes notes at once and sends them in the background."""

    def __init__(
        self, client: Client | None, instance: str = "libresh", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client = client
        self.instance = instance
        self.clock = clock
        self.dropped = 0
        self.pending: deque[Note] = deque()
        self._wake = asyncio.Event()
        self._sent: dict[tuple[str, str, str, str], Sent] = {}
        self._budgets: dict[str, Budget] = {}
        self._all = Budget(BURST_OF_ALL, REFILL_OF_ALL, BURST_OF_ALL, clock())

    def record(self, obj: Resource, changed: Iterable[Condition], now: datetime) -> None:
        """Notes what changed about an object."""
        meta = obj.metadata
        regarding: Object = {
            "apiVersion": obj.KIND.api_version,
            "kind": obj.KIND.kind,
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        }
        for condition in changed:
            if len(self.pending) >= BACKLOG or not self._allowed(meta.uid):
                self.dropped += 1
                continue
            text = condition.message[:LONGEST_NOTE]
            self.pending.append(Note(regarding, condition.reason, text, is_warning(condition), now))
        self._wake.set()

    def _allowed(self, uid: str) -> bool:
        now = self.clock()
        if len(self._budgets) > REMEMBERED:
            self._budgets.clear()  # so many at once are held by the budget of all
        budget = self._budgets.get(uid)
        if budget is None:
            budget = self._budgets[uid] = Budget(BURST, REFILL, BURST, now)
        return budget.take(now) and self._all.take(now)

    async def run(self) -> None:
        """Sends notes for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Sends what is pending."""
        while self.pending:
            note = self.pending.popleft()
            try:
                await self._send(note)
            except LibreshError as error:
                log.debug("an event was lost: %s", error)

    async def _send(self, note: Note) -> None:
        if self.client is None:
            return
        key = (str(note.regarding["uid"]), note.reason, note.note, str(note.warning))
        now = self.clock()
        sent = self._sent.get(key)
        if sent is not None and now - sent.at < SERIES:
            sent.count, sent.at = sent.count + 1, now
            series = {"count": sent.count, "lastObservedTime": micro_time(note.at)}
            try:
                await self.client.patch_raw("Event", sent.name, sent.namespace, {"series": series})
                return
            except NotFound:
                pass  # it has expired: make a new one
        await self._create(note, key, now)

    async def _create(self, note: Note, key: tuple[str, str, str, str], now: float) -> None:
        assert self.client is not None
        digest = hashlib.blake2b(repr((key, note.at)).encode(), digest_size=8).hexdigest()
        name = f"{str(note.regarding['name'])[:200]}.{digest}"
        namespace = str(note.regarding["namespace"]) or "default"
        if len(self._sent) > REMEMBERED:
            self._sent.clear()
        self._sent[key] = Sent(name, namespace, 1, now)
        await self.client.create(
            {
                "apiVersion": "events.k8s.io/v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "eventTime": micro_time(note.at),
                "reportingController": CONTROLLER,
                "reportingInstance": self.instance,
                "action": "Reconcile",
                "reason": note.reason,
                "regarding": {key: value for key, value in note.regarding.items() if value},
                "note": note.note,
                "type": "Warning" if note.warning else "Normal",
            }
        )


def micro_time(moment: datetime) -> str:
    """A time as the API server's MicroTime."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
