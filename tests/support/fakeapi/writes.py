"""Create, replace and patch: identity, doors, ownership, generation, and whether there is anything to store."""

from typing import TYPE_CHECKING, Any

from . import defaults, ownership, rules
from .errors import Refusal, bad_request, conflict, invalid, not_found, unsupported
from .fieldset import FieldSet
from .intake import decode, is_hollow, normalise, validate
from .kinds import CREATED_BY_PUT, RESET_MAIN, Kind
from .patches import Unpatchable, json_patch, merge_patch
from .request import Request, Target
from .schema import Complaint, copied
from .store import Stored
from .typed import Untypable, equal

if TYPE_CHECKING:
    from .api import FakeApi

Object = dict[str, Any]
OWN_META = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def reset_for(target: Target) -> FieldSet:
    """The fields a door cannot change."""
    if target.subresource == "status":
        return target.kind.reset_status
    return RESET_MAIN if target.kind.status else FieldSet()


def ownership_write(api: "FakeApi", request: Request, target: Target) -> ownership.Write:
    """Who writes."""
    return ownership.Write(
        manager=request.manager,
        version=target.kind.api_version,
        now=api.timestamp(),
        subresource=target.subresource,
        reset=reset_for(target),
        force=request.query.get("force") in ("true", "1"),
    )


def own_by_update(api: "FakeApi", request: Request, target: Target, old: Object, new: Object) -> None:
    """Sets managedFields after an ordinary write. Sending an empty list clears them."""
    sent = new["metadata"].pop("managedFields", None)
    if sent in ([], [{}]):
        return
    managers = ownership.read_managers(sent or old.get("metadata", {}).get("managedFields"))
    if managers is None or (not managers and old.get("metadata", {}).get("uid")):
        return
    try:
        found = ownership.update(target.kind.node, old, new, managers, ownership_write(api, request, target))
    except Untypable:
        # Such an object is about to be refused, by its schema.
        return
    if found:
        new["metadata"]["managedFields"] = ownership.write_managers(found)


# --- create ----------------------------------------------------------------------------------------------------


def create(api: "FakeApi", request: Request, target: Target, obj: Object) -> Stored:
    """Stores a new object. `obj` is normalised and has its managedFields already if it was applied."""
    kind, metadata = target.kind, obj["metadata"]
    if kind.namespaced and metadata.get("namespace", target.namespace) != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if metadata.get("resourceVersion"):
        raise Refusal(500, "", "resourceVersion should not be set on objects to be created")
    if "name" not in metadata and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + api.suffix()
    api.require_namespace(target)
    if kind.status:
        obj.pop("status", None)
        if kind.kind in defaults.FIRST_STATUS and not kind.custom:
            obj["status"] = copied(defaults.FIRST_STATUS[kind.kind])
    fresh: Object = {key: value for key, value in metadata.items() if key not in OWN_META}
    if kind.namespaced:
        fresh["namespace"] = target.namespace
    fresh |= {"uid": api.uid(), "creationTimestamp": api.timestamp()}
    if kind.generation:
        fresh["generation"] = 1
    obj["metadata"] = fresh
    restless = not kind.custom and is_unsettled(kind, fresh)
    if not kind.custom:
        complete_builtin(api, kind, obj)
    if not fresh.get("name"):
        text = "Required value: name or generateName is required"
        raise invalid(kind.kind, kind.group, "", [Complaint("FieldValueRequired", "metadata.name", text)])
    validate(kind, obj, None)
    made = api.insert(target, obj, request)
    made.restless = restless
    return made


def is_unsettled(kind: Kind, metadata: Object) -> bool:
    """Whether a new built-in object is stored in a form that the next write, of whatever, changes."""
    return kind.kind == "PersistentVolumeClaim" or (kind.kind == "Job" and not metadata.get("labels"))


def complete_builtin(api: "FakeApi", kind: Kind, obj: Object) -> None:
    """What the server adds to new objects of some built-in kinds."""
    if kind.kind == "Job":
        defaults.own_pods(obj)
    elif kind.kind == "Service":
        defaults.place_service(obj, api.address)
    elif kind.kind == "PersistentVolumeClaim":
        finalizers = obj["metadata"].setdefault("finalizers", [])
        if PROTECTION not in finalizers:
            finalizers.append(PROTECTION)


PROTECTION = "kubernetes.io/pvc-protection"


def nothing(kind: Kind) -> Object:
    """An object of which nothing was said, to compare a new one with."""
    empty = {} if kind.custom else copied(defaults.EMPTY.get(kind.kind, {}))
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}, **empty}


def create_from_body(api: "FakeApi", request: Request, target: Target) -> Stored:
    """POST."""
    obj = normalise(target.kind, decode(request.body, "the body"), strict=request.strict)
    if target.kind.status:
        obj.pop("status", None)
    own_by_update(api, request, target, nothing(target.kind), obj)
    return create(api, request, target, obj)


# --- update ----------------------------------------------------------------------------------------------------


def through_door(target: Target, old: Object, new: Object) -> Object:
    """`new` with everything this door cannot change put back."""
    kind = target.kind
    if target.subresource == "status":
        kept = {key: value for key, value in old.items() if key != "status"}
        metadata = dict(old["metadata"] if kind.custom else new["metadata"])
        if kind.kind in ("Deployment", "ReplicaSet") and not kind.custom:
            metadata.pop("labels", None)
            if labels := old["metadata"].get("labels"):
                metadata["labels"] = labels
        metadata.pop("managedFields", None)
        if "managedFields" in new["metadata"]:
            metadata["managedFields"] = new["metadata"]["managedFields"]
        result = {**kept, "metadata": metadata}
        if "status" in new:
            result["status"] = new["status"]
        return result
    result = dict(new)
    if kind.status:
        result.pop("status", None)
        if "status" in old:
            result["status"] = old["status"]
    return result


def keep_identity(target: Target, old: Object, new: Object, *, applied: bool = False) -> None:
    """Refuses another uid or a stale resourceVersion; puts back what only the server sets."""
    kind, name = target.kind, old["metadata"]["name"]
    metadata, before = new["metadata"], old["metadata"]
    wanted = metadata.get("uid")
    if wanted and wanted != before["uid"] and not applied:
        place = f"/registry/{kind.group + '/' if kind.custom else ''}{kind.plural}"
        place += f"/{before['namespace']}/{name}" if kind.namespaced else f"/{name}"
        why = (
            f"StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {before['uid']}"
        )
        raise conflict(kind.plural, kind.group, name, why)
    version = metadata.get("resourceVersion")
    if version and version != before["resourceVersion"]:
        raise conflict(kind.plural, kind.group, name)
    for key in OWN_META:
        metadata.pop(key, None)
        if key in before:
            metadata[key] = wanted if key == "uid" and wanted else before[key]
    metadata["resourceVersion"] = before["resourceVersion"]
    metadata["name"] = name
    if kind.namespaced:
        metadata["namespace"] = before["namespace"]


def bump_generation(kind: Kind, old: Object, new: Object) -> None:
    """The generation counts changes of what is wanted."""
    if not kind.generation:
        return
    if kind.custom:
        ignored = {"metadata", "apiVersion", "kind"} | ({"status"} if kind.status else set())
        before, after = ({k: v for k, v in obj.items() if k not in ignored} for obj in (old, new))
    else:
        before, after = ({"spec": obj.get("spec")} for obj in (old, new))
        if kind.kind == "Deployment":
            before["annotations"] = old["metadata"].get("annotations")
            after["annotations"] = new["metadata"].get("annotations")
    if not equal(before, after):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def store_update(
    api: "FakeApi",
    request: Request,
    target: Target,
    stored: Stored,
    old: Object,
    new: Object,
    *,
    restless: bool = False,
) -> Stored:
    """Stores a changed object, unless nothing changed."""
    if restless and target.kind.kind == "NetworkPolicy":
        new["metadata"]["generation"] = old["metadata"]["generation"]
        old = {**old, "spec": None}
    api.keep_cluster_ip(old, new)
    if not target.subresource:
        bump_generation(target.kind, old, new)
    validate(target.kind, new, old, target.subresource)
    if target.kind.kind == "PersistentVolumeClaim" and not target.kind.custom and rules.has_grown(old, new):
        api.require_expansion(target, new)
    if not (restless or stored.restless) and same(old, new):
        return api.unchanged(target, stored, request)
    return api.replace(target, stored, new, request)


def same(old: Object, new: Object) -> bool:
    """Whether two states differ in nothing but the times of managedFields."""
    if not equal({**old, "metadata": None}, {**new, "metadata": None}):
        return False
    left, right = ({k: v for k, v in obj["metadata"].items() if k != "managedFields"} for obj in (old, new))
    if not equal(left, right):
        return False
    entries = (
        [{k: v for k, v in entry.items() if k != "time"} for entry in obj["metadata"].get("managedFields", ())]
        for obj in (old, new)
    )
    return equal(*entries)


def ordered(obj: Object) -> Object:
    """apiVersion, kind, metadata first."""
    head = {key: obj[key] for key in ("apiVersion", "kind", "metadata")}
    return head | {key: value for key, value in obj.items() if key not in head}


def replace_from_body(api: "FakeApi", request: Request, target: Target) -> tuple[int, Stored]:
    """PUT."""
    kind = target.kind
    sent = decode(request.body, "the body")
    new = normalise(kind, sent, strict=request.strict)
    if new["metadata"].get("name", "") != target.name:
        raise bad_request(
            f"the name of the object ({new['metadata'].get('name', '')}) does not match the name on the "
            f"URL ({target.name})"
        )
    stored = api.table(kind).get(target.namespace, target.name)
    if stored is None:
        if kind.kind in CREATED_BY_PUT and not kind.custom and not target.subresource:
            new["metadata"].pop("resourceVersion", None)
            own_by_update(api, request, target, nothing(kind), new)
            return 201, create(api, request, target, new)
        raise not_found(kind.plural, kind.group, target.name)
    if (kind.custom or kind.kind in UPDATED_BY_VERSION) and not new["metadata"].get("resourceVersion"):
        text = "Invalid value: 0: must be specified for an update"
        complaint = Complaint("FieldValueInvalid", "metadata.resourceVersion", text)
        raise invalid(kind.plural, kind.group, target.name, [complaint])
    return 200, update(api, request, target, stored, new, restless=is_hollow(kind, sent))


UPDATED_BY_VERSION = frozenset({"Lease"})
"""Built-in kinds that a PUT without resourceVersion cannot replace."""


def update(
    api: "FakeApi", request: Request, target: Target, stored: Stored, new: Object, *, restless: bool = False
) -> Stored:
    """An ordinary write of `new` over what is stored."""
    old = stored.decode()
    keep_identity(target, old, new)
    new = ordered(through_door(target, old, new))
    if target.subresource == "status" and target.kind.custom:
        new["metadata"]["managedFields"] = old["metadata"].get("managedFields")
    own_by_update(api, request, target, old, new)
    return store_update(api, request, target, stored, old, new, restless=restless)


# --- patch -----------------------------------------------------------------------------------------------------


def patch(api: "FakeApi", request: Request, target: Target) -> tuple[int, Stored]:
    """PATCH by merge or JSON patch. Strategic merge patches are not understood."""
    kind = target.kind
    stored = api.table(kind).get(target.namespace, target.name)
    if stored is None:
        raise not_found(kind.plural, kind.group, target.name)
    document = decode(request.body, "the patch")
    live = stored.decode()
    if request.content_type == "application/merge-patch+json":
        changed = merge_patch(live, document)
    elif request.content_type == "application/json-patch+json":
        try:
            changed = json_patch(live, document)
        except Unpatchable as error:
            text = "the server rejected our request due to an error in our request"
            raise Refusal(422, "Invalid", text, {}) from error
    else:
        raise unsupported(request.content_type, kind.plural, kind.group)
    new = normalise(kind, changed, strict=request.strict)
    if new["metadata"].get("name") != target.name:
        raise bad_request(
            f"the name of the object ({new['metadata'].get('name', '')}) does not match the name on the "
            f"URL ({target.name})"
        )
    return 200, update(api, request, target, stored, new, restless=is_hollow(kind, changed))


__all__ = ["PROTECTION", "create_from_body", "patch", "replace_from_body"]
