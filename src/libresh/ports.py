"""What the core may ask of the world while it looks: reading only, so that a reconciler cannot write by mistake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from libresh.api.meta import ObjectMeta, Resource
from libresh.plan.actions import Object, Ref
from libresh.plan.decision import Decision

T = TypeVar("T", bound=Resource)

DECLARED = "declared"
"""An aspect of an object: all but its status."""
READY = "ready"
"""An aspect of an object: whether it is Ready."""
COMPOSED = "*"
"""In place of a kind: those that are only known from classes. Of their objects only those are watched that bear our
label; a Ref names such a kind as `naming.composed_kind` does. The rights to them are the cluster operator's to give."""


class SecretView(msgspec.Struct, frozen=True, gc=False):
    """A Secret as the core may see it: which keys it has and whether they changed, never their values."""

    metadata: ObjectMeta
    type: str
    keys: frozenset[str]
    digest: str
    """Changes when a value changes. Keyed with the uid of its owner or its own, so that equal values do not show."""


class Reader(Protocol):
    """Reads the cluster through caches. What was read is remembered, and its change brings the reader back."""

    @property
    def now(self) -> datetime:
        """The time of this pass, aware, UTC."""

    async def get(self, ref: Ref, *, foreign: bool = False) -> Object | None:
        """The object as JSON (managedFields left out), or None. Not for Secrets: `secret` shows what may be seen.

        Of kinds watched as `managed` only what libre.sh made is found. With `foreign` anybody's object of that name
        is: it is read once and from then on watched alone.
        """

    async def secret(self, namespace: str, name: str, *, ours: bool = False, among: str = "") -> SecretView | None:
        """A Secret's keys and digest, or None; also of Secrets that are not ours (each is then watched alone).

        `ours`: one that libre.sh makes. While it is absent nobody else is expected to make it, so that is not watched.
        `among`: the label (`key=value`) that all such Secrets bear, where that is known: one watch serves all of them.
        """

    async def load(self, type: type[T], name: str, namespace: str = "", *, only: Sequence[str] = ()) -> T | None:
        """One of our own kinds, decoded, or None.

        `only` (of DECLARED, READY): the aspects whose change matters. Where many read one object, whatever else
        changes in it would wake all of them.
        """

    async def list(self, type: type[T], namespace: str | None = None) -> Sequence[T]:
        """All of one of our own kinds (`namespace=None`: everywhere), sorted by namespace and name."""

    async def declared(self, type: type[T]) -> Sequence[T]:
        """As `list`, for those who care for what people declared: a change of a status does not bring them back."""

    async def find(self, type: type[T], path: str, value: str) -> Sequence[T]:
        """All of one of our own kinds whose text at `path` (such as spec.host) is `value`, by an index.

        Where every object asks about all others of its kind, `list` would wake all of them at every change.
        """

    async def owned(self, kind: str, owner: Resource) -> Sequence[Object]:
        """The objects of `kind` whose controller is `owner`, sorted by name."""

    async def select(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> Sequence[Object]:
        """Objects of a watched kind by labels, sorted: of kinds watched as `managed`, only what libre.sh made."""


@dataclass(frozen=True)
class Watched:
    """A kind a reconciler reads or writes, and how much of it is kept.

    `managed`: only objects labelled app.kubernetes.io/managed-by=libresh are cached (all of it for what we make);
    otherwise all objects of the kind, as metadata only when `metadata` is set.
    """

    kind: str
    writes: bool = False
    managed: bool = True
    metadata: bool = False
    verbs: tuple[str, ...] = field(default=())
    """More RBAC verbs than reading (get, list, watch) and writing (create, patch, delete) give."""


class Reconciler(Protocol, Generic[T]):
    """One kind: what it is, what it touches, how it looks and how it decides."""

    type: type[T]
    watches: tuple[Watched, ...]
    finalizer: bool
    """Whether deletion must pass through `decide` (a finaliser is set before the first effect)."""

    async def observe(self, obj: T, reader: Reader) -> Any:
        """Reads only. Returns a frozen value: everything `decide` may know."""

    def decide(self, obj: T, seen: Any) -> Decision:
        """Pure: the same object and the same seen give the same decision."""
