"""Everything watched of one kind, by namespace and name, never older than what was once seen."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import msgspec

from libresh.kube.objects import Entry, Shape, owner_uid

Key = tuple[str, str, str]
"""Kind, namespace, name."""


class Listener(Protocol):
    """Told of every change of a cache, synchronously. `source` is whose pass wrote it, if one of ours did."""

    def __call__(self, kind: str, old: Entry | None, new: Entry | None, source: Key | None) -> None: ...


def deaf(kind: str, old: Entry | None, new: Entry | None, source: Key | None) -> None:
    """The listener where nobody listens."""


class FieldIndex:
    """Finds entries by the value of one field, such as spec.host."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.keys: dict[str, set[tuple[str, str]]] = {}
        self._decoder = path_decoder(path)
        self._steps = path.split(".")

    def value(self, entry: Entry) -> str:
        """The field's value; "" where it is absent or no text."""
        try:
            found = self._decoder.decode(entry.body or b"{}")
        except msgspec.MsgspecError:
            return ""
        for step in self._steps:
            found = getattr(found, step, None)
        return found if isinstance(found, str) else ""

    def add(self, entry: Entry) -> None:
        if value := self.value(entry):
            self.keys.setdefault(value, set()).add(entry.key)

    def remove(self, entry: Entry) -> None:
        value = self.value(entry)
        keys = self.keys.get(value)
        if keys is not None:
            keys.discard(entry.key)
            if not keys:
                del self.keys[value]


def path_decoder(path: str) -> msgspec.json.Decoder[Any]:
    """Decodes just one field, skipping all others."""
    kind: Any = str | None
    for step in reversed(path.split(".")):
        kind = msgspec.defstruct("Step", [(step, kind | None, None)])
    return msgspec.json.Decoder(kind)


class Cache:
    """The objects of one kind. Versions only grow: an echo older than what is known is ignored."""

    def __init__(self, kind: str, shape: Shape, *, selector: str = "", listener: Listener = deaf) -> None:
        self.kind = kind
        self.shape = shape
        self.selector = selector
        """A label selector, where only a part of the kind is kept."""
        self.listener = listener
        self.synced = False
        self.keep_bodies = shape.type is not None
        """Whether bodies stay after they were compared. Set as soon as somebody reads them."""
        self.trim: Callable[[Entry], Entry] | None = None
        self.size = 0
        self.latest = 0
        """The highest version ever seen."""
        self._spaces: dict[str, dict[str, Entry]] = {}
        self._owned: dict[str, set[tuple[str, str]]] = {}
        self._gone: set[str] = set()
        self._fields: dict[str, FieldIndex] = {}

    # --- looking ---------------------------------------------------------------------------------------------

    def get(self, namespace: str, name: str) -> Entry | None:
        space = self._spaces.get(namespace)
        return None if space is None else space.get(name)

    def entries(self, namespace: str | None = None) -> Iterator[Entry]:
        """All entries, or those of one namespace, in no order."""
        spaces = self._spaces.values() if namespace is None else (self._spaces.get(namespace, {}),)
        for space in spaces:
            yield from space.values()

    def owned(self, uid: str) -> list[Entry]:
        """The entries whose owner (by controller reference or label) has this uid."""
        found = (self.get(*key) for key in self._owned.get(uid, ()))
        return [entry for entry in found if entry is not None]

    def find(self, path: str, value: str) -> list[Entry]:
        """The entries whose field at `path` has this value. The index is built at the first question."""
        found = (self.get(*key) for key in self.index(path).keys.get(value, ()))
        return [entry for entry in found if entry is not None]

    def index(self, path: str) -> FieldIndex:
        index = self._fields.get(path)
        if index is None:
            index = self._fields[path] = FieldIndex(path)
            for entry in self.entries():
                index.add(entry)
        return index

    def indexes(self) -> Iterable[FieldIndex]:
        return self._fields.values()

    # --- learning --------------------------------------------------------------------------------------------

    def put(self, entry: Entry, source: Key | None = None) -> bool:
        """Takes a version of an object, unless it is not newer than the known one. Says whether it was taken."""
        meta = entry.meta
        space = self._spaces.get(meta.namespace)
        if space is None:
            space = self._spaces[meta.namespace] = {}
        old = space.get(meta.name)
        if old is not None and entry.version <= old.version and (entry.version or not old.version):
            return False
        if meta.uid in self._gone:
            return False
        if self.trim is not None:
            entry = self.trim(entry)
        if entry.version > self.latest:
            self.latest = entry.version
        space[meta.name] = entry
        self._reindex(old, entry)
        self.listener(self.kind, old, entry, source)
        return True

    def drop(self, namespace: str, name: str, version: int, source: Key | None = None) -> bool:
        """Forgets an object that was deleted at `version`, unless a newer one of that name is known."""
        space = self._spaces.get(namespace)
        old = space.get(name) if space is not None else None
        if space is None or old is None or old.version > version:
            return False
        del space[name]
        if not space:
            del self._spaces[namespace]
        self._reindex(old, None)
        self.listener(self.kind, old, None, source)
        return True

    def deleted(self, entry: Entry) -> None:
        """A DELETED event."""
        self._gone.discard(entry.meta.uid)
        self.drop(entry.meta.namespace, entry.meta.name, entry.version)

    def removed(self, entry: Entry, source: Key | None = None) -> None:
        """We deleted this object and it is gone: events of it that are still on their way are ignored."""
        self._gone.add(entry.meta.uid)
        self.drop(entry.meta.namespace, entry.meta.name, entry.version, source)

    def rewind(self) -> None:
        """The server's past was replaced (its store was restored from a backup): what it says now is newer."""
        for entry in self.entries():
            entry.version = 0
            entry.verified = ""
        self._gone.clear()
        self.latest = 0

    def settle(self, listed: set[tuple[str, str]], version: int) -> None:
        """After a list: forgets what it no longer shows, unless that was written after the list's moment."""
        missing = [entry for entry in self.entries() if entry.version <= version and entry.key not in listed]
        for entry in missing:
            self.drop(*entry.key, version)
        self._gone.clear()
        self.synced = True

    def _reindex(self, old: Entry | None, new: Entry | None) -> None:
        if old is None:
            self.size += 1
        elif new is None:
            self.size -= 1
        before = owner_uid(old.meta) if old is not None else ""
        after = owner_uid(new.meta) if new is not None else ""
        if before != after:
            if before and old is not None:
                keys = self._owned[before]
                keys.discard(old.key)
                if not keys:
                    del self._owned[before]
            if after and new is not None:
                self._owned.setdefault(after, set()).add(new.key)
        for index in self._fields.values():
            if old is not None:
                index.remove(old)
            if new is not None:
                index.add(new)
