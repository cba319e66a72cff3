"""Who owns which field: what updates and server-side applies do to metadata.managedFields and to the object.

After Kubernetes' field manager: an apply owns what it says, takes away what it said before and no longer says
(unless another applier says it), and conflicts with other owners of a value it changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .fieldset import FieldSet, Path, printed
from .schema import Node
from .typed import Comparison, compare, equal, fields_of, merge, remove, with_named

Object = dict[str, Any]

STRIPPED = FieldSet.decode(
    {
        "f:apiVersion": {},
        "f:kind": {},
        "f:metadata": {
            ".": {},
            "f:name": {},
            "f:namespace": {},
            "f:creationTimestamp": {},
            "f:selfLink": {},
            "f:uid": {},
            "f:clusterName": {},
            "f:generation": {},
            "f:managedFields": {},
            "f:resourceVersion": {},
        },
    }
)
"""Fields nobody owns."""
MAX_UPDATERS = 10


@dataclass(frozen=True, slots=True)
class Identity:
    """One line of managedFields is one of these. Appliers keep their line when the version changes."""

    manager: str
    operation: str
    version: str
    subresource: str

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Identity":
        version = entry["apiVersion"] if entry["operation"] == "Update" else ""
        return cls(entry["manager"], entry["operation"], version, entry.get("subresource", ""))

    def __str__(self) -> str:
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class Share:
    """What one manager owns, in which version it said so, and when."""

    fields: FieldSet
    version: str
    time: str = ""


Managers = dict[Identity, Share]


class Conflicts(Exception):
    """An apply without force would change what others own."""

    def __init__(self, found: list[tuple[Identity, Path]]) -> None:
        self.found = found
        super().__init__(self.text())

    def text(self) -> str:
        if len(self.found) == 1:
            owner, path = self.found[0]
            return f"Apply failed with 1 conflict: conflict with {owner}: {printed(path)}"
        by_owner: dict[str, list[str]] = {}
        for owner, path in self.found:
            by_owner.setdefault(str(owner), []).append(f"- {printed(path)}")
        lines = [line for owner in sorted(by_owner) for line in (f"conflicts with {owner}:", *by_owner[owner])]
        return f"Apply failed with {len(self.found)} conflicts: " + "\n".join(lines)

    def causes(self) -> list[dict[str, str]]:
        return [
            {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": printed(path)}
            for owner, path in self.found
        ]


def read_managers(entries: Any) -> Managers | None:
    """The managers of an object, or None where what is written cannot be read."""
    try:
        return {
            Identity.of(entry): Share(
                FieldSet.decode(entry.get("fieldsV1") or {}), entry["apiVersion"], entry.get("time", "")
            )
            for entry in entries or ()
        }
    except (KeyError, TypeError, AttributeError):
        return None


def write_managers(managers: Managers) -> list[Object]:
    """managedFields as the server writes it: appliers first, then by time."""
    ordered = sorted(
        managers.items(), key=lambda m: (m[0].operation, m[1].time, m[0].manager, m[1].version, m[0].subresource)
    )
    entries = []
    for identity, share in ordered:
        entry = {
            "manager": identity.manager,
            "operation": identity.operation,
            "apiVersion": share.version,
            "time": share.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": share.fields.encode(),
        }
        if identity.subresource:
            entry["subresource"] = identity.subresource
        entries.append(entry)
    return entries


def without_managers(obj: Object) -> Object:
    """The object as fields are counted in it."""
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


@dataclass(frozen=True, slots=True)
class Write:
    """Who writes, through which door, at what time. `reset`: fields this door cannot change."""

    manager: str
    version: str
    now: str
    subresource: str = ""
    reset: FieldSet = field(default_factory=FieldSet)
    force: bool = False

    def identity(self, operation: str) -> Identity:
        version = self.version if operation == "Update" else ""
        return Identity(self.manager, operation, version, self.subresource)


def settle(managers: Managers, changes: Comparison, writer: Identity | None, force: bool) -> Managers:
    """Takes what changed away from everybody else, or raises Conflicts."""
    touched = changes.modified.union(changes.added)
    conflicts = [
        (identity, path)
        for identity, share in managers.items()
        if identity != writer
        for path in share.fields.intersection(touched)
    ]
    if conflicts and not force:
        raise Conflicts(conflicts)
    lost = touched.union(changes.removed)
    kept: Managers = {}
    for identity, share in managers.items():
        if identity == writer:
            kept[identity] = share
        elif left := share.fields.difference(lost):
            kept[identity] = replace(share, fields=left)
    return kept


def filtered(changes: Comparison, reset: FieldSet) -> Comparison:
    """The changes without fields this door cannot change."""
    if not reset:
        return changes
    return Comparison(changes.removed.without(reset), changes.modified.without(reset), changes.added.without(reset))


def update(node: Node, old: Object, new: Object, managers: Managers, write: Write) -> Managers:
    """The managers after an ordinary write turned `old` into `new`."""
    changes = filtered(compare(node, without_managers(old), without_managers(new)), write.reset)
    kept = settle(dict(managers), changes, None, force=True)
    mine = changes.modified.union(changes.added).difference(STRIPPED)
    if mine:
        me = write.identity("Update")
        before = kept.get(me)
        kept[me] = Share(before.fields.union(mine) if before else mine, write.version, write.now)
    return cap(kept)


def cap(managers: Managers) -> Managers:
    """At most ten updaters are told apart: the oldest of a version are merged."""
    updaters = sorted((m for m in managers if m.operation == "Update"), key=lambda m: (managers[m].time, m.manager))
    first: dict[str, Identity] = {}
    excess = len(updaters) - MAX_UPDATERS
    for identity in updaters:
        if excess <= 0:
            break
        share = managers[identity]
        bucket = Identity("ancient-changes", "Update", share.version, "")
        if share.version not in first:
            first[share.version] = identity
            continue
        if bucket not in managers:
            managers[bucket] = managers.pop(first[share.version])
        managers[bucket] = Share(managers[bucket].fields.union(share.fields), share.version, share.time)
        del managers[identity]
        excess -= 1
    return managers


def apply(node: Node, live: Object, wanted: Object, managers: Managers, write: Write) -> tuple[Object, Managers, bool]:
    """The object and its managers after an apply of `wanted`, and whether the object changed."""
    me = write.identity("Apply")
    live = without_managers(live)
    merged = merge(node, live, wanted)
    last = managers.get(me)
    said = fields_of(node, wanted).without(write.reset)
    managers = {**managers, me: Share(said, write.version, last.time if last else "")}
    if last and last.fields.difference(said):
        merged = take_back(node, merged, managers, last.fields)
    changes = filtered(compare(node, live, merged), write.reset)
    managers = settle(managers, changes, me, write.force)
    mine = managers[me].fields.difference(STRIPPED)
    changed = not equal(live, merged)
    if not mine:
        del managers[me]
    else:
        managers[me] = Share(mine, write.version, write.now if changed else managers[me].time)
    return merged, managers, changed


def take_back(node: Node, merged: Object, managers: Managers, last: FieldSet) -> Object:
    """Removes what this applier said last time and nobody says now."""
    named_last = with_named(node, last)
    pruned = remove(node, merged, named_last)
    owned = FieldSet()
    for share in managers.values():
        owned = owned.union(share.fields)
    everything = with_named(node, fields_of(node, merged))
    kept = with_named(node, fields_of(node, pruned)).union(with_named(node, owned))
    pruned = remove(node, merged, everything.difference(kept))
    left = with_named(node, fields_of(node, pruned))
    result: Object = remove(node, merged, everything.difference(left).intersection(named_last))
    return result


__all__ = ["Conflicts", "Managers", "Write", "apply", "read_managers", "update", "write_managers"]
