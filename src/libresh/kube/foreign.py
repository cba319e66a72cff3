"""Single objects outside our caches (a user's own Secret): read when asked for, then each watched alone.

A namespace with thousands of other people's objects costs nothing: only what a pass asked for is watched, and only
as long as some pass asks for it. Where it is known which label such objects bear, one watch serves all of them.
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
from libresh.kube.objects import Entry, Shape, has_labels
from libresh.kube.views import trim_secret
from libresh.plan import naming

log = logging.getLogger(__name__)

Name = tuple[str, str, str]
"""Kind, namespace, name."""

LIMIT = 2000
"""Each watch is a connection. What comes after the limit is read in every pass, and noticed at the re-check."""
PATIENCE = 3.0
"""What is absent may be about to be made by us, and then our own cache shows it: only what is absent for longer is
watched. Meanwhile it counts as absent without being read again."""
MINTED = 60.0
"""As `PATIENCE`, of Secrets that are ours to make: whoever makes one looks at the truth first."""
SCOUTS = 20
"""So many of a sort are watched alone while none of it was seen, and tell whether they bear the label."""
OURS = f"{naming.MANAGED_LABEL}={naming.MANAGED_BY}"
"""The label of what libre.sh makes."""


class Single:
    """One watched object."""

    def __init__(self, informer: Informer, task: "asyncio.Task[None]") -> None:
        self.informer = informer
        self.task = task

    def holds(self, key: Name) -> bool:
        return self.informer.cache.get(key[1], key[2]) is not None


class Group:
    """One watch of all objects of a kind that bear a label, for those of them that somebody asks for."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self.cache = cache
        self.informer = Informer(client, cache)
        self.members: set[Name] = set()
        self.scouts: set[Name] = set()
        """Members that are watched alone."""
        self.task = asyncio.create_task(self.informer.run(), name=f"watch {cache.kind} {cache.selector}")

    @property
    def failed(self) -> bool:
        """Whether it cannot be had, say for want of a right."""
        return not self.cache.synced and bool(self.informer.problem)

    def get(self, key: Name) -> Entry | None:
        return self.cache.get(key[1], key[2]) if self.cache.synced else None

    def takes(self, entry: Entry) -> bool:
        label, _, value = self.cache.selector.partition("=")
        return has_labels(entry.meta, {label: value})


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
        self._groups: dict[tuple[str, str], Group] = {}
        self._member_of: dict[Name, Group] = {}
        self._read: dict[Name, Entry] = {}
        self._absent: dict[Name, float] = {}
        self._asked: dict[Name, float] = {}
        """What is perhaps to be watched alone, and since when."""
        self._sweeping: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many watches there are."""
        return len(self._watched) + len(self._groups)

    @property
    def idle(self) -> bool:
        """Whether nothing is watched or about to be."""
        return not self._watched and not self._groups and not self._asked

    def known(self, kind: str, namespace: str, name: str, among: str = "") -> Entry | None:
        """The object as its watch last saw it, if one shows it."""
        key = (kind, namespace, name)
        if self._is_alone(key):
            return self._watched[key].informer.cache.get(namespace, name)
        group = self._group(key, among)
        return None if group is None else group.get(key)

    async def look(self, kind: str, namespace: str, name: str, *, among: str = "", ours: bool = False) -> Entry | None:
        """The object as its watch last saw it, or as it is now. Of Secrets only what may be shown.

        `ours`: a Secret that is ours to make. What ours is to apply (`among=OURS`) and is not shown is absent: whoever
        applies it looks at the truth first.
        """
        key = (kind, namespace, name)
        found = self.known(kind, namespace, name, among)
        if found is not None or self._is_alone(key):
            return found
        group = self._group(key, among)
        if group is not None and among == OURS and self._shows(group, key):
            return None
        if key in self._absent and time.monotonic() - self._absent[key] < (MINTED if ours else PATIENCE):
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

    def _is_alone(self, key: Name) -> bool:
        """Whether a watch of just this object shows it."""
        return key in self._watched and self._watched[key].informer.cache.synced

    def _group(self, key: Name, among: str) -> Group | None:
        return self._member_of.get(key) or self._groups.get((key[0], among))

    def notice(self, kind: str, entry: Entry) -> bool:
        """An object was found that no watch shows. Says whether that is news: the next look then sees it."""
        key = (kind, *entry.key)
        if not self.live or key in self._read or key in self._watched:
            return False
        self._remember(key, entry)
        return True

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
            return
        for group in self._groups.values():
            if group.cache.kind == kind and group.cache.synced and group.takes(entry):
                group.cache.put(entry, source)
        if self.live:
            self._asked.pop(key, None)
            self._remember(key, entry)

    def keep(self, kind: str, namespace: str, name: str, among: str = "") -> None:
        """From now on a change of the object must be noticed: at once where it is there, else a little later.

        `among`: the label it is expected to bear, as `key=value`; one watch then serves all that bear it.
        """
        key = (kind, namespace, name)
        if not self.live:
            return
        group = self._member_of.get(key)
        if group is None and among:
            group = self._join(key, among)
        if group is not None and group.get(key) is not None:
            self.forget(key)
            self._end(key)
        elif key in self._watched:
            return
        elif group is not None or key in self._absent:
            self._asked.setdefault(key, time.monotonic())
            if self._sweeping is None or self._sweeping.done():
                self._sweeping = asyncio.create_task(self._sweep(), name="sweep of single objects")
        else:
            self._watch(key)

    def _join(self, key: Name, among: str) -> Group:
        group = self._groups.get((key[0], among))
        if group is None:
            cache = self._cache(key[0])
            cache.selector, cache.listener = among, self.listener
            group = self._groups[key[0], among] = Group(self.client, cache)
        group.members.add(key)
        self._member_of[key] = group
        return group

    async def _sweep(self) -> None:
        """Begins to watch alone what no watch of many shows."""
        while self._asked:
            await asyncio.sleep(PATIENCE / 3)
            now = time.monotonic()
            for key, since in tuple(self._asked.items()):
                group = self._member_of.get(key)
                if now - since < PATIENCE or (group is not None and not group.cache.synced and not group.failed):
                    continue
                shown = self.holds(key) or (group is not None and self._shows(group, key))
                if not shown and group is not None and not self._needs_watch(group, key):
                    continue
                del self._asked[key]
                self._absent.pop(key, None)
                if not shown:
                    self._watch(key)

    def _shows(self, group: Group, key: Name) -> bool:
        """Whether the watch of a group shows the object, or will as soon as it is there: ours bear our label, and where
        others have been seen to bear theirs, so will this one."""
        if group.get(key) is not None:
            return True
        sure = group.cache.selector == OURS or group.cache.size > 0
        return group.cache.synced and sure and key not in self._read

    def _needs_watch(self, group: Group, key: Name) -> bool:
        """Whether an object that the group does not show is watched alone at once. While it is absent some of its sort
        are enough: if one of them comes without the label, so will the others."""
        if key in self._read or group.failed or len(group.scouts) < SCOUTS:
            return True
        return any(self._watched[each].holds(each) and group.get(each) is None for each in group.scouts)

    def _cache(self, kind: str) -> Cache:
        cache = Cache(kind, Shape(self.client.kinds[kind]))
        if kind == "Secret":
            cache.trim = trim_secret
        return cache

    def _watch(self, key: Name) -> None:
        kind, namespace, name = key
        seen = self._read.pop(key, None)
        if len(self._watched) >= LIMIT:
            log.warning("more than %d single objects are asked for: %s is not watched", LIMIT, key)
            return
        cache = self._cache(kind)
        if seen is not None:
            cache.trim, trim = None, cache.trim
            cache.put(seen)
            cache.trim = trim
        cache.listener = self.listener
        informer = Informer(self.client, cache, namespace=namespace, fields=f"metadata.name={name}")
        if key in self._member_of:
            self._member_of[key].scouts.add(key)
        self._watched[key] = Single(informer, asyncio.create_task(informer.run(), name=f"watch {key}"))

    def release(self, token: Token) -> None:
        """Nobody reads this token any more."""
        key = cast("Name", token)
        self.forget(key)
        self._end(key)
        group = self._member_of.pop(key, None)
        if group is not None:
            group.members.discard(key)
            if not group.members:
                del self._groups[group.cache.kind, group.cache.selector]
                group.task.cancel()

    def _end(self, key: Name) -> None:
        """Ends the watch of just this object, if there is one."""
        single = self._watched.pop(key, None)
        if single is not None:
            single.task.cancel()
        if key in self._member_of:
            self._member_of[key].scouts.discard(key)

    def forget(self, key: Name) -> None:
        """What was read of the object does not matter: a cache of ours has it, or nobody asks any more."""
        self._read.pop(key, None)
        self._absent.pop(key, None)
        self._asked.pop(key, None)

    async def stop(self) -> None:
        """Ends all watches."""
        tasks = [single.task for single in self._watched.values()]
        tasks += [group.task for group in self._groups.values()]
        if self._sweeping is not None:
            tasks.append(self._sweeping)
        self.live = False
        for known in (self._watched, self._groups, self._member_of, self._read, self._absent, self._asked):
            known.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
