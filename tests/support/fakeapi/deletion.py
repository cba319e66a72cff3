"""The end of objects: finalisers, propagation to dependants, garbage collection, and the end of namespaces."""

from typing import TYPE_CHECKING, Any

from .errors import about, invalid, not_found, unlike
from .intake import decode
from .kinds import RETURNS_DELETED, Kind
from .reads import filter_for, list_objects
from .request import Answer, Request, Target
from .schema import Complaint
from .store import ENCODE, Stored
from .writes import PROTECTION

if TYPE_CHECKING:
    from .api import FakeApi

Object = dict[str, Any]
JSON = {"Content-Type": "application/json"}
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
Place = tuple[tuple[str, str], str]
"""A kind's resource and an object's key."""


class Deletion:
    """Deletes objects, and afterwards what depended on them when `settle` is called."""

    def __init__(self, api: "FakeApi") -> None:
        self.api = api
        self.dependants: dict[str, set[Place]] = {}
        self.living: dict[str, Place] = {}
        self.doubtful: set[Place] = set()
        """Objects whose owners must be looked for."""
        self.ending: set[Place] = set()
        """Objects with one of the collector's finalisers, and namespaces that end."""

    # --- bookkeeping -------------------------------------------------------------------------------------------

    def learn(self, kind: Kind, stored: Stored, before: Stored | None = None) -> None:
        """Remembers who depends on whom."""
        place = (kind.resource, stored.key)
        self.living[stored.uid] = place
        for uid in before.owners if before else ():
            self.dependants.get(uid, set()).discard(place)
        for uid in stored.owners:
            self.dependants.setdefault(uid, set()).add(place)
        if any(uid not in self.living for uid in stored.owners):
            self.doubtful.add(place)
        if b'"deletionTimestamp"' in stored.raw:
            metadata = stored.decode()["metadata"]
            if metadata.get("deletionTimestamp"):
                self.ending.add(place)

    def forget(self, kind: Kind, stored: Stored) -> None:
        """An object is gone: its dependants become doubtful."""
        place = (kind.resource, stored.key)
        self.living.pop(stored.uid, None)
        self.ending.discard(place)
        for uid in stored.owners:
            self.dependants.get(uid, set()).discard(place)
        self.doubtful |= self.dependants.get(stored.uid, set())

    def at(self, place: Place) -> Stored | None:
        return self.api.tables[place[0]].objects.get(place[1])

    def target(self, place: Place, stored: Stored) -> Target:
        return Target(self.api.tables[place[0]].kind, stored.namespace, stored.name)

    # --- the verb ----------------------------------------------------------------------------------------------

    def answer(self, request: Request, target: Target, verb: str) -> Answer:
        """DELETE of one object or of a collection."""
        if verb == "deletecollection":
            return self.answer_collection(request, target)
        stored = self.api.table(target.kind).get(target.namespace, target.name)
        kind = target.kind
        if stored is None:
            raise not_found(kind.plural, kind.group, target.name)
        options = decode(request.body, "the options") if request.body else {}
        policy = options.get("propagationPolicy") or request.query.get("propagationPolicy", "")
        if policy not in ("", "Foreground", "Background", "Orphan"):
            text = f'Unsupported value: "{policy}": supported values: "Foreground", "Background", "Orphan", "nil"'
            raise invalid(
                "DeleteOptions", "meta.k8s.io", "", [Complaint("FieldValueNotSupported", "propagationPolicy", text)]
            )
        self.check(target, stored, options or {})
        last, gone = stored, b'"finalizers"' not in stored.raw
        if not request.dry:
            last, gone = self.end(target, stored, policy, options.get("gracePeriodSeconds"))
            self.api.note(request, target, target.name, last.rv, last is not stored)
        if not gone or (kind.kind in RETURNS_DELETED and not kind.custom):
            return Answer(200, last.raw, JSON)
        details = about(kind.plural, kind.group, target.name, uid=stored.uid)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return Answer(200, ENCODE(status), JSON)

    def answer_collection(self, request: Request, target: Target) -> Answer:
        """Deletes everything a list would show, and answers with that list."""
        shown = list_objects(self.api, request, target)
        fits = filter_for(request, target) or (lambda stored: True)
        options = decode(request.body, "the options") if request.body else {}
        policy = options.get("propagationPolicy") or request.query.get("propagationPolicy", "")
        for stored in [s for s in self.api.table(target.kind).select(target.namespace) if fits(s)]:
            each = Target(target.kind, stored.namespace, stored.name)
            last, _ = self.end(each, stored, policy, None)
            self.api.note(request, each, stored.name, last.rv, last is not stored)
        return shown

    def check(self, target: Target, stored: Stored, options: Object) -> None:
        """Preconditions."""
        kind, wanted = target.kind, options.get("preconditions") or {}
        pairs = (
            ("UID", wanted.get("uid"), stored.uid),
            ("ResourceVersion", wanted.get("resourceVersion"), str(stored.rv)),
        )
        for what, asked, found in pairs:
            if asked and asked != found:
                raise unlike(kind.kind, kind.group, target.name, what, asked, found)

    def end(self, target: Target, stored: Stored, policy: str, grace: int | None = None) -> tuple[Stored, bool]:
        """Deletes one object: at once, or by marking it where finalisers (or a node) must agree. Whether it went."""
        obj = stored.decode()
        metadata = obj["metadata"]
        finalizers = [name for name in metadata.get("finalizers", ()) if name not in (FOREGROUND, ORPHAN)]
        if not policy:
            policy = "Orphan" if target.kind.orphans and not target.kind.custom else "Background"
            finalizers = list(metadata.get("finalizers", ())) or finalizers
        if policy == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        elif policy == "Orphan" and ORPHAN not in finalizers:
            finalizers.append(ORPHAN)
        seconds = grace_of(target.kind, obj, grace)
        if not finalizers and not seconds and target.kind.kind != "Namespace":
            return self.api.remove(target, stored), True
        marked = bool(metadata.get("deletionTimestamp"))
        if marked and finalizers == metadata.get("finalizers", []) and target.kind.kind != "Pod":
            return stored, False
        if not marked:
            metadata["deletionTimestamp"] = self.api.timestamp()
            metadata["deletionGracePeriodSeconds"] = seconds
            if metadata.get("generation"):
                metadata["generation"] += 1
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        if target.kind.kind == "Namespace":
            obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
        return self.api.replace(target, stored, obj), False

    # --- afterwards --------------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Collects until nothing changes. Whether anything did."""
        first = self.api.rv
        while True:
            before = self.api.rv
            for place in sorted(self.ending):
                self.finish(place)
            doubtful, self.doubtful = self.doubtful, set()
            for place in sorted(doubtful):
                self.collect(place)
            if self.api.rv == before and not self.doubtful:
                return self.api.rv != first

    def collect(self, place: Place) -> None:
        """Deletes an object none of whose owners lives; forgets dead owners of others."""
        stored = self.at(place)
        if stored is None or not stored.owners:
            return
        alive = [uid for uid in stored.owners if self.is_owner(uid, stored)]
        obj = stored.decode()
        if not alive:
            if not obj["metadata"].get("deletionTimestamp"):
                self.end(self.target(place, stored), stored, "Background")
            return
        if len(alive) < len(stored.owners):
            obj["metadata"]["ownerReferences"] = [
                owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] in alive
            ]
            self.api.replace(self.target(place, stored), stored, obj)

    def is_owner(self, uid: str, dependant: Stored) -> bool:
        """Whether an owner lives where it can own: in the same namespace, or in none."""
        place = self.living.get(uid)
        owner = self.at(place) if place else None
        return owner is not None and owner.uid == uid and owner.namespace in ("", dependant.namespace)

    def finish(self, place: Place) -> None:
        """Takes an ending object one step further."""
        stored = self.at(place)
        if stored is None:
            self.ending.discard(place)
            return
        target = self.target(place, stored)
        if target.kind.kind == "Namespace":
            self.finish_namespace(target, stored)
        obj = stored.decode()
        finalizers = obj["metadata"].get("finalizers", [])
        waiting = [found for found in sorted(self.dependants.get(stored.uid, ())) if self.at(found)]
        if PROTECTION in finalizers and target.kind.kind == "PersistentVolumeClaim":
            self.release(target, stored, PROTECTION)
        elif ORPHAN in finalizers:
            for each in waiting:
                self.disown(each, stored.uid)
            self.release(target, stored, ORPHAN)
        elif FOREGROUND in finalizers:
            blocking = [each for each in waiting if self.blocks(each, stored.uid)]
            for each in waiting:
                self.end_dependant(each)
            if not blocking:
                self.release(target, stored, FOREGROUND)

    def blocks(self, place: Place, uid: str) -> bool:
        """Whether a dependant holds up its owner's end."""
        stored = self.at(place)
        owners = stored.decode()["metadata"].get("ownerReferences", ()) if stored else ()
        return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)

    def end_dependant(self, place: Place) -> None:
        """Deletes a dependant of an object that ends in the foreground."""
        stored = self.at(place)
        if stored and b'"deletionTimestamp"' not in stored.raw:
            has_own = any(self.at(found) for found in self.dependants.get(stored.uid, ()))
            self.end(self.target(place, stored), stored, "Foreground" if has_own else "Background")

    def disown(self, place: Place, uid: str) -> None:
        """Removes an owner from a dependant."""
        stored = self.at(place)
        if stored is None:
            return
        obj = stored.decode()
        left = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
        obj["metadata"]["ownerReferences"] = left
        if not left:
            del obj["metadata"]["ownerReferences"]
        self.api.replace(self.target(place, stored), stored, obj)

    def release(self, target: Target, stored: Stored, finalizer: str) -> None:
        """Removes one of the collector's finalisers."""
        obj = stored.decode()
        left = [name for name in obj["metadata"]["finalizers"] if name != finalizer]
        obj["metadata"]["finalizers"] = left
        if not left:
            del obj["metadata"]["finalizers"]
        self.api.replace(target, stored, obj)

    def finish_namespace(self, target: Target, stored: Stored) -> None:
        """Deletes what is in an ending namespace, then the namespace."""
        left = 0
        for table in self.api.tables.values():
            if not table.kind.namespaced:
                continue
            for each in list(table.select(stored.name)):
                obj = each.decode()
                if not obj["metadata"].get("deletionTimestamp"):
                    self.end(Target(table.kind, each.namespace, each.name), each, "Background")
            left += sum(1 for _ in table.select(stored.name))
        if left:
            return
        obj = stored.decode()
        if obj.get("spec", {}).pop("finalizers", None) is not None:
            self.api.replace(target, stored, obj)


def grace_of(kind: Kind, obj: Object, asked: int | None) -> int:
    """How long the server waits: only pods on a node get time."""
    if kind.kind != "Pod" or kind.custom or not (obj.get("spec") or {}).get("nodeName"):
        return 0
    if asked is not None:
        return asked
    return int(obj["spec"].get("terminationGracePeriodSeconds", 30))


__all__ = ["Deletion"]
