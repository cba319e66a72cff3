"""The fake API server itself: its state, its doors for tests, and the way of a request through it."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from . import reads, writes
from .deletion import Deletion
from .errors import Refusal, exists, not_found
from .faults import Broken, Faults
from .kinds import Kind, builtin_kinds, custom_kinds
from .request import Answer, Request, Target, Write
from .routes import NoSuchGroup, find_target, virtual
from .store import DECODE, ENCODE, Event, Stored, Table

Object = dict[str, Any]
WRITING = frozenset({"create", "update", "patch", "apply", "delete", "deletecollection"})
JSON = {"Content-Type": "application/json"}
NOTHING_HERE = Answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})


def utc_now() -> datetime:
    return datetime.now(UTC)


class FakeApi:
    """An API server in memory. Use `serve` (server.py) to reach it over HTTP, or `call` directly.

    Everything random comes from `seed`. `clock` gives the times the server writes.
    """

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

    # --- what a test asks and does, outside of the counted requests --------------------------------------------

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object, or None."""
        stored = self.table(self.kind(kind)).get(namespace, name)
        return stored.decode() if stored else None

    def objects(self, kind: str, namespace: str = "") -> list[Object]:
        """All objects of a kind, in order."""
        return [stored.decode() for stored in self.table(self.kind(kind)).select(namespace)]

    def create(self, obj: Object, manager: str = "test") -> Object:
        """Creates an object as a person would. A status in it is set too."""
        kind, namespace, name = self.place(obj)
        made = self.do("POST", kind, namespace, "", obj, manager)
        if obj.get("status") and kind.status:
            made["status"] = obj["status"]
            made = self.do("PUT", kind, namespace, name or made["metadata"]["name"], made, manager, "status")
        return made

    def apply(self, obj: Object, manager: str = "test", *, force: bool = False, subresource: str = "") -> Object:
        """Server-side apply as a person would."""
        kind, namespace, name = self.place(obj)
        more = {"force": "true"} if force else {}
        return self.do("PATCH", kind, namespace, name, obj, manager, subresource, "application/apply-patch+yaml", more)

    def edit(self, kind: str, name: str, namespace: str = "", *, manager: str = "test", **merge: Any) -> Object:
        """Merge-patches an object: `edit("Matrix", "m", "ns", spec={...})`; `status` goes through its own door."""
        found, result = self.kind(kind), {}
        status = merge.pop("status", None)
        content = "application/merge-patch+json"
        if merge:
            result = self.do("PATCH", found, namespace, name, merge, manager, "", content)
        if status is not None:
            door = "status" if found.status else ""
            result = self.do("PATCH", found, namespace, name, {"status": status}, manager, door, content)
        return result

    def delete(self, kind: str, name: str, namespace: str = "", propagation: str = "") -> None:
        """Deletes an object as a person would."""
        options = {"propagationPolicy": propagation} if propagation else {}
        self.do("DELETE", self.kind(kind), namespace, name, options, "test")

    def place(self, obj: Object) -> tuple[Kind, str, str]:
        kind = self.kinds.get((obj["apiVersion"], obj["kind"]))
        if kind is None:
            raise KeyError(f"the fake serves no {obj['apiVersion']} {obj['kind']}: install its CRD")
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default") if kind.namespaced else ""
        return kind, namespace, metadata.get("name", "")

    def do(
        self, method: str, kind: Kind, namespace: str, name: str, body: Object, manager: str, door: str = "",
        content: str = "application/json", more: Mapping[str, str] | None = None,
    ) -> Object:
        """A request that is neither counted, journalled nor hit by faults. Raises Refusal."""
        query = {"fieldManager": manager, **(more or {})}
        request = Request(method, "", query, {"Content-Type": content}, ENCODE(body))
        target = Target(kind, namespace if kind.namespaced else "", name, door)
        journal, self.journal = self.journal, []
        try:
            answer = self.perform(request, target, target.verb(request))
        finally:
            self.journal = journal
        return reads_decode(answer.body)

    async def settle(self) -> bool:
        """Lets garbage collection, namespace deletion and controllers run until nothing is left to do.

        Returns whether anything was. Nothing of it happens by itself, unless inside `live`.
        """
        await asyncio.sleep(0)
        first = self.rv
        while True:
            before = self.rv
            self.deletion.settle()
            for step in self.controllers:
                step()
            if self.rv == before:
                return self.rv != first

    @asynccontextmanager
    async def live(self, every: float = 0.01) -> AsyncIterator[None]:
        """Settles again and again in the background, as controllers in a cluster would."""

        async def run() -> None:
            while True:
                await self.settle()
                await asyncio.sleep(every)

        task = asyncio.create_task(run())
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])

    # --- time and history --------------------------------------------------------------------------------------

    def compact(self) -> None:
        """Forgets history: watches and continue tokens from before now are too old."""
        self.snapshots.kept.clear()
        for table in self.tables.values():
            table.forget(self.rv)

    def bookmark(self) -> None:
        """Makes every watch that allows bookmarks send one."""
        for watch in self.watches:
            watch.asked = True
            watch.table.wake()

    def break_watches(self, kind: str = "", how: str = "reset") -> None:
        """Ends open watches: `reset` (connection lost), `end` (in order) or `expire` (410)."""
        for watch in list(self.watches):
            if kind in ("", watch.table.kind.kind):
                watch.ended = how
                watch.table.wake()

    def hold(self, kind: str) -> None:
        """Events of a kind are late from now on, until `release`."""
        self.held[self.kind(kind).resource] = self.rv

    def release(self, kind: str) -> None:
        """Delivers what `hold` kept back."""
        found = self.kind(kind)
        self.held.pop(found.resource, None)
        self.table(found).wake()

    def freeze_lists(self, kind: str) -> None:
        """LISTs of a kind show this moment (stale) until `thaw_lists`."""
        found = self.kind(kind)
        self.frozen[found.resource] = reads.Snapshot(self.rv, list(self.table(found).select("")))

    def thaw_lists(self) -> None:
        """LISTs are current again."""
        self.frozen.clear()

    def drop_events(self, kind: str, count: int = 1) -> None:
        """The next events of a kind never reach any watch."""
        self.lies.append((kind, count, 0))

    def repeat_events(self, kind: str, count: int = 1) -> None:
        """The next events of a kind reach every watch twice."""
        self.lies.append((kind, count, 2))

    def copies(self, kind: Kind, event: Event) -> int:
        """How often a watch tells an event."""
        return self.told.get((kind.kind, event.rv), 1) if self.told else 1

    def horizon(self, kind: Kind) -> int:
        """How far a watch of this kind may say it has seen."""
        return self.held.get(kind.resource, self.rv)

    # --- requests ----------------------------------------------------------------------------------------------

    async def call(self, request: Request) -> Answer:
        """Answers anything but a watch. Raises Broken where the connection dies."""
        if self.faults.dead:
            raise Broken("the client has crashed")
        try:
            if found := virtual(self, request):
                return found
            target = find_target(self, request)
            verb = target.verb(request)
            self.requests[verb, target.kind.kind] += 1
            await self.suffer(request, target, verb)
            if verb not in WRITING:
                return self.perform(request, target, verb)
            self.faults.count_write("before")
            answer = self.perform(request, target, verb)
            self.faults.count_write("after")
            if self.faults.find(request, target, verb, "after"):
                raise Broken("reset after the write")
            return answer
        except NoSuchGroup:
            return NOTHING_HERE
        except Refusal as refusal:
            self.refused.append((request.method, request.path, refusal.code))
            return refuse(refusal)

    async def suffer(self, request: Request, target: Target, verb: str) -> None:
        """Whatever a test planned for this request."""
        if not self.faults.active:
            return
        if slow := self.faults.find(request, target, verb, "delay"):
            await asyncio.sleep(slow.delay)
        if fault := self.faults.find(request, target, verb, "before"):
            if fault.refusal is None:
                raise Broken("reset before the request")
            raise fault.refusal

    def perform(self, request: Request, target: Target, verb: str) -> Answer:
        """Answers a request that nothing stands in the way of."""
        if verb == "get":
            return reads.get(self, request, target)
        if verb == "list":
            return reads.list_objects(self, request, target)
        if verb in ("delete", "deletecollection"):
            return self.deletion.answer(request, target, verb)
        if verb == "create":
            status, stored = 201, writes.create_from_body(self, request, target)
        elif verb == "update":
            status, stored = writes.replace_from_body(self, request, target)
        else:
            status, stored = writes.patch(self, request, target)
        return Answer(status, stored.meta() if request.partial else stored.raw, JSON)

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
        found = self.get("StorageClass", claim["spec"].get("storageClassName", ""))
        if not (found or {}).get("allowVolumeExpansion"):
            why = ("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                   "support resize")
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
            Write(target.verb(request), target.kind.kind, target.namespace, name, target.subresource,
                  request.manager, rv, changed)
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
        stored = self.seal(target, writes.ordered(obj), request.dry)
        if not request.dry:
            table.put(stored)
            self.publish(target.kind)
            self.deletion.learn(target.kind, stored)
            self.note(request, target, name, stored.rv, True)
            if target.kind.kind == "CustomResourceDefinition":
                self.install(obj)
        return stored

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
    causes = [{"reason": "NamespaceTerminating", "message": f"namespace {target.namespace} is being terminated",
               "field": "metadata.namespace"}]
    return Refusal(403, "Forbidden", message, {"kind": kind.plural, "causes": causes})


def reads_decode(body: bytes) -> Object:
    """An answer's body as JSON."""
    return DECODE(body)


def refuse(refusal: Refusal) -> Answer:
    """A refusal as an answer."""
    headers = dict(JSON)
    if seconds := (refusal.details or {}).get("retryAfterSeconds"):
        headers["Retry-After"] = str(seconds)
    return Answer(refusal.code, ENCODE(refusal.status), headers)


__all__ = ["FakeApi"]
