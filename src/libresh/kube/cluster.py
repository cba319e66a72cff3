"""The world as the operator sees it: a cache per kind, who depends on what, and single objects of other people."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from libresh.api.meta import ObjectMeta
from libresh.errors import LibreshError
from libresh.kube.cache import Cache, Key
from libresh.kube.client import Client
from libresh.kube.composed import Composed
from libresh.kube.foreign import OURS, Foreign
from libresh.kube.informer import Informer
from libresh.kube.interest import Interest, Token
from libresh.kube.objects import Entry, Shape, controller_of
from libresh.plan import naming
from libresh.ports import COMPOSED, Watched

log = logging.getLogger(__name__)

LATEST = 2**63
FEW = 20
SHARE = 0.002
"""Seconds that each of many who share a changed object adds to the time within which all of them are looked at."""


def utc_now() -> datetime:
    """The time in whole seconds: that is what the API's timestamps have."""
    return datetime.fromtimestamp(int(time.time()), UTC)


def merged(watched: Iterable[Watched]) -> dict[str, Watched]:
    """One entry per kind: the widest of all wishes."""
    found: dict[str, Watched] = {}
    for item in watched:
        other = found.get(item.kind)
        if other is not None:
            item = Watched(
                item.kind,
                writes=item.writes or other.writes,
                managed=item.managed and other.managed,
                metadata=item.metadata and other.metadata,
                verbs=tuple(sorted({*item.verbs, *other.verbs})),
            )
        found[item.kind] = item
    return found


def differs(before: ObjectMeta, after: ObjectMeta) -> bool:
    """Whether somebody else changed what an object asks for."""
    same = before.generation == after.generation and before.labels == after.labels
    return not same or before.annotations != after.annotations


class Cluster:
    """Caches of all watched kinds. `wake` is told which keys a change concerns."""

    def __init__(
        self,
        client: Client,
        watched: Iterable[Watched],
        *,
        clock: Callable[[], datetime] = utc_now,
        live: bool = False,
    ) -> None:
        self.client = client
        self.kinds = client.kinds
        self.clock = clock
        self.wake: Callable[[Key, bool], None] = lambda key, own: None
        self.defer: Callable[[Key, float], None] = lambda key, delay: self.wake(key, False)
        self.foreign = Foreign(client, self._changed, self._holds, live=live)
        self.composed = Composed(client, self.foreign)
        self.interest = Interest(self.foreign.release)
        self.caches: dict[str, Cache] = {}
        self.informers: dict[str, Informer] = {}
        self.watched = merged(watched)
        self._uids: dict[str, Key] = {}
        self._writing: dict[Key, list[int]] = {}
        self._answered: dict[Key, tuple[int, bool]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for kind, wish in self.watched.items():
            if kind != COMPOSED:
                self._add(kind, wish)

    def _add(self, kind: str, wish: Watched) -> None:
        type = self.kinds.type_of(kind)
        whole = type is not None or not wish.managed
        shape = Shape(self.kinds[kind], type, metadata=wish.metadata and type is None)
        cache = Cache(kind, shape, selector="" if whole else OURS, listener=self._changed)
        cache.keep_bodies = type is not None or kind == "Secret" or not wish.writes
        self.caches[kind] = cache
        built_in = "." not in shape.info.group or shape.info.group.endswith(".k8s.io")
        self.informers[kind] = Informer(self.client, cache, optional=type is None and not built_in)

    # --- living ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts watching everything."""
        self.foreign.live = True
        for kind, informer in self.informers.items():
            self._tasks.append(asyncio.create_task(informer.run(), name=f"informer {kind}"))

    async def synced(self) -> None:
        """Waits until every cache has been filled once."""
        for informer in self.informers.values():
            await informer.synced.wait()

    async def refresh(self) -> None:
        """Lists everything once, without watching: for single passes."""
        for informer in self.informers.values():
            await informer.relist()

    async def stop(self) -> None:
        """Stops watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.foreign.stop()

    @property
    def broken(self) -> list[str]:
        """Informers that ended although they never should."""
        return [task.get_name() for task in self._tasks if task.done()]

    # --- looking ---------------------------------------------------------------------------------------------

    def cache(self, kind: str) -> Cache:
        found = self.caches.get(kind)
        if found is None:
            raise LibreshError(
                "kind-not-watched", f"{kind} is read but not watched", f"add Watched({kind!r}) to the reconciler"
            )
        return found

    def _holds(self, key: Key) -> bool:
        cache = self.caches.get(key[0])
        return cache is not None and cache.get(key[1], key[2]) is not None

    async def whole(self, kind: str, entry: Entry) -> Entry:
        """The entry with its body; it is read again where it was dropped, and from now on kept."""
        if entry.body is not None:
            return entry
        cache = self.cache(kind)
        if cache.shape.metadata:
            return entry
        body = await self.client.read(kind, entry.meta.name, entry.meta.namespace)
        if body is None:
            return entry
        fresh = cache.shape.entry(body)
        if fresh.version == entry.version:
            entry.body = fresh.body
            return entry
        cache.put(fresh)
        return fresh

    # --- changing --------------------------------------------------------------------------------------------

    def learn(self, kind: str, answer: bytes, source: Key | None = None) -> Entry:
        """Takes the API server's answer to a write of ours into the cache, so that the next look sees it."""
        cache = self.cache(kind)
        entry = cache.shape.entry(answer)
        if source is not None:
            before = cache.get(entry.meta.namespace, entry.meta.name)
            others = before is not None and differs(before.meta, entry.meta)
            self._answered[source] = (entry.version, others)
        if cache.selector and entry.meta.labels.get(naming.MANAGED_LABEL) != naming.MANAGED_BY:
            return entry
        cache.put(entry, source)
        return entry

    @contextmanager
    def writing(self, key: Key) -> Iterator[None]:
        """While a pass writes its own object. The echo of that may come before the answer, and must not cause another
        pass, whereas a change by somebody else must: whether its event comes before, or its result in the answer."""
        self._writing[key] = []
        try:
            yield
        finally:
            answered, others = self._answered.pop(key, (0, False))
            heard = self._writing.pop(key)
            if others or any(version != answered for version in heard):
                self.wake(key, True)

    async def refresh_object(self, kind: str, namespace: str, name: str) -> None:
        """Reads one object past the cache: after a conflict the cache is known to be behind."""
        cache = self.cache(kind)
        body = await self.client.read(kind, name, namespace)
        if body is not None:
            self.learn(kind, body)
            return
        entry = cache.get(namespace, name)
        if entry is not None:
            cache.removed(entry)

    def record(self, key: Key, tokens: Iterable[Token]) -> None:
        """Remembers what a pass read."""
        self.interest.record(key, tokens)

    def drop_needless(self, tokens: Iterable[Token]) -> None:
        """Ends the single watches of what a cache holds by now."""
        if self.foreign.idle:
            return
        for token in tokens:
            cache = self.caches.get(str(token[0]))
            if len(token) != 3 or cache is None or not cache.selector or not isinstance(token[2], str):
                continue
            if cache.get(str(token[1]), token[2]) is not None:
                self.foreign.release(token)

    def forget(self, key: Key) -> None:
        """The object is gone: nothing concerns it any more."""
        self.interest.forget(key)

    def owner_key(self, entry: Entry) -> Key | None:
        """Whose child an object is, if one of our kinds owns it."""
        reference = controller_of(entry.meta)
        if reference is not None:
            if self.kinds.type_of(reference.kind) is None:
                return None
            info = self.kinds[reference.kind]
            return (reference.kind, entry.meta.namespace if info.namespaced else "", reference.name)
        uid = entry.meta.labels.get(naming.OWNER_UID_LABEL)
        return self._uids.get(uid) if uid else None

    def _changed(self, kind: str, old: Entry | None, new: Entry | None, source: Key | None) -> None:
        entry = new or old
        assert entry is not None
        key = (kind, entry.meta.namespace, entry.meta.name)
        wake = self.wake
        cache = self.caches.get(kind)
        if cache is not None and cache.shape.type is not None:
            if new is None:
                self._uids.pop(entry.meta.uid, None)
            elif old is None:
                self._uids[entry.meta.uid] = key
            if key in self._writing:
                self._writing[key].append(new.version if new is not None else LATEST)
            elif key != source:
                wake(key, True)
        owner = self.owner_key(entry)
        if owner is not None:
            wake(owner, False)
        if old is not None and new is not None and old.meta.owner_references != new.meta.owner_references:
            former = self.owner_key(old)
            if former is not None and former != owner:
                wake(former, False)
        readers = set(self.interest.touched(kind, old, new, cache.indexes() if cache is not None else ()))
        if key == source:
            readers.discard(key)
        # Where many share what changed (a server of a class), its changes must not cost a pass of each every time.
        delay = len(readers) * SHARE if len(readers) > FEW else 0.0
        for reader in readers:
            if delay:
                self.defer(reader, random.uniform(delay / 2, delay))
            else:
                wake(reader, False)
