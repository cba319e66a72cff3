"""Keeps one cache true: list in pages, then watch; after a gap list again and notice what has disappeared."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

import msgspec

from libresh.errors import LibreshError
from libresh.kube.cache import Cache
from libresh.kube.client import PARTIAL, Client
from libresh.kube.errors import Expired, NotFound, Unavailable
from libresh.kube.objects import EVENT, FAILURE, version_of

log = logging.getLogger(__name__)

WATCH_SECONDS = (300.0, 600.0)
"""A watch ends by itself after a random time in between, so that many do not start again at once."""
SILENCE = 90.0
"""A watch without a byte for this long is dead: bookmarks come about every minute."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
ABSENT_PAUSE = 30.0
BEHIND = 5
"""How many lists may show the past before we believe that it is the present."""
HEALTHY_WATCH = 5.0
"""A watch that lasted this long proves that all is well again."""


class Informer:
    """One list and watch. `run` goes on until it is cancelled."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        *,
        namespace: str = "",
        fields: str = "",
        optional: bool = False,
        silence: float = SILENCE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.client = client
        self.cache = cache
        self.namespace = namespace
        self.fields = fields
        self.optional = optional
        """Whether the kind may be absent from the cluster: then it counts as synced and empty."""
        self.silence = silence
        self.version = ""
        self.seen_at = time.monotonic()
        """When the API server last said anything about this kind."""
        self.problem = ""
        self.lists = 0
        self.synced = asyncio.Event()
        self._sleep = sleep
        self._failures = 0
        self._behind = 0

    @property
    def age(self) -> float:
        """Seconds since the watch last spoke."""
        return time.monotonic() - self.seen_at

    async def run(self) -> None:
        """Lists and watches for ever."""
        while True:
            started = time.monotonic()
            pause = 0.0
            try:
                if not self.version:
                    await self.relist()
                await self.watch()
                if time.monotonic() - started < HEALTHY_WATCH:
                    pause = self._backoff()
                else:
                    self._recovered()
            except Expired:
                log.info("history of %s is gone, listing again", self.cache.kind)
                self.version = ""
                pause = random.uniform(0, FIRST_PAUSE)
            except NotFound as error:
                pause = self._absent(error)
            except msgspec.MsgspecError as error:
                self.version = ""
                self.problem = f"{self.cache.kind}: the API server sent what cannot be read: {error}"
                pause = self._backoff()
                log.error("%s; again in %.1f s", self.problem, pause)
            except LibreshError as error:
                if time.monotonic() - started >= HEALTHY_WATCH:
                    self._failures = 0
                self.problem = str(error)
                pause = self._backoff()
                log.log(
                    logging.WARNING if self._failures > 2 else logging.INFO,
                    "watching %s: %s; again in %.1f s",
                    self.cache.kind,
                    error,
                    pause,
                )
            if pause:
                await self._sleep(pause)

    def _backoff(self) -> float:
        self._failures += 1
        ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 12))
        return random.uniform(ceiling / 2, ceiling)

    def _recovered(self) -> None:
        self._failures = 0
        self.problem = ""

    def _absent(self, error: NotFound) -> float:
        """The kind is not served (its CRD is not installed, or not yet)."""
        self.version = ""
        if not self.optional:
            self.problem = str(error)
            return self._backoff()
        self.seen_at = time.monotonic()
        self.cache.settle(set(), 2**63)
        self.synced.set()
        return random.uniform(ABSENT_PAUSE, 2 * ABSENT_PAUSE)

    async def relist(self) -> None:
        """Brings the cache to the state of one moment, and forgets what is not there any more."""
        cache = self.cache
        listed: set[tuple[str, str]] = set()
        version = ""
        entries = cache.shape.entries
        floor = cache.latest
        async for page, head in self.client.pages(
            cache.shape.info,
            self.namespace,
            labels=cache.selector,
            fields=self.fields,
            metadata=cache.shape.metadata,
        ):
            if not version and version_of(head.resource_version) < floor:
                self._went_back(head.resource_version)
            for entry in entries(page):
                listed.add(entry.key)
                cache.put(entry)
            version = head.resource_version or version
            self.seen_at = time.monotonic()
            await asyncio.sleep(0)
        self._behind = 0
        cache.settle(listed, version_of(version))
        self.version = version
        self.lists += 1
        self.problem = ""
        self.synced.set()

    def _went_back(self, version: str) -> None:
        """A list shows an older moment than we have seen. A server that is behind catches up; if it does not, its
        store was restored from a backup, and what it says is the truth."""
        self._behind += 1
        if self._behind <= BEHIND:
            raise Unavailable("api-behind", f"The API server is behind: it lists {self.cache.kind} as of {version}")
        log.warning("the API server's history was replaced: taking %s as it is at version %s", self.cache.kind, version)
        self.cache.rewind()

    async def watch(self) -> None:
        """Follows the changes since `version` until the API server ends the watch."""
        info = self.cache.shape.info
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self.version,
            "timeoutSeconds": str(int(random.uniform(*WATCH_SECONDS))),
            "labelSelector": self.cache.selector,
            "fieldSelector": self.fields,
        }
        accept = PARTIAL.format("PartialObjectMetadata") if self.cache.shape.metadata else "application/json"
        what = f"watch {info.plural}"
        rest = b""
        async with self.client.stream(
            info.path(self.namespace), params, silence=self.silence, accept=accept, what=what
        ) as response:
            async for chunk in response.content.iter_any():
                self.seen_at = time.monotonic()
                # Splitting all at once keeps the work per event small; a line without its end waits for the rest.
                if b"\n" not in chunk:
                    rest += chunk
                    continue
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        self._learn(line)
                if self._failures:
                    self._recovered()

    def _learn(self, line: bytes) -> None:
        """One event."""
        event = EVENT.decode(line)
        if event.type == "ERROR":
            failure = FAILURE.decode(event.object)
            if failure.code == 410:
                raise Expired("expired", f"The API server forgot the history: {failure.message}")
            raise Unavailable("watch-failed", f"The watch failed with {failure.code}: {failure.message}")
        entry = self.cache.shape.entry(event.object)
        if event.type == "DELETED":
            self.cache.deleted(entry)
        elif event.type in ("ADDED", "MODIFIED"):
            self.cache.put(entry)
        self.version = entry.meta.resource_version or self.version
