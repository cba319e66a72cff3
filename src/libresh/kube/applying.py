"""Performs the effects a decision names: applies only what differs, never takes over what is not ours, prunes."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from libresh.api.meta import ObjectMeta
from libresh.errors import Conflict, LibreshError
from libresh.kube.cache import Cache, Key
from libresh.kube.cluster import Cluster
from libresh.kube.compare import Difference, difference
from libresh.kube.errors import NotFound, NotOurs, Pending
from libresh.kube.minting import Minter
from libresh.kube.objects import CANONICAL, ENCODER, META, Entry, controller_of, has_labels, is_managed
from libresh.kube.reader import PassReader
from libresh.kube.strangers import Strangers
from libresh.plan import naming
from libresh.plan.actions import Action, Apply, Byproduct, Delete, Mint, Object, Ref, Release
from libresh.ports import COMPOSED

log = logging.getLogger(__name__)

TERMINATING = "Terminating"
UNTOUCHED = ".1"
"""Ends the mark of an object that was made by the apply it marks. While its generation is 1, nobody has changed more
than its metadata and status since, and the rest need not be compared."""


@dataclass(frozen=True, slots=True)
class Owner:
    """On whose behalf effects are performed."""

    key: Key
    uid: str
    reader: PassReader
    writes: frozenset[str]
    """The kinds the reconciler said it writes."""


class DeleteAnswer(msgspec.Struct, gc=False):
    """What the API server says to a delete: a Status, or the object if it is still there."""

    kind: str = ""
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


DELETE_ANSWER = msgspec.json.Decoder(DeleteAnswer)


def digest(wish: Object) -> str:
    """What the wish is, in a word."""
    return hashlib.blake2b(CANONICAL.encode(wish), digest_size=16).hexdigest()


class Performer:
    """The only one who writes to the cluster for reconcilers."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.minter = Minter(cluster)
        self.strangers = Strangers(cluster.client)
        self._tolerated: dict[Key, str] = {}

    async def perform(self, action: Action, owner: Owner) -> bool:
        """Performs one effect. Says whether anything had to be written."""
        match action:
            case Apply(object=wish):
                return await self.apply(wish, owner)
            case Delete(ref=ref, uid=uid):
                return await self.delete(ref, owner, uid=uid)
            case Mint():
                self._declared("Secret", owner)
                return await self.minter.mint(action, owner.reader, lambda meta: check_ours(meta, action.ref, owner))
            case Release():
                return await self.release(owner)

    def _declared(self, kind: str, owner: Owner) -> None:
        if kind not in owner.writes:
            raise LibreshError(
                "kind-not-declared",
                f"The reconciler of {owner.key[0]} writes {kind} without saying so",
                f"add Watched({kind!r}, writes=True) to its watches: RBAC is made from them",
            )

    # --- apply -----------------------------------------------------------------------------------------------

    async def apply(self, wish: Object, owner: Owner) -> bool:
        """Makes the object as wished, if it is not."""
        wish = labelled(wish)
        if self._is_composed(wish, owner):
            return await self.cluster.composed.apply(wish, digest(wish), owner.key)
        kind = self.client.kinds.name_of(wish["apiVersion"], wish["kind"])
        self._declared(kind, owner)
        meta = wish["metadata"]
        ref = Ref(kind, meta["name"], meta.get("namespace", ""))
        cache = self.cluster.cache(kind)
        wanted = digest(wish)
        entry = cache.get(ref.namespace, ref.name)
        if entry is not None and entry.verified == wanted:
            return False
        if entry is None:
            await self._check_absent(ref, owner)
        else:
            check_ours(entry.meta, ref, owner)
            mark = entry.meta.annotations.get(naming.APPLIED_ANNOTATION, "")
            if mark.partition(".")[0] == wanted:
                found = await self._drift(wish, cache, entry, mark)
                if found is None or self._tolerated.get((kind, *entry.key)) == signature(wanted, found):
                    self._verified(cache, entry, wanted)
                    return False
                log.info("%s drifted at %s: applying again", ref, found[0])
        await self._send(wish, ref, wanted, new=entry is None)
        return True

    def _is_composed(self, wish: Object, owner: Owner) -> bool:
        """Whether the object is of a kind that only classes know."""
        if COMPOSED not in owner.writes:
            return False
        name = naming.composed_kind(wish["apiVersion"], wish["kind"])
        try:
            return self.client.kinds.name_of(wish["apiVersion"], wish["kind"]) == name
        except LibreshError:
            return naming.parse_composed_kind(name) is not None

    async def _drift(self, wish: Object, cache: Cache, entry: Entry, mark: str) -> Difference | None:
        """The first thing about an object we applied that is not as wished any more."""
        meta = difference(wish["metadata"], msgspec.to_builtins(entry.meta), "metadata")
        if meta is not None or (mark.endswith(UNTOUCHED) and entry.meta.generation == 1):
            return meta
        whole = await self.cluster.whole(cache.kind, entry)
        return difference(wish, cache.shape.value(whole))

    async def _send(self, wish: Object, ref: Ref, wanted: str, *, new: bool) -> None:
        meta = wish["metadata"]
        mark = wanted + UNTOUCHED if new else wanted
        annotations = {**(meta.get("annotations") or {}), naming.APPLIED_ANNOTATION: mark}
        body = ENCODER.encode({**wish, "metadata": {**meta, "annotations": annotations}})
        try:
            answer = await self.client.apply_raw(ref.kind, ref.name, ref.namespace, body)
        except Conflict:
            await self.cluster.refresh_object(ref.kind, ref.namespace, ref.name)
            raise
        cache = self.cluster.cache(ref.kind)
        self.cluster.learn(ref.kind, answer)
        entry = cache.get(ref.namespace, ref.name)
        if entry is None:
            return
        found = difference(wish, cache.shape.value(await self.cluster.whole(ref.kind, entry)))
        key = (ref.kind, ref.namespace, ref.name)
        if found is not None:
            # The server (or a webhook) makes something else of it. Sending it again would change nothing.
            log.info("%s stays different at %s after it was applied", ref, found[0])
            self._tolerated[key] = signature(wanted, found)
        else:
            self._tolerated.pop(key, None)
        self._verified(cache, entry, wanted)

    def _verified(self, cache: Cache, entry: Entry, wanted: str) -> None:
        """This version fulfils the wish; where nobody reads bodies, the body need not be kept."""
        entry.verified = wanted
        if not cache.keep_bodies:
            entry.body = None

    async def _check_absent(self, ref: Ref, owner: Owner) -> None:
        """What our caches do not hold may exist all the same, made by somebody else."""
        cache = self.cluster.cache(ref.kind)
        if not cache.selector and cache.synced:
            return
        entry = await self.strangers.find(ref.kind, ref.namespace, ref.name)
        if entry is not None:
            check_ours(entry.meta, ref, owner)

    # --- delete ----------------------------------------------------------------------------------------------

    async def delete(self, ref: Ref, owner: Owner, *, uid: str = "") -> bool:
        """Deletes an object of ours, if it is the one that was seen."""
        if COMPOSED in owner.writes and naming.parse_composed_kind(ref.kind) is not None:
            return await self.cluster.composed.delete(ref, owner.key, uid)
        self._declared(ref.kind, owner)
        if isinstance(ref, Byproduct):
            return await self._delete_byproduct(ref)
        cache = self.cluster.cache(ref.kind)
        entry = cache.get(ref.namespace, ref.name)
        if entry is None or entry.meta.deletion_timestamp is not None or (uid and entry.meta.uid != uid):
            return False
        if not is_managed(entry.meta) and not is_child(entry, owner):
            raise NotOurs(f"{ref} was not made by libre.sh", "it is left alone: delete it yourself if you want to")
        try:
            answer = await self.client.delete(
                ref.kind,
                ref.name,
                ref.namespace,
                uid=entry.meta.uid,
                propagation="Background",
            )
        except Conflict:
            await self.cluster.refresh_object(ref.kind, ref.namespace, ref.name)
            raise
        self._learn_deletion(ref, entry, answer)
        return True

    async def _delete_byproduct(self, ref: Byproduct) -> bool:
        """Our caches hold what we label; what software of ours made is asked for by its name."""
        entry = await self.strangers.find(ref.kind, ref.namespace, ref.name)
        if entry is None or not has_labels(entry.meta, dict(ref.labels)):
            return False
        await self.client.delete(ref.kind, ref.name, ref.namespace, uid=entry.meta.uid)
        return True

    def _learn_deletion(self, ref: Ref, entry: Entry, answer: bytes | None) -> None:
        cache = self.cluster.cache(ref.kind)
        if answer is not None:
            found = DELETE_ANSWER.decode(answer)
            if found.kind != "Status" and META.decode(found.metadata).deletion_timestamp is not None:
                self.cluster.learn(ref.kind, answer)
                return
        current = cache.get(ref.namespace, ref.name)
        if current is not None and current.meta.uid == entry.meta.uid:
            cache.removed(current)

    async def prune(self, owner: Owner, kinds: Iterable[str], keep: set[Key]) -> int:
        """Deletes the owner's children that are not among `keep`."""
        count = 0
        for kind in kinds:
            for entry in self.cluster.cache(kind).owned(owner.uid):
                if (kind, *entry.key) not in keep and entry.meta.deletion_timestamp is None:
                    ref = Ref(kind, entry.meta.name, entry.meta.namespace)
                    log.info("%s is no longer wanted: deleting it", ref)
                    count += await self.delete(ref, owner, uid=entry.meta.uid)
        return count

    # --- finaliser -------------------------------------------------------------------------------------------

    async def hold(self, key: Key) -> bool:
        """Sets our finaliser, if it is not there."""
        return await self._finalize(key, hold=True)

    async def release(self, owner: Owner) -> bool:
        """Takes our finaliser away, as a reconciler decided."""
        return await self._finalize(owner.key, hold=False)

    async def drop_finalizer(self, key: Key) -> bool:
        """Takes our finaliser away where no reconciler asks for it any more."""
        return await self._finalize(key, hold=False)

    async def _finalize(self, key: Key, *, hold: bool) -> bool:
        kind, namespace, name = key
        cache = self.cluster.cache(kind)
        entry = cache.get(namespace, name)
        if entry is None or (naming.FINALIZER in entry.meta.finalizers) == hold:
            return False
        others = [item for item in entry.meta.finalizers if item != naming.FINALIZER]
        finalizers = [*others, naming.FINALIZER] if hold else others
        # Not by server-side apply: our own field manager may own this object's spec as somebody's child. The
        # resourceVersion makes it fail rather than drop a finaliser that was added meanwhile.
        patch = {"metadata": {"resourceVersion": entry.meta.resource_version, "finalizers": finalizers}}
        with self.cluster.writing(key):
            try:
                answer = await self.client.patch_raw(kind, name, namespace, patch)
            except NotFound:
                cache.removed(entry, source=key)
                return False
            except Conflict:
                await self.cluster.refresh_object(kind, namespace, name)
                raise
            fresh = self.cluster.learn(kind, answer, source=key)
            if not finalizers and fresh.meta.deletion_timestamp is not None:
                cache.removed(fresh, source=key)
        return True


def check_ours(meta: ObjectMeta, ref: Ref, owner: Owner) -> None:
    """Raises NotOurs for what somebody else made, and Pending for what is about to disappear."""
    controller = controller_of(meta)
    if controller is not None and controller.uid != owner.uid:
        if (controller.kind, controller.name) == (owner.key[0], owner.key[2]):
            raise Pending(TERMINATING, f"{ref} still belongs to an earlier {controller.kind} {controller.name}")
        raise NotOurs(
            f"{ref} exists and belongs to {controller.kind} {controller.name}",
            "it is left alone: rename one of the two",
        )
    if controller is None and not is_managed(meta):
        raise NotOurs(
            f"{ref} exists and was not made by libre.sh",
            "it is left alone: rename or delete it, or choose another name",
        )
    if meta.deletion_timestamp is not None:
        raise Pending(TERMINATING, f"{ref} is being deleted; it is made anew as soon as it is gone")


def is_child(entry: Entry, owner: Owner) -> bool:
    """Whether the owner controls the object."""
    controller = controller_of(entry.meta)
    return controller is not None and controller.uid == owner.uid


def labelled(wish: Object) -> Object:
    """The wish with the label by which our caches find it again."""
    meta = wish["metadata"]
    labels = meta.get("labels") or {}
    if labels.get(naming.MANAGED_LABEL) == naming.MANAGED_BY:
        return wish
    return {**wish, "metadata": {**meta, "labels": {**labels, naming.MANAGED_LABEL: naming.MANAGED_BY}}}


def signature(wanted: str, found: Difference) -> str:
    """Names one way in which an object differs from one wish."""
    path, _, live = found
    return digest({"wanted": wanted, "path": path, "live": live})
