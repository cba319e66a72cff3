"""Single objects outside our caches (a user's own Secret): read when asked for, then each watched alone.

A namespace with thousands of other people's objects costs nothing: only what a pass asked for is watched, and only
as long as some pass asks for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import cast

from libresh.kube.cache import Cache, Key, Listener
from libresh.kube.client import Client
from libresh.kube.informer import Informer
from libresh.kube.interest import Token
from libresh.kube.objects import Entry, Shape
from libresh.kube.views import trim_secret

log = logging.getLogger(__name__)

Name = tuple[str, str, str]
"""Kind, namespace, name."""

LIMIT = 2000
"""Each watch is a connection. What comes after the limit is read in every pass, and noticed at the re-check."""
PATIENCE = 3.0
"""What is absent may be about to be made by us, and then our own cache shows it: only what is absent for longer is
watched. Meanwhile it counts as absent without being read again."""


class Single:
    """One watched object."""

    def __init__(self, informer: Informer, task: "asyncio.Task[None]") -> None:
        self.informer = informer
        self.task = task


class Foreign:
    """The single objects that are read and watched. `live=False` (in tests): read only, never watched."""

    def __init__(
        self, client: Client, listener: Listener, holds: Callable[[Name], bool], *, live: bool = False
    ) -> None:
        self.client = client
        self.listener = listener
        self.holds = holds
        """Whether a cache of ours has the object by now."""
        self.live = live
        self._watched: dict[Name, Single] = {}
        self._read: dict[Name, Entry] = {}
        self._absent: dict[Name, float] = {}
        self._asked: set[Name] = set()
        self._sweeping: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._watched)

    @property
    def idle(self) -> bool:
        """Whether nothing is watched or about to be."""
        return not self._watched and not self._asked

    async def look(self, kind: str, namespace: str, name: str) -> Entry | None:
        """The object as its watch last saw it, or as it is now. Of Secrets only what may be shown."""
        key = (kind, namespace, name)
        single = self._watched.get(key)
        if single is not None and single.informer.cache.synced:
            return single.informer.cache.get(namespace, name)
        if key in self._absent and time.monotonic() - self._absent[key] < PATIENCE:
            return None
        body = await self.client.read(kind, name, namespace)
        entry = None
        if body is not None:
            entry = Shape(self.client.kinds[kind]).entry(body)
            if kind == "Secret":
                entry = trim_secret(entry)
        if self.live:
            self._remember(key, entry)
        return entry

    def _remember(self, key: Name, entry: Entry | None) -> None:
        if entry is None:
            self._absent[key] = time.monotonic()
        else:
            self._absent.pop(key, None)
            self._read[key] = entry

    def learn(self, kind: str, entry: Entry, source: Key) -> None:
        """Takes the API server's answer to a write of ours. `source` is whose pass wrote it."""
        key = (kind, *entry.key)
        single = self._watched.get(key)
        if single is not None:
            single.informer.cache.put(entry, source)
        elif self.live:
            self._asked.discard(key)
            self._remember(key, entry)

    def keep(self, kind: str, namespace: str, name: str) -> None:
        """From now on a change of the object must be noticed: at once where it is there, else a little later."""
        key = (kind, namespace, name)
        if not self.live or key in self._watched:
            return
        if key in self._absent:
            self._asked.add(key)
            if self._sweeping is None or self._sweeping.done():
                self._sweeping = asyncio.create_task(self._sweep(), name="sweep of absent objects")
            return
        self._watch(key)

    async def _sweep(self) -> None:
        """Begins to watch what stays absent."""
        while self._asked:
            await asyncio.sleep(PATIENCE / 3)
            now = time.monotonic()
            for key in tuple(self._asked):
                if now - self._absent.get(key, now) >= PATIENCE:
                    self._asked.discard(key)
                    self._absent.pop(key, None)
                    if not self.holds(key):
                        self._watch(key)

    def _watch(self, key: Name) -> None:
        kind, namespace, name = key
        seen = self._read.pop(key, None)
        if len(self._watched) >= LIMIT:
            log.warning("more than %d single objects are asked for: %s is not watched", LIMIT, key)
            return
        cache = Cache(kind, Shape(self.client.kinds[kind]))
        if kind == "Secret":
            cache.trim = trim_secret
        if seen is not None:
            cache.trim, trim = None, cache.trim
            cache.put(seen)
            cache.trim = trim
        cache.listener = self.listener
        informer = Informer(self.client, cache, namespace=namespace, fields=f"metadata.name={name}")
        self._watched[key] = Single(informer, asyncio.create_task(informer.run(), name=f"watch {key}"))

    def release(self, token: Token) -> None:
        """Nobody reads this token any more."""
        key = cast("Name", token)
        self.forget(key)
        single = self._watched.pop(key, None)
        if single is not None:
            single.task.cancel()

    def forget(self, key: Name) -> None:
        """What was read of the object does not matter: a cache of ours has it, or nobody asks any more."""
        self._read.pop(key, None)
        self._absent.pop(key, None)
        self._asked.discard(key)

    async def stop(self) -> None:
        """Ends all watches."""
        tasks = [single.task for single in self._watched.values()]
        if self._sweeping is not None:
            tasks.append(self._sweeping)
        self.live = False
        for known in (self._watched, self._read, self._absent, self._asked):
            known.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
