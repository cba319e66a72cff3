"""The state of the fake: kinds, tables, the counter of versions, and the ways into the store."""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from . import reads
from .deletion import Deletion
from .errors import Refusal, exists, not_found
from .faults import Faults
from .kinds import Kind, builtin_kinds, custom_kinds
from .request import Request, Target, Write
from .store import Stored, Table
from .writes import ordered

Object = dict[str, Any]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Storage:
    """Stores objects; knows nothing of HTTP. Everything random comes from `seed`."""

    def __init__(
        self,
        *,
        crds: Iterable[Mapping[str, Any]] = (),
        seed: int = 1,
        clock: Callable[[], datetime] = utc_now,
        strict_namespaces: bool = False,
        bookmark_every: float = 60.0,
    ) -> None:
        self.clock = clock
        self.strict_namespaces = strict_namespaces
        self.bookmark_every = bookmark_every
        self.rv = 1
        self.faults = Faults()
        self.journal: list[Write] = []
        self.requests: Counter[tuple[str, str]] = Counter()
        self.refused: list[tuple[str, str, int]] = []
        self.snapshots = reads.Snapshots()
        self.watches: set[reads.Watch] = set()
        self.frozen: dict[tuple[str, str], reads.Snapshot] = {}
        self.held: dict[tuple[str, str], int] = {}
        self.lies: list[tuple[str, int, int]] = []
        self.told: dict[tuple[str, int], int] = {}
        self.kinds: dict[tuple[str, str], Kind] = {}
        self.tables: dict[tuple[str, str], Table] = {}
        self.deletion = Deletion(self)
        self.controllers: list[Callable[[], None]] = []
        self.programs: Callable[[str, str, bytes], bytes] | None = None
        """What answers in place of programs in pods (exec): from namespace, pod and input, over HTTP only."""
        """What `settle` runs besides garbage collection, for example Workloads."""
        self.random = random.Random(seed)
        self.addresses = 0
        for kind in builtin_kinds():
            self.register(kind)
        for crd in crds:
            self.install(crd)

    # --- kinds -------------------------------------------------------------------------------------------------

    def register(self, kind: Kind) -> None:
        """Serves a kind."""
        self.kinds[kind.api_version, kind.kind] = kind
        self.tables.setdefault(kind.resource, Table(kind))

    def install(self, crd: Mapping[str, Any]) -> None:
        """Serves the kinds of a CustomResourceDefinition."""
        for kind in custom_kinds(crd):
            self.register(kind)

    def kind(self, name: str) -> Kind:
        """A kind by its name alone, `Name.group`, or `group/version/Name`."""
        for (api_version, kind_name), kind in self.kinds.items():
            if name in (kind_name, f"{kind_name}.{kind.group}", f"{api_version}/{kind_name}"):
                return kind
        raise KeyError(f"the fake serves no kind {name}: install its CRD")

    def table(self, kind: Kind) -> Table:
        return self.tables[kind.resource]

    # --- storing -----------------------------------------------------------------------------------------------

    def timestamp(self) -> str:
        return self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")

    def uid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def suffix(self) -> str:
        return "".join(self.random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))

    def address(self) -> str:
        """The next service address."""
        self.addresses += 1
        return f"10.96.{self.addresses // 250}.{self.addresses % 250 + 1}"

    def keep_cluster_ip(self, old: Object, new: Object) -> None:
        """A service keeps its address when a writer leaves it out."""
        if new["kind"] == "Service" and isinstance(old.get("spec"), dict):
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if key in old["spec"]:
                    new["spec"].setdefault(key, old["spec"][key])

    def require_expansion(self, target: Target, claim: Object) -> None:
        """Refuses to grow a claim whose storage class does not say that it can."""
        found = self.tables["storage.k8s.io", "storageclasses"].get("", claim["spec"].get("storageClassName", ""))
        if found is None or not found.decode().get("allowVolumeExpansion"):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )
            message = f'persistentvolumeclaims "{target.name}" is forbidden: {why}'
            raise Refusal(403, "Forbidden", message, {"name": target.name, "kind": "persistentvolumeclaims"})

    def require_namespace(self, target: Target) -> None:
        """Refuses new content in namespaces that end (or, if strict, that do not exist)."""
        if not target.kind.namespaced:
            return
        found = self.tables["", "namespaces"].get("", target.namespace)
        if found is None:
            if self.strict_namespaces:
                raise not_found("namespaces", "", target.namespace)
            return
        if b'"deletionTimestamp"' in found.raw and found.decode()["metadata"].get("deletionTimestamp"):
            raise terminating(target)

    def note(self, request: Request, target: Target, name: str, rv: int, changed: bool) -> None:
        """Writes one line of the journal."""
        self.journal.append(
            Write(
                target.verb(request),
                target.kind.kind,
                target.namespace,
                name,
                target.subresource,
                request.manager,
                rv,
                changed,
            )
        )

    def seal(self, target: Target, obj: Object, dry: bool) -> Stored:
        """The object with the next resource version."""
        if not dry:
            self.rv += 1
        obj["metadata"] = arranged(obj["metadata"], str(self.rv))
        if dry and not self.table(target.kind).get(target.namespace, obj["metadata"]["name"]):
            del obj["metadata"]["resourceVersion"]
        return Stored(self.table(target.kind).key(target.namespace, obj["metadata"]["name"]), obj, self.rv)

    def insert(self, target: Target, obj: Object, request: Request) -> Stored:
        """Stores a new object, or refuses if there is one."""
        table, name = self.table(target.kind), obj["metadata"]["name"]
        if (there := table.get(target.namespace, name)) is not None:
            ending = "deletionTimestamp" in there.decode()["metadata"]
            raise exists(target.kind.plural, target.kind.group, name, ending=ending)
        stored = self.seal(target, ordered(obj), request.dry)
        if not request.dry:
            table.put(stored)
            self.publish(target.kind)
            self.deletion.learn(target.kind, stored)
            self.note(request, target, name, stored.rv, True)
            if target.kind.kind == "CustomResourceDefinition":
                self.install(obj)
        return stored

    def load(self, objects: Iterable[Object]) -> None:
        """Stores many new objects fast, as they are: no defaults, no checks, no owners of fields."""
        for obj in objects:
            kind = self.kinds[obj["apiVersion"], obj["kind"]]
            metadata = {"creationTimestamp": self.timestamp(), "uid": self.uid(), **obj["metadata"]}
            if kind.generation:
                metadata.setdefault("generation", 1)
            target = Target(kind, metadata.get("namespace", ""), metadata["name"])
            stored = self.seal(target, {**ordered(obj), "metadata": metadata}, dry=False)
            self.table(kind).put(stored)
            self.deletion.learn(kind, stored)

    def unchanged(self, target: Target, stored: Stored, request: Request) -> Stored:
        """Notes a write that asked for what already was."""
        if not request.dry:
            self.note(request, target, stored.name, stored.rv, False)
        return stored

    def replace(self, target: Target, before: Stored, new: Object, request: Request | None = None) -> Stored:
        """Stores a changed object; one that is being deleted and has lost its last finaliser goes."""
        dry = request is not None and request.dry
        stored = self.seal(target, new, dry)
        if dry:
            return stored
        metadata = new["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and not lives_on(new):
            self.table(target.kind).drop(stored)
            self.deletion.forget(target.kind, before)
        else:
            self.table(target.kind).put(stored)
            self.deletion.learn(target.kind, stored, before)
        self.publish(target.kind)
        if request is not None:
            self.note(request, target, stored.name, stored.rv, True)
        return stored

    def remove(self, target: Target, before: Stored) -> Stored:
        """Removes an object from the store."""
        stored = self.seal(target, before.decode(), False)
        self.table(target.kind).drop(stored)
        self.deletion.forget(target.kind, before)
        self.publish(target.kind)
        return stored

    def publish(self, kind: Kind) -> None:
        """Decides how often watches tell the newest event, where a test planned for it."""
        for index, (name, count, copies) in enumerate(self.lies):
            if name == kind.kind:
                self.told[name, self.rv] = copies
                self.lies[index] = (name, count - 1, copies)
                if count <= 1:
                    del self.lies[index]
                return


def arranged(metadata: Object, rv: str) -> Object:
    """Metadata in a steady order, managedFields last."""
    fields = metadata.pop("managedFields", None)
    found = {**metadata, "resourceVersion": rv}
    if fields:
        found["managedFields"] = fields
    return found


def lives_on(obj: Object) -> bool:
    """Namespaces have finalisers in their spec; pods on a node end when the node says so."""
    if obj["kind"] == "Namespace":
        return bool((obj.get("spec") or {}).get("finalizers"))
    return bool(obj["kind"] == "Pod" and obj["metadata"].get("deletionGracePeriodSeconds"))


def terminating(target: Target) -> Refusal:
    """Nothing new comes into a namespace that ends."""
    kind = target.kind
    why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
    message = f'{kind.plural}{"." + kind.group if kind.group else ""} "{target.name}" is forbidden: {why}'
    causes = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {target.namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return Refusal(403, "Forbidden", message, {"kind": kind.plural, "causes": causes})
