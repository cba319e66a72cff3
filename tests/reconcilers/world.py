"""A world in a dictionary: what a reconciler reads, and what its decisions make of it. It never fails and never waits.

It imitates no defaulting, no validation and no garbage collection: the API server's part is tested against one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from libresh.api.conditions import conditions_for, merge
from libresh.api.meta import Condition, ObjectMeta, Resource
from libresh.plan.actions import Apply, Delete, Mint, Object, Ref, Release
from libresh.plan.decision import Decision
from libresh.ports import Reconciler, SecretView

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """Objects by reference; also the Reader."""

    def __init__(self) -> None:
        self.objects: dict[Ref, Object] = {}
        self.secrets: dict[Ref, Mint] = {}
        self.writes: list[str] = []
        self.made = 0

    # --- reading ---------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return NOW

    async def get(self, ref: Ref, *, foreign: bool = False) -> Object | None:
        return self.objects.get(ref)

    async def secret(self, namespace: str, name: str, *, ours: bool = False, among: str = "") -> SecretView | None:
        mint = self.secrets.get(Ref("Secret", name, namespace))
        if mint is None:
            return None
        meta = msgspec.convert(mint.metadata, ObjectMeta)
        digest = hashlib.sha256(f"{meta.uid}{sorted(map(repr, mint.values.items()))}".encode()).hexdigest()
        return SecretView(meta, mint.type, frozenset(mint.values), digest)

    async def load(self, type: type[Any], name: str, namespace: str = "", *, only: Sequence[str] = ()) -> Any:
        found = self.objects.get(Ref(type.KIND.kind, name, namespace))
        return None if found is None else msgspec.convert(found, type)

    async def list(self, type: type[Any], namespace: str | None = None) -> Sequence[Any]:
        refs = sorted(ref for ref in self.objects if ref.kind == type.KIND.kind)
        found = [msgspec.convert(self.objects[ref], type) for ref in refs]
        return [each for each in found if namespace in (None, each.namespace)]

    async def declared(self, type: type[Any]) -> Sequence[Any]:
        return await self.list(type)

    async def find(self, type: type[Any], path: str, value: str) -> Sequence[Any]:
        def at(obj: Object) -> Any:
            here: Any = obj
            for step in path.split("."):
                here = here.get(step) if isinstance(here, dict) else None
            return here

        refs = sorted(ref for ref, obj in self.objects.items() if ref.kind == type.KIND.kind and at(obj) == value)
        return [msgspec.convert(self.objects[ref], type) for ref in refs]

    async def owned(self, kind: str, owner: Resource) -> Sequence[Object]:
        refs = sorted(
            ref for ref, obj in self.objects.items() if ref.kind == kind and owner_of(obj) == owner.metadata.uid
        )
        return [self.objects[ref] for ref in refs]

    async def select(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> Sequence[Object]:
        refs = sorted(ref for ref in self.objects if ref.kind == kind and namespace in (None, ref.namespace))
        found = [self.objects[ref] for ref in refs]
        return [each for each in found if labels.items() <= each["metadata"].get("labels", {}).items()]

    # --- what people and other controllers do ----------------------------------------------------------------

    def put(self, obj: Object) -> Ref:
        """Stores an object as if somebody had created or edited it."""
        meta = obj["metadata"]
        ref = Ref(obj["kind"], meta["name"], meta.get("namespace", ""))
        old = self.objects.get(ref)
        self.made += 1
        meta.setdefault("uid", old["metadata"]["uid"] if old else f"uid-{self.made}")
        generation = old["metadata"]["generation"] + (old.get("spec") != obj.get("spec")) if old else 1
        meta["generation"] = generation
        meta.setdefault("creationTimestamp", old["metadata"]["creationTimestamp"] if old else f"2026-01-{self.made:02}")
        status = {"status": old["status"]} if old and "status" in old and "status" not in obj else {}
        self.objects[ref] = obj | status
        return ref

    def edit(self, ref: Ref, **spec: Any) -> None:
        """Changes fields of the spec; None takes one out."""
        obj = self.objects[ref]
        changed = {**obj.get("spec", {}), **spec}
        self.put({**obj, "spec": {key: value for key, value in changed.items() if value is not None}})

    def give_secret(self, name: str, keys: Sequence[str], namespace: str = "acme", **labels: str) -> None:
        """A Secret that somebody made."""
        self.made += 1
        metadata = {"name": name, "namespace": namespace, "uid": f"uid-{self.made}", "labels": labels}
        self.secrets[Ref("Secret", name, namespace)] = Mint(metadata, {key: msgspec.UNSET for key in keys})  # type: ignore[misc]

    def mark(self, ref: Ref, *, ready: bool = True, **status: Any) -> None:
        """Sets an object's status."""
        obj = self.objects[ref]
        generation = obj["metadata"]["generation"]
        condition = {"type": "Ready", "status": str(ready), "observedGeneration": generation, "reason": "Told"}
        self.objects[ref] = {**obj, "status": {"conditions": [condition], **status}}

    def roll_out(self) -> None:
        """Every Deployment runs what it says, every Job is complete."""
        for ref, obj in self.objects.items():
            if ref.kind == "Deployment":
                count = obj["spec"]["replicas"]
                counts = {key: count for key in ("replicas", "readyReplicas", "updatedReplicas")}
                obj["status"] = {"observedGeneration": obj["metadata"]["generation"], **counts}
            if ref.kind == "Job":
                obj["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}

    def remove(self, ref: Ref) -> None:
        self.objects.pop(ref, None)
        self.secrets.pop(ref, None)

    # --- doing -----------------------------------------------------------------------------------------------

    async def once(self, reconciler: Reconciler[Any], ref: Ref, *, stop_after: int | None = None) -> Decision | None:
        """One pass. `stop_after`: the operator dies after that many writes."""
        if ref not in self.objects:
            return None
        obj = msgspec.convert(self.objects[ref], reconciler.type)
        decision = reconciler.decide(obj, await reconciler.observe(obj, self))
        before = len(self.writes)
        for action in decision.actions:
            self.perform(action, ref)
            if stop_after is not None and len(self.writes) - before >= stop_after:
                return decision
        if decision.prune:
            self.prune(reconciler, obj, decision)
        if ref in self.objects:
            self.report(ref, decision)
        return decision

    def perform(self, action: Any, ref: Ref) -> None:
        match action:
            case Apply(object=wanted):
                self.apply(wanted)
            case Mint():
                self.mint(action)
            case Delete(ref=gone):
                if gone in self.objects or gone in self.secrets:
                    self.writes.append(f"delete {gone}")
                self.remove(gone)
            case Release():
                self.writes.append(f"release {ref}")
                self.remove(ref)

    def apply(self, wanted: Object) -> None:
        meta = wanted["metadata"]
        ref = Ref(wanted["kind"], meta["name"], meta.get("namespace", ""))
        old = self.objects.get(ref)
        if old is not None and all(same(old.get(key), value) for key, value in wanted.items()):
            return
        self.writes.append(f"apply {ref}")
        self.put(msgspec.convert(msgspec.to_builtins(wanted), dict[str, Any]))

    def mint(self, mint: Mint) -> None:
        old = self.secrets.get(mint.ref)
        if old is not None and old.values == mint.values:
            return
        self.writes.append(f"mint {mint.ref}")
        self.made += 1
        uid = old.metadata["uid"] if old else f"uid-{self.made}"
        self.secrets[mint.ref] = Mint(mint.metadata | {"uid": uid}, mint.values, mint.type)

    def prune(self, reconciler: Reconciler[Any], obj: Resource, decision: Decision) -> None:
        kinds = {watched.kind for watched in reconciler.watches if watched.writes}
        wanted = {
            Ref(a.object["kind"], a.object["metadata"]["name"], a.object["metadata"].get("namespace", ""))
            for a in decision.actions
            if isinstance(a, Apply)
        } | {a.ref for a in decision.actions if isinstance(a, Mint)}
        for ref in [r for r, each in self.objects.items() if r.kind in kinds and owner_of(each) == obj.metadata.uid]:
            if ref not in wanted:
                self.writes.append(f"prune {ref}")
                self.remove(ref)
        made = [ref for ref, mint in self.secrets.items() if owner_of({"metadata": mint.metadata}) == obj.metadata.uid]
        for ref in made if "Secret" in kinds else ():
            if ref not in wanted:
                self.writes.append(f"prune {ref}")
                self.remove(ref)

    def report(self, ref: Ref, decision: Decision) -> None:
        obj = self.objects[ref]
        old = msgspec.convert(obj.get("status", {}).get("conditions", []), list[Condition])
        extras = conditions_for(decision.outcome, decision.conditions)
        merged = merge(old, extras, generation=obj["metadata"]["generation"], now=NOW)
        status = {**decision.status, "conditions": msgspec.to_builtins(merged)}
        if status != {key: value for key, value in obj.get("status", {}).items() if key != "observedGeneration"}:
            self.writes.append(f"status {ref}")
            self.objects[ref] = {**obj, "status": status}


def same(old: Any, wanted: Any) -> bool:
    """Whether all that is wanted is there already."""
    if isinstance(wanted, Mapping):
        return isinstance(old, Mapping) and all(same(old.get(key), value) for key, value in wanted.items())
    return bool(old == wanted)


def owner_of(obj: Object) -> str:
    """The uid of an object's controller."""
    return next((o["uid"] for o in obj["metadata"].get("ownerReferences", ()) if o.get("controller")), "")


__all__ = ["NOW", "World", "owner_of"]
