"""Objects of kinds that are only known from classes (a composition's): found, applied and deleted one by one.

No cache holds such a kind as a whole: what bears our label is watched (`foreign.py`), and only while some pass asks for
one of them. The API server says by discovery where it serves the kind; while it does not, that is asked again by
those who wait for it. Such objects have no owner: labels say for which claim they are kept, and no other is touched.
"""

import logging
import time
from datetime import timedelta

from libresh.api.meta import ObjectMeta
from libresh.errors import Conflict, LibreshError
from libresh.kube.cache import Key
from libresh.kube.client import Client
from libresh.kube.compare import difference
from libresh.kube.errors import NotFound, NotOurs, Pending, Refused
from libresh.kube.foreign import OURS, Foreign
from libresh.kube.kinds import KindInfo
from libresh.kube.objects import ENCODER, Entry, Shape, is_managed
from libresh.plan import naming
from libresh.plan.actions import Object, Ref

log = logging.getLogger(__name__)

KIND_MISSING = "KindMissing"
NO_RIGHTS = "NoRights"
TERMINATING = "Terminating"
LOOK_AGAIN = timedelta(seconds=30)
"""How soon it is noticed that a kind is served, or that a right was given: nothing tells."""
FORGET = 10.0
"""Seconds for which it is remembered that a kind is not served, however many ask."""
FORBIDDEN = 403


class Composed:
    """Everything the cluster layer does with such objects."""

    def __init__(self, client: Client, foreign: Foreign) -> None:
        self.client = client
        self.foreign = foreign
        self._missing: dict[str, float] = {}
        self._tolerated: dict[tuple[str, str, str], str] = {}

    async def kind(self, name: str) -> KindInfo | None:
        """Where a kind is served, or None while it is not. `name`: as `naming.composed_kind` makes it."""
        if name in self.client.kinds:
            return self.client.kinds[name]
        if time.monotonic() - self._missing.get(name, -FORGET) < FORGET:
            return None
        parsed = naming.parse_composed_kind(name)
        if parsed is None:
            raise LibreshError("kind-unknown", f"The kind {name} is not known")
        info = await self.client.find_kind(*parsed)
        if info is None:
            self._missing[name] = time.monotonic()
            return None
        if not info.namespaced:
            raise LibreshError(
                "kind-not-namespaced",
                f"{parsed[0]} {parsed[1]} is a cluster-wide kind: a composition makes objects in namespaces only",
                "compose another kind",
            )
        self._missing.pop(name, None)
        self.client.kinds.put(name, info)
        return info

    async def look(self, ref: Ref) -> Entry | None:
        """The object, or None."""
        if await self.kind(ref.kind) is None:
            return None
        try:
            return await self.foreign.look(ref.kind, ref.namespace, ref.name, among=OURS)
        except Refused as error:
            raise self._refused(ref, error) from error

    def value(self, kind: str, entry: Entry) -> Object:
        """An entry as JSON."""
        return Shape(self.client.kinds[kind]).value(entry)

    # --- writing ---------------------------------------------------------------------------------------------

    async def apply(self, wish: Object, wanted: str, owner: Key) -> bool:
        """Makes the object as wished, if it is not. `wanted` is the digest of the wish."""
        meta = wish["metadata"]
        kind = naming.composed_kind(wish["apiVersion"], wish["kind"])
        ref = Ref(kind, meta["name"], meta["namespace"])
        if await self.kind(kind) is None:
            raise self._missing_kind(ref)
        entry = self.foreign.known(kind, ref.namespace, ref.name, OURS) or await self._find(ref, owner)
        key = (kind, ref.namespace, ref.name)
        if entry is not None:
            check_kept(entry.meta, ref, owner)
            if entry.meta.deletion_timestamp is not None:
                raise Pending(TERMINATING, f"{ref} is being deleted; it is made anew as soon as it is gone")
            if entry.meta.annotations.get(naming.APPLIED_ANNOTATION) == wanted:
                found = difference(wish, self.value(kind, entry))
                if found is None or self._tolerated.get(key) == f"{wanted} {found[0]}":
                    return False
                log.info("%s drifted at %s: applying again", ref, found[0])
        annotations = {**(meta.get("annotations") or {}), naming.APPLIED_ANNOTATION: wanted}
        await self._send(ref, {**wish, "metadata": {**meta, "annotations": annotations}}, wish, wanted, owner)
        return True

    async def _find(self, ref: Ref, owner: Key) -> Entry | None:
        """The object as it is now: what no watch of ours shows may be there all the same, made by somebody else."""
        try:
            body = await self.client.read(ref.kind, ref.name, ref.namespace)
        except Refused as error:
            raise self._refused(ref, error) from error
        entry = None if body is None else Shape(self.client.kinds[ref.kind]).entry(body)
        if entry is not None and not is_kept(entry.meta, owner) and self.foreign.notice(ref.kind, entry):
            raise Conflict("stale", f"{ref} exists: the pass that would make it did not see that")
        return entry

    async def _send(self, ref: Ref, marked: Object, wish: Object, wanted: str, owner: Key) -> None:
        key = (ref.kind, ref.namespace, ref.name)
        try:
            answer = await self.client.apply_raw(ref.kind, ref.name, ref.namespace, ENCODER.encode(marked))
        except NotFound as error:
            raise Pending(KIND_MISSING, f"{error.message}: its kind or its namespace is gone", LOOK_AGAIN) from error
        except Refused as error:
            raise self._refused(ref, error) from error
        fresh = Shape(self.client.kinds[ref.kind]).entry(answer)
        found = difference(wish, self.value(ref.kind, fresh))
        if found is not None:
            # The server makes something else of it. Sending it again would change nothing.
            log.info("%s stays different at %s after it was applied", ref, found[0])
            self._tolerated[key] = f"{wanted} {found[0]}"
        else:
            self._tolerated.pop(key, None)
        self.foreign.learn(ref.kind, fresh, owner)

    async def delete(self, ref: Ref, owner: Key, uid: str = "") -> bool:
        """Deletes an object that was made for this owner."""
        entry = await self.look(ref)
        if entry is None or entry.meta.deletion_timestamp is not None or (uid and entry.meta.uid != uid):
            return False
        check_kept(entry.meta, ref, owner)
        try:
            await self.client.delete(ref.kind, ref.name, ref.namespace, uid=entry.meta.uid)
        except Refused as error:
            raise self._refused(ref, error) from error
        return True

    # --- saying what is wrong ----------------------------------------------------------------------------------

    def _missing_kind(self, ref: Ref) -> Pending:
        parsed = naming.parse_composed_kind(ref.kind)
        api_version, kind = parsed or ("", ref.kind)
        return Pending(
            KIND_MISSING,
            f"The cluster serves no {kind} of {api_version}: install the operator that does; it is noticed within "
            f"{LOOK_AGAIN.total_seconds():.0f} seconds",
            LOOK_AGAIN,
        )

    def _refused(self, ref: Ref, error: Refused) -> LibreshError:
        """What the API server's no means: a right that is missing can be given, and that is noticed."""
        if error.code != FORBIDDEN:
            return error
        info = self.client.kinds[ref.kind]
        return Pending(
            NO_RIGHTS,
            f"The operator has no right to work with {info.plural} of {info.group}: give it with a ClusterRole that "
            f'has the label {naming.RIGHTS_LABEL}: "true" ({error.message})',
            LOOK_AGAIN,
        )


def is_kept(meta: ObjectMeta, owner: Key) -> bool:
    """Whether an object was made for this owner, or one of its name before it."""
    kind, namespace, name = owner
    kept = (meta.labels.get(naming.KEPT_FOR_LABEL), meta.labels.get(naming.KEPT_IN_LABEL))
    return is_managed(meta) and kept == (naming.owner_value(kind, name), namespace)


def check_kept(meta: ObjectMeta, ref: Ref, owner: Key) -> None:
    """Raises NotOurs for what was not made for this owner, or one of its name before it."""
    kind, namespace, name = owner
    if not is_kept(meta, owner):
        raise NotOurs(
            f"{ref} exists and was not made for {kind} {namespace}/{name}",
            "it is left alone: rename or delete it, or give the claim another name",
        )


__all__ = ["KIND_MISSING", "LOOK_AGAIN", "NO_RIGHTS", "Composed", "check_kept"]
