"""What a cache keeps of an object: its metadata, decoded, and the rest as the bytes that came."""

from collections.abc import Mapping
from sys import intern
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from libresh.api.meta import ObjectMeta, OwnerReference, Resource
from libresh.kube.kinds import KindInfo
from libresh.plan import naming
from libresh.plan.actions import Object, Ref

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation of kubectl: the whole object once more. It is not kept."""

NOTHING = msgspec.Raw(b"")
HEADS = ("apiVersion", "kind", "metadata")


class Entry(msgspec.Struct, gc=False):
    """One cached object. `body` is the JSON of all but apiVersion, kind and metadata.

    `verified` names the wish that this very version of the object was found to fulfil. A body that is `None` was
    dropped (or never asked for): the object must be read again by whoever needs it. `view` is what was worked out of a
    large body, for those who ask again.
    """

    meta: ObjectMeta
    body: bytes | None
    version: int
    verified: str = ""
    view: Any = None

    @property
    def key(self) -> tuple[str, str]:
        return self.meta.namespace, self.meta.name


class Plain(msgspec.Struct, gc=False):
    """An object that has spec and status only, as our own and most kinds do. Errors have code and message."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: msgspec.Raw = NOTHING
    status: msgspec.Raw = NOTHING
    code: int = 0
    message: str = ""


class PlainEvent(msgspec.Struct, gc=False):
    type: str
    object: msgspec.Raw


class PlainPage(msgspec.Struct, gc=False):
    items: list[Plain] | None = None


class AnyPage(msgspec.Struct, gc=False):
    items: list[dict[str, msgspec.Raw]] | None = None


class Parts(msgspec.Struct, gc=False):
    """Spec and status, not decoded."""

    spec: msgspec.Raw = NOTHING
    status: msgspec.Raw = NOTHING


class Failure(msgspec.Struct, gc=False):
    """An ERROR event's object."""

    code: int = 0
    message: str = ""


PLAIN = msgspec.json.Decoder(Plain)
PLAIN_PAGE = msgspec.json.Decoder(PlainPage)
ANY = msgspec.json.Decoder(dict[str, msgspec.Raw])
ANY_PAGE = msgspec.json.Decoder(AnyPage)
META = msgspec.json.Decoder(ObjectMeta)
EVENT = msgspec.json.Decoder(PlainEvent)
FAILURE = msgspec.json.Decoder(Failure)
PARTS = msgspec.json.Decoder(Parts)
VALUE = msgspec.json.Decoder(dict[str, Any])
ENCODER = msgspec.json.Encoder()
CANONICAL = msgspec.json.Encoder(order="deterministic")

PLAIN_KINDS = frozenset(
    (
        *("Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim", "Service", "Ingress", "NetworkPolicy"),
        *("Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Lease"),
        *("PodDisruptionBudget", "HorizontalPodAutoscaler"),
    )
)
"""Built-in kinds without top-level fields besides spec and status."""


def share(meta: ObjectMeta) -> None:
    """Texts that many objects have are kept once, and what is never looked at not at all."""
    meta.namespace = intern(meta.namespace)
    meta.name = intern(meta.name)
    meta.uid = intern(meta.uid)
    if meta.labels:
        meta.labels = {key: intern(value) for key, value in meta.labels.items()}
    if meta.annotations:
        meta.annotations.pop(LAST_APPLIED, None)
    for reference in meta.owner_references:
        force_setattr(reference, "api_version", intern(reference.api_version))
        force_setattr(reference, "kind", intern(reference.kind))
        force_setattr(reference, "name", intern(reference.name))
        force_setattr(reference, "uid", intern(reference.uid))


def version_of(value: str) -> int:
    """A resourceVersion as the integer it is. What is none (never seen) sorts below everything."""
    return int(value) if value.isdigit() else 0


class Shape:
    """Turns the API server's bytes into entries of one kind."""

    def __init__(self, info: KindInfo, type: type[Resource] | None = None, *, metadata: bool = False) -> None:
        self.info = info
        self.type = type
        self.metadata = metadata
        self.plain = metadata or type is not None or info.kind in PLAIN_KINDS
        self._typed = None if type is None else typed_decoder(type)

    def entries(self, page: bytes) -> list[Entry]:
        """The entries of one page of a list."""
        if self.plain:
            return [self._from_plain(item) for item in PLAIN_PAGE.decode(page).items or ()]
        return [self._from_any(item) for item in ANY_PAGE.decode(page).items or ()]

    def entry(self, body: bytes | msgspec.Raw) -> Entry:
        """The entry of one object."""
        try:
            return self._from_plain(PLAIN.decode(body)) if self.plain else self._from_any(ANY.decode(body))
        except msgspec.ValidationError:
            # The API server may answer with `"labels":null` when an apply took away what it once put there.
            whole = msgspec.json.decode(body)
            metadata = {key: value for key, value in whole["metadata"].items() if value is not None}
            if metadata.keys() == whole["metadata"].keys():
                raise
            return self.entry(ENCODER.encode({**whole, "metadata": metadata}))

    def _from_plain(self, item: Plain) -> Entry:
        meta = item.metadata
        body = None
        if not self.metadata:
            # Joining copies: a Raw would keep the whole page alive.
            spec, status = bytes(item.spec) or b"null", bytes(item.status) or b"null"
            body = b'{"spec":%b,"status":%b}' % (spec, status)
        share(meta)
        return Entry(meta, body, version_of(meta.resource_version))

    def _from_any(self, item: dict[str, msgspec.Raw]) -> Entry:
        meta = META.decode(item["metadata"])
        share(meta)
        for head in HEADS:
            item.pop(head, None)
        return Entry(meta, ENCODER.encode(item), version_of(meta.resource_version))

    def typed(self, entry: Entry) -> Resource:
        """One of our own kinds, decoded. Raises msgspec.ValidationError where the stored object is not valid."""
        assert self._typed is not None
        assert self.type is not None
        assert entry.body is not None
        parts = self._typed.decode(entry.body)
        # What is null in the stored object is absent: the type's own default stands for it.
        given = {name: part for name in ("spec", "status") if (part := getattr(parts, name)) is not None}
        return self.type(api_version=self.info.api_version, kind=self.info.kind, metadata=entry.meta, **given)

    def value(self, entry: Entry) -> Object:
        """The object as JSON."""
        head = {"apiVersion": self.info.api_version, "kind": self.info.kind}
        body = VALUE.decode(entry.body) if entry.body is not None else {}
        rest = {key: value for key, value in body.items() if value is not None}
        return {**head, "metadata": msgspec.to_builtins(entry.meta), **rest}


def typed_decoder(type: type[Resource]) -> msgspec.json.Decoder[Any]:
    """Decodes the body of an own kind: `spec` and `status`, typed; where they are absent, the type's defaults."""
    fields: list[Any] = []
    for found in msgspec.structs.fields(type):
        if found.name not in ("spec", "status"):
            continue
        kind = found.type | None if found.name == "status" or not found.required else found.type
        if found.default_factory is not msgspec.NODEFAULT:
            fields.append((found.name, kind, msgspec.field(default_factory=found.default_factory)))
        elif found.default is not msgspec.NODEFAULT:
            fields.append((found.name, kind, found.default))
        else:
            fields.append((found.name, kind))
    parts = msgspec.defstruct(f"{type.__name__}Parts", fields, kw_only=True)
    return msgspec.json.Decoder(parts)


def controller_of(meta: ObjectMeta) -> OwnerReference | None:
    """The owner reference that is the controller."""
    for reference in meta.owner_references:
        if reference.controller:
            return reference
    return None


def owner_uid(meta: ObjectMeta) -> str:
    """The uid of the owner by reference or by label, or ""."""
    reference = controller_of(meta)
    return reference.uid if reference is not None else meta.labels.get(naming.OWNER_UID_LABEL, "")


def is_managed(meta: ObjectMeta) -> bool:
    """Whether libre.sh made the object."""
    return meta.labels.get(naming.MANAGED_LABEL) == naming.MANAGED_BY


def has_labels(meta: ObjectMeta, wanted: Mapping[str, str]) -> bool:
    labels = meta.labels
    return all(labels.get(key) == value for key, value in wanted.items())


def ref_of(kind: str, meta: ObjectMeta) -> Ref:
    return Ref(kind, meta.name, meta.namespace)
