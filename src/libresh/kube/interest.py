"""Who read what: so that a change of an object brings back just the passes that looked at it.

A token says what was read:
    (kind, namespace, name)          one object, there or not
    (kind, namespace)                all of a namespace
    (kind,)                          all of a kind
    (kind, namespace | None, labels) the objects with these labels (labels: a sorted tuple of pairs)
    (kind, "=", path, value)         the objects whose field has a value
    (kind, "=", DECLARED)            all of a kind, but for their status
    (kind, namespace, name, DECLARED) one object, but for its status
    (kind, namespace, name, READY)   one object, for whether it is ready
"""

from collections.abc import Callable, Iterable, Iterator
from typing import cast

import msgspec

from libresh.kube.cache import FieldIndex, Key
from libresh.kube.objects import Entry
from libresh.ports import DECLARED, READY

Token = tuple[object, ...]
Labels = tuple[tuple[str, str], ...]


def ignore(token: Token) -> None:
    """Called when nobody reads a token any more; here nobody cares."""


class Interest:
    """Which keys depend on which tokens. A single reader is stored without a set around it: most have just one."""

    def __init__(self, unused: Callable[[Token], None] = ignore) -> None:
        self.unused = unused
        self._readers: dict[Token, Key | set[Key]] = {}
        self._tokens: dict[Key, tuple[Token, ...]] = {}
        self._selections: dict[tuple[object, ...], dict[Labels, None]] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def tokens(self, key: Key) -> tuple[Token, ...]:
        return self._tokens.get(key, ())

    def add(self, key: Key, tokens: Iterable[Token]) -> None:
        """What `key` depends on as well; the `record` that follows names it, too, or it would stay for ever."""
        for token in tokens:
            self._add(token, key)

    def record(self, key: Key, tokens: Iterable[Token]) -> None:
        """Replaces what `key` depends on."""
        before = self._tokens.get(key, ())
        after = tuple(dict.fromkeys(tokens))
        if before == after:
            return
        known = set(before)
        for token in after:
            if token not in known:
                self._add(token, key)
        wanted = set(after)
        for token in before:
            if token not in wanted:
                self._remove(token, key)
        if after:
            self._tokens[key] = after
        else:
            self._tokens.pop(key, None)

    def forget(self, key: Key) -> None:
        """`key` depends on nothing any more."""
        self.record(key, ())

    def _add(self, token: Token, key: Key) -> None:
        readers = self._readers.get(token)
        if readers is None:
            self._readers[token] = key
            if len(token) == 3 and isinstance(token[2], tuple):
                self._selections.setdefault(handle_of(token), {})[token[2]] = None
        elif isinstance(readers, set):
            readers.add(key)
        elif readers != key:
            self._readers[token] = {readers, key}

    def _remove(self, token: Token, key: Key) -> None:
        readers = self._readers.get(token)
        if isinstance(readers, set):
            readers.discard(key)
            if readers:
                return
        elif readers != key:
            return
        self._readers.pop(token, None)
        if len(token) == 3 and isinstance(token[2], tuple):
            handle = handle_of(token)
            selections = self._selections[handle]
            selections.pop(token[2], None)
            if not selections:
                del self._selections[handle]
        self.unused(token)

    def readers(self, token: Token) -> Iterator[Key]:
        """The keys that depend on a token."""
        found = self._readers.get(token)
        if isinstance(found, set):
            yield from tuple(found)
        elif found is not None:
            yield found

    def touched(
        self, kind: str, old: Entry | None, new: Entry | None, indexes: Iterable[FieldIndex] = ()
    ) -> Iterator[Key]:
        """The keys for which a change of one object matters. May name a key twice."""
        if not self._readers:
            return
        present = [entry for entry in (old, new) if entry is not None]
        namespace, name = present[-1].key
        yield from self.readers((kind, namespace, name))
        yield from self.readers((kind, namespace))
        yield from self.readers((kind,))
        if is_declared_anew(old, new):
            yield from self.readers((kind, "=", DECLARED))
            yield from self.readers((kind, namespace, name, DECLARED))
        readiness = (kind, namespace, name, READY)
        if readiness in self._readers and is_ready(old) != is_ready(new):
            yield from self.readers(readiness)
        yield from self._selecting(kind, namespace, present)
        for index in indexes:
            for value in {index.value(entry) for entry in present}:
                yield from self.readers((kind, "=", index.path, value))

    def _selecting(self, kind: str, namespace: str, present: list[Entry]) -> Iterator[Key]:
        """The keys that selected one of these states of an object by its labels."""
        pairs = {pair for entry in present for pair in entry.meta.labels.items()}
        for scope in (namespace, None):
            for handle in ((kind, scope), *((kind, scope, *pair) for pair in pairs)):
                for labels in tuple(self._selections.get(handle, ())):
                    if any(has_all(entry, labels) for entry in present):
                        yield from self.readers((kind, scope, labels))


def handle_of(token: Token) -> tuple[object, ...]:
    """By which of its labels a selection is found: the longest value says most (a name rather than a role)."""
    labels = cast("Labels", token[2])
    pair = max(labels, key=lambda item: len(item[1])) if labels else ()
    return (token[0], token[1], *pair)


def has_all(entry: Entry, labels: Labels) -> bool:
    found = entry.meta.labels
    return all(found.get(key) == value for key, value in labels)


def is_declared_anew(old: Entry | None, new: Entry | None) -> bool:
    """Whether more than the status differs, as far as metadata tells."""
    if old is None or new is None:
        return True
    before, after = old.meta, new.meta
    return (before.uid, before.generation, before.labels, before.annotations, before.deletion_timestamp) != (
        after.uid,
        after.generation,
        after.labels,
        after.annotations,
        after.deletion_timestamp,
    )


class Condition(msgspec.Struct):
    type: str
    status: str


class Status(msgspec.Struct):
    conditions: list[Condition] = []


class Body(msgspec.Struct):
    status: Status | None = None


BODY = msgspec.json.Decoder(Body)


def is_ready(entry: Entry | None) -> bool:
    """Whether an object's condition Ready is True."""
    if entry is None or entry.body is None:
        return False
    try:
        status = BODY.decode(entry.body).status
    except msgspec.MsgspecError:
        return False
    return any(
        condition.type == "Ready" and condition.status == "True" for condition in (status or Status()).conditions
    )
