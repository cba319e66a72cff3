"""What is stored: encoded objects by key, one counter of resource versions, and the history that watches read."""

import asyncio
import bisect
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from .kinds import Kind

ENCODE = msgspec.json.Encoder(order=None).encode
DECODE: Callable[[bytes], dict[str, Any]] = msgspec.json.Decoder(dict[str, Any]).decode
META_HEAD: Final = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":'


class MetaOnly(msgspec.Struct, gc=False):
    """The metadata of an object as it stands, undecoded."""

    metadata: msgspec.Raw


META = msgspec.json.Decoder(MetaOnly).decode


class Stored:
    """One object as of one write. Never changed: a write puts another in its place."""

    __slots__ = ("key", "labels", "name", "namespace", "owners", "raw", "restless", "rv", "uid")

    def __init__(self, key: str, obj: dict[str, Any], rv: int) -> None:
        metadata = obj["metadata"]
        self.key = key
        self.rv = rv
        self.restless = False
        """Stored with an empty part that reading leaves out: the next write stores even if it changes nothing."""
        self.raw: bytes = ENCODE(obj)
        self.name: str = metadata["name"]
        self.namespace: str = metadata.get("namespace", "")
        self.uid: str = metadata["uid"]
        self.labels: dict[str, str] = metadata.get("labels") or {}
        self.owners = tuple(owner["uid"] for owner in metadata.get("ownerReferences") or ())

    def decode(self) -> dict[str, Any]:
        """A fresh copy of the object."""
        return DECODE(self.raw)

    def item(self, head: int) -> bytes:
        """As it stands in a list; `head` bytes of apiVersion and kind are left out."""
        return b"{" + self.raw[head:] if head else self.raw

    def meta(self) -> bytes:
        """As PartialObjectMetadata."""
        return META_HEAD + bytes(META(self.raw).metadata) + b"}"


class Event:
    """One change, as watches see it."""

    __slots__ = ("before", "rv", "stored", "type")

    def __init__(self, type: str, stored: Stored, before: Stored | None) -> None:
        self.type, self.stored, self.before = type, stored, before
        self.rv = stored.rv


class Table:
    """All objects of one kind, and their history."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.objects: dict[str, Stored] = {}
        self.keys: list[str] = []
        self.history: list[Event] = []
        self.base = 0
        """How many events were forgotten."""
        self.oldest = 0
        """Watches from before this resource version are too old."""
        self.waiting: set[asyncio.Future[None]] = set()
        head = ENCODE({"apiVersion": kind.api_version, "kind": kind.kind})
        self.head = 0 if kind.custom else len(head)

    def key(self, namespace: str, name: str) -> str:
        return f"{namespace}/{name}" if self.kind.namespaced else name

    def get(self, namespace: str, name: str) -> Stored | None:
        return self.objects.get(self.key(namespace, name))

    def put(self, stored: Stored) -> None:
        """Stores a new or changed object and tells the watches."""
        before = self.objects.get(stored.key)
        if before is None:
            bisect.insort(self.keys, stored.key)
        self.objects[stored.key] = stored
        self.tell(Event("MODIFIED" if before else "ADDED", stored, before))

    def drop(self, last: Stored) -> None:
        """Removes an object; `last` is how it looked, with the resource version of the removal."""
        before = self.objects.pop(last.key)
        del self.keys[bisect.bisect_left(self.keys, last.key)]
        self.tell(Event("DELETED", last, before))

    def tell(self, event: Event) -> None:
        self.history.append(event)
        self.wake()

    def wake(self) -> None:
        """Lets every watch look again."""
        waiting, self.waiting = self.waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def changed(self) -> None:
        """Waits until something was told."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.add(future)
        try:
            await future
        finally:
            self.waiting.discard(future)

    def select(self, namespace: str) -> Iterator[Stored]:
        """The objects of a namespace (empty: of all), in the order of their keys."""
        if not (namespace and self.kind.namespaced):
            for key in self.keys:
                yield self.objects[key]
            return
        first = bisect.bisect_left(self.keys, f"{namespace}/")
        last = bisect.bisect_left(self.keys, f"{namespace}0")
        for key in self.keys[first:last]:
            yield self.objects[key]

    def since(self, rv: int) -> int:
        """The position in history of the first event after `rv`."""
        return self.base + bisect.bisect_right(self.history, rv, key=lambda event: event.rv)

    def forget(self, rv: int) -> None:
        """Compacts: watches from before `rv` are too old from now on."""
        kept = self.since(rv) - self.base
        self.history = self.history[kept:]
        self.base += kept
        self.oldest = max(self.oldest, rv)


__all__ = ["DECODE", "ENCODE", "Event", "Stored", "Table"]
