"""Single objects outside our caches (a user's own Secret): read when asked for, then each watched alone.

A namespace with thousands of other people's objects costs nothing: only what a pass asked for is watched, and only
as long as some pass asks for it.
"""

import asyncio
import logging
from typing import cast

from libresh.kube.cache import Cache, Listener
from libresh.kube.client import Client
from libresh.kube.informer import Informer
from libresh.kube.interest import Token
from libresh.kube.objects import Entry, Shape
from libresh.kube.views import trim_secret

log = logging.getLogger(__name__)

LIMIT = 2000
"""Each watch is a connection. What comes after the limit is read in every pass, and noticed at the re-check."""


class Single:
    """One watched object."""

    def __init__(self, informer: Informer, task: "asyncio.Task[None]") -> None:
        self.informer = informer
        self.task = task


class Foreign:
    """The single objects that are read and watched. `live=False` (in tests): read only, never watched."""

    def __init__(self, client: Client, listener: Listener, *, live: bool = False) -> None:
        self.client = client
        self.listener = listener
        self.live = live
        self._watched: dict[tuple[str, str, str], Single] = {}
        self._read: dict[tuple[str, str, str], Entry | None] = {}

    def __len__(self) -> int:
        return len(self._watched)

    async def look(self, kind: str, namespace: str, name: str) -> Entry | None:
        """The object as its watch last saw it, or as it is now. Of Secrets only what may be shown."""
        key = (kind, namespace, name)
        single = self._watched.get(key)
        if single is not None and single.informer.cache.synced:
            return single.informer.cache.get(namespace, name)
        shape = Shape(self.client.kinds[kind])
        body = await self.client.read(kind, name, namespace)
        entry = None
        if body is not None:
            entry = shape.entry(body)
            if kind == "Secret":
                entry = trim_secret(entry)
        if self.live:
            self._read[key] = entry
        return entry

    def keep(self, kind: str, namespace: str, name: str) -> None:
        """Watches the object, if it is not watched yet."""
        key = (kind, namespace, name)
        seen = self._read.pop(key, None)
        if not self.live or key in self._watched:
            return
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
        single = self._watched.pop(cast("tuple[str, str, str]", token), None)
        if single is not None:
            single.task.cancel()

    def forget_reads(self, kind: str, namespace: str, name: str) -> None:
        """The object turned up in a cache of ours: what was read of it does not matter."""
        self._read.pop((kind, namespace, name), None)

    async def stop(self) -> None:
        """Ends all watches."""
        tasks = [single.task for single in self._watched.values()]
        self._watched.clear()
        self._read.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
