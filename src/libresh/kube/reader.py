"""What one pass may look at, and the memory of what it did look at."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from libresh.api.meta import Resource
from libresh.errors import LibreshError
from libresh.kube.cache import Cache, Key
from libresh.kube.cluster import Cluster
from libresh.kube.errors import Pending
from libresh.kube.foreign import OURS
from libresh.kube.interest import Token
from libresh.kube.objects import Entry, has_labels, owner_uid
from libresh.kube.views import secret_view
from libresh.plan import naming
from libresh.plan.actions import Object, Ref, Theirs
from libresh.ports import COMPOSED, DECLARED, SecretView

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Resource)


class InvalidObject(LibreshError):
    """A stored object is not what its type says."""


class PassReader:
    """Reads through the caches for one pass of `key`; `tokens` is what the pass turned out to depend on so far."""

    def __init__(self, cluster: Cluster, key: Key, uid: str, allowed: frozenset[str]) -> None:
        self.cluster = cluster
        self.key = key
        self.uid = uid
        self.allowed = allowed
        self.tokens: list[Token] = []
        self.count = 0
        """How many objects were looked at."""
        self._foreign: list[tuple[str, str, str, str]] = []
        self._now: datetime | None = None

    @property
    def now(self) -> datetime:
        """The time of this pass: the same however often one asks."""
        if self._now is None:
            self._now = self.cluster.clock()
        return self._now

    def _cache(self, kind: str) -> Cache:
        if kind not in self.allowed:
            raise self._undeclared(kind)
        return self.cluster.cache(kind)

    def _undeclared(self, kind: str) -> LibreshError:
        return LibreshError(
            "kind-not-declared",
            f"The reconciler of {self.key[0]} reads {kind} without saying so",
            f"add Watched({kind!r}) to its watches: RBAC is made from them",
        )

    def _note(self, kind: str, namespace: str, name: str, entry: Entry | None, aspects: Sequence[str] = ()) -> None:
        self.count += 1
        # The object itself and its children bring us back anyway: they need no record.
        if (kind, namespace, name) == self.key:
            return
        if entry is None or owner_uid(entry.meta) != self.uid:
            parts: list[Token] = [(kind, namespace, name, aspect) for aspect in aspects]
            self._depend(*(parts or [(kind, namespace, name)]))

    def _depend(self, *tokens: Token) -> None:
        """From now on, not only from the end of the pass: what changes while it goes on is not missed."""
        self.tokens += tokens
        self.cluster.interest.add(self.key, tokens)

    async def get(self, ref: Ref, *, foreign: bool = False) -> Object | None:
        """The object as JSON, or None. With `foreign` also one that libre.sh did not make."""
        if ref.kind == "Secret":
            raise LibreshError("secret-by-get", f"{ref} is read by get()", "use secret(): values are never shown")
        if naming.parse_composed_kind(ref.kind) is not None:
            return await self._composed(ref)
        cache = self._cache(ref.kind)
        entry = cache.get(ref.namespace, ref.name)
        self._note(ref.kind, ref.namespace, ref.name, entry)
        if entry is None and foreign and cache.selector:
            entry = await self._look(ref.kind, ref.namespace, ref.name)
            return None if entry is None else cache.shape.value(entry)
        if entry is None:
            return None
        cache.keep_bodies = True
        return cache.shape.value(await self.cluster.whole(ref.kind, entry))

    async def secret(self, namespace: str, name: str, *, ours: bool = False, among: str = "") -> SecretView | None:
        """A Secret's keys and digest, or None. `ours`: its coming into being needs no watch of its own."""
        cache = self._cache("Secret")
        entry = cache.get(namespace, name)
        self._note("Secret", namespace, name, entry)
        if entry is None and cache.selector:
            entry = await self._look("Secret", namespace, name, ours=ours, among=among)
        if entry is None:
            return None
        return secret_view(await self.cluster.whole("Secret", entry))

    async def _composed(self, ref: Ref) -> Object | None:
        """An object of a kind that is only known from classes. While the kind is not served there is none.

        One that is others' is only for information: where there is no right to read it nothing is known of it.
        """
        if COMPOSED not in self.allowed:
            raise self._undeclared(COMPOSED)
        theirs = isinstance(ref, Theirs)
        try:
            entry = await self.cluster.composed.look(ref)
        except Pending:
            if not theirs:
                raise
            return None
        self._note(ref.kind, ref.namespace, ref.name, None)
        if ref.kind not in self.cluster.kinds:
            return None
        self._foreign.append((ref.kind, ref.namespace, ref.name, "" if theirs else OURS))
        return None if entry is None else self.cluster.composed.value(ref.kind, entry)

    async def _look(self, kind: str, namespace: str, name: str, *, ours: bool = False, among: str = "") -> Entry | None:
        entry = await self.cluster.foreign.look(kind, namespace, name, among=among, ours=ours)
        if entry is not None or not ours:
            self._foreign.append((kind, namespace, name, among))
        return entry

    async def load(self, type: type[T], name: str, namespace: str = "", *, only: Sequence[str] = ()) -> T | None:
        """One of our own kinds, decoded, or None. `only`: the aspects of it whose change matters."""
        kind = type.KIND.kind
        cache = self._cache(kind)
        entry = cache.get(namespace, name)
        self._note(kind, namespace, name, entry, only)
        return None if entry is None else typed(cache, entry)  # type: ignore[return-value]

    async def list(self, type: type[T], namespace: str | None = None) -> Sequence[T]:
        """All of one of our own kinds, sorted by namespace and name."""
        kind = type.KIND.kind
        cache = self._cache(kind)
        self._depend((kind,) if namespace is None else (kind, namespace))
        return self._typed(cache, cache.entries(namespace))

    async def declared(self, type: type[T]) -> Sequence[T]:
        """All of one of our own kinds, for what people declared: changes of their status do not matter."""
        kind = type.KIND.kind
        cache = self._cache(kind)
        self._depend((kind, "=", DECLARED))
        return self._typed(cache, cache.entries())

    async def find(self, type: type[T], path: str, value: str) -> Sequence[T]:
        """All of one of our own kinds whose field at `path` (such as spec.host) is `value`, by an index."""
        kind = type.KIND.kind
        cache = self._cache(kind)
        self._depend((kind, "=", path, value))
        return self._typed(cache, cache.find(path, value))

    def _typed(self, cache: Cache, entries: Iterable[Entry]) -> Sequence[T]:
        found: list[T] = []
        for entry in sorted(entries, key=key_of):
            self.count += 1
            try:
                found.append(typed(cache, entry))  # type: ignore[arg-type]
            except InvalidObject as error:
                log.warning("left out of a list: %s", error)
        return found

    async def owned(self, kind: str, owner: Resource) -> Sequence[Object]:
        """The objects of `kind` whose controller is `owner`, sorted by name."""
        cache = self._cache(kind)
        uid = owner.metadata.uid
        if uid != self.uid:
            self._depend((kind, owner.metadata.namespace) if owner.metadata.namespace else (kind,))
        return await self._values(cache, cache.owned(uid))

    async def select(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> Sequence[Object]:
        """Objects of a watched kind by labels, sorted."""
        cache = self._cache(kind)
        self._depend((kind, namespace, tuple(sorted(labels.items()))))
        found = [entry for entry in cache.entries(namespace) if has_labels(entry.meta, labels)]
        return await self._values(cache, found)

    async def _values(self, cache: Cache, entries: Iterable[Entry]) -> Sequence[Object]:
        if cache.kind == "Secret":
            raise LibreshError("secret-by-get", "Secrets are read by select() or owned()", "use secret()")
        cache.keep_bodies = True
        return [cache.shape.value(await self.cluster.whole(cache.kind, entry)) for entry in sorted(entries, key=key_of)]

    def remember(self) -> None:
        """At the end of the pass: this is what the object depends on from now on."""
        self.cluster.record(self.key, self.tokens)
        self.cluster.drop_needless(self.tokens)
        for kind, namespace, name, among in self._foreign:
            cache = self.cluster.caches.get(kind)
            if cache is None or cache.get(namespace, name) is None:
                self.cluster.foreign.keep(kind, namespace, name, among)
            else:
                self.cluster.foreign.forget((kind, namespace, name))


def key_of(entry: Entry) -> tuple[str, str]:
    return entry.key


def typed(cache: Cache, entry: Entry) -> Resource:
    """An entry of one of our own kinds, decoded; InvalidObject where it does not fit its type."""
    try:
        return cache.shape.typed(entry)
    except msgspec.MsgspecError as error:
        meta = entry.meta
        where = f"{cache.kind} {meta.namespace}/{meta.name}" if meta.namespace else f"{cache.kind} {meta.name}"
        raise InvalidObject("invalid-object", f"{where} is not valid: {error}", "correct that field") from error
