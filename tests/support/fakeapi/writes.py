"""What a write does to an object before it is stored: decoding, defaults, doors, ownership, generation, validation."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from . import ownership, rules
from .errors import Refusal, about, bad_request, conflict, invalid, not_found, unsupported
from .fieldset import FieldSet
from .kinds import CREATED_BY_PUT, RESET_MAIN, Kind
from .patches import Unpatchable, json_patch, merge_patch
from .request import Request, Target
from .schema import Complaint, check, copied, drop_nulls, fill_defaults, prune
from .store import DECODE, Stored
from .typed import Untypable, equal

if TYPE_CHECKING:
    from .api import FakeApi

Object = dict[str, Any]
OWN_META = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def decode(body: bytes, what: str) -> Any:
    """JSON, or YAML where it is no JSON."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        try:
            return yaml.safe_load(body)
        except yaml.YAMLError:
            raise bad_request(f"{what} is neither JSON nor YAML: {error}") from error


def normalise(kind: Kind, obj: Any, *, strict: bool, address: Callable[[], str]) -> Object:
    """The object as the server understands it: known fields only, defaults filled in."""
    if not isinstance(obj, dict):
        raise bad_request("the body is not an object")
    version, name = obj.get("apiVersion", kind.api_version), obj.get("kind", kind.kind)
    if (version, name) != (kind.api_version, kind.kind):
        text = f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        raise bad_request(text)
    unknown: list[str] = []
    obj = prune(kind.node, obj, "", unknown)
    if unknown and strict:
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
                          f"strict decoding error: {listed}")
    metadata = tidy(obj.get("metadata") or {})
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **rest}
    if not kind.custom:
        obj = drop_nulls(obj)
    fill_defaults(kind.node, obj)
    if kind.kind in rules.DEFAULTS and not kind.custom:
        rules.DEFAULTS[kind.kind](obj, address)
    return obj


def tidy(metadata: Any) -> Object:
    """Metadata without what is empty, as typed objects are written."""
    if not isinstance(metadata, dict):
        raise bad_request("metadata is not an object")
    kept = {key: value for key, value in metadata.items() if value not in (None, "", {}, [])}
    for part in ("labels", "annotations"):
        for value in (kept.get(part) or {}).values():
            if not isinstance(value, str):
                raise bad_request(f"json: cannot unmarshal {value!r} into Go struct field ObjectMeta.metadata.{part} "
                                  "of type string")
    return kept


def validate(kind: Kind, obj: Object, old: Object | None) -> None:
    """Raises Invalid, or BadRequest where the types of a built-in kind do not fit."""
    found = rules.check_metadata(kind, obj["metadata"])
    found += [complaint for complaint in check(kind.node, obj, "") if complaint.field != "metadata"]
    if not kind.custom:
        mistyped = [complaint for complaint in found if complaint.reason == "FieldValueTypeInvalid"]
        if mistyped:
            raise bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
                              f"json: cannot unmarshal: {mistyped[0].message}")
    if old is not None:
        found += rules.check_changes(kind, old, obj)
        found += check_finalizers(obj["metadata"], old["metadata"])
    if found:
        raise invalid(kind.kind, kind.group, obj["metadata"].get("name", ""), found)


def check_finalizers(new: Object, old: Object) -> list[Complaint]:
    """An object that is being deleted takes no new finalisers."""
    added = sorted(set(new.get("finalizers", ())) - set(old.get("finalizers", ())))
    if not old.get("deletionTimestamp") or not added:
        return []
    text = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
    shown = ", ".join(f'"{name}"' for name in added)
    return [Complaint("FieldValueForbidden", "metadata.finalizers", f"{text}[]string{{{shown}}}")]


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
    found = ownership.update(target.kind.node, old, new, managers, ownership_write(api, request, target))
    if found:
        new["metadata"]["managedFields"] = ownership.write_managers(found)


# --- create ----------------------------------------------------------------------------------------------------


def create(api: "FakeApi", request: Request, target: Target, obj: Object) -> Stored:
    """Stores a new object. `obj` is normalised and has its managedFields already if it was applied."""
    kind, metadata = target.kind, obj["metadata"]
    if kind.namespaced and metadata.get("namespace", target.namespace) != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if metadata.get("resourceVersion"):
        raise Refusal(500, "InternalError", "resourceVersion should not be set on objects to be created")
    if "name" not in metadata and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + api.suffix()
    api.require_namespace(target)
    if kind.status:
        obj.pop("status", None)
        if kind.kind in rules.FIRST_STATUS and not kind.custom:
            obj["status"] = copied(rules.FIRST_STATUS[kind.kind])
    fresh: Object = {key: value for key, value in metadata.items() if key not in OWN_META}
    if kind.namespaced:
        fresh["namespace"] = target.namespace
    fresh |= {"uid": api.uid(), "creationTimestamp": api.timestamp()}
    if kind.generation:
        fresh["generation"] = 1
    obj["metadata"] = fresh
    if kind.kind == "Job" and not kind.custom and isinstance(obj.get("spec"), dict):
        rules.own_pods(obj)
    if not fresh.get("name"):
        text = "Required value: name or generateName is required"
        raise invalid(kind.kind, kind.group, "", [Complaint("FieldValueRequired", "metadata.name", text)])
    validate(kind, obj, None)
    return api.insert(target, obj, request)


def create_from_body(api: "FakeApi", request: Request, target: Target) -> Stored:
    """POST."""
    obj = normalise(target.kind, decode(request.body, "the body"), strict=request.strict, address=api.address)
    empty = {"apiVersion": target.kind.api_version, "kind": target.kind.kind, "metadata": {}}
    if target.kind.status:
        obj.pop("status", None)
    own_by_update(api, request, target, empty, obj)
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


def keep_identity(target: Target, old: Object, new: Object) -> None:
    """Refuses another uid or a stale resourceVersion; puts back what only the server sets."""
    kind, name = target.kind, old["metadata"]["name"]
    metadata, before = new["metadata"], old["metadata"]
    wanted = metadata.get("uid")
    if wanted and wanted != before["uid"]:
        why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {before['uid']}"
        raise conflict(kind.plural, kind.group, name, why)
    version = metadata.get("resourceVersion")
    if version and version != before["resourceVersion"]:
        raise conflict(kind.plural, kind.group, name)
    for key in OWN_META:
        metadata.pop(key, None)
        if key in before:
            metadata[key] = before[key]
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


def store_update(api: "FakeApi", request: Request, target: Target, stored: Stored, old: Object, new: Object) -> Stored:
    """Stores a changed object, unless nothing changed."""
    api.keep_cluster_ip(old, new)
    bump_generation(target.kind, old, new)
    validate(target.kind, new, old)
    if same(old, new):
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
    new = normalise(kind, decode(request.body, "the body"), strict=request.strict, address=api.address)
    if new["metadata"].get("name", "") != target.name:
        raise bad_request(f"the name of the object ({new['metadata'].get('name', '')}) does not match the name on the "
                          f"URL ({target.name})")
    stored = api.table(kind).get(target.namespace, target.name)
    if stored is None:
        if kind.kind in CREATED_BY_PUT and not kind.custom and not target.subresource:
            new["metadata"].pop("resourceVersion", None)
            own_by_update(api, request, target, {"metadata": {}}, new)
            return 201, create(api, request, target, new)
        raise not_found(kind.plural, kind.group, target.name)
    if kind.custom and not new["metadata"].get("resourceVersion"):
        text = "Invalid value: 0: must be specified for an update"
        complaint = Complaint("FieldValueInvalid", "metadata.resourceVersion", text)
        raise invalid(kind.kind, kind.group, target.name, [complaint])
    return 200, update(api, request, target, stored, new)


def update(api: "FakeApi", request: Request, target: Target, stored: Stored, new: Object) -> Stored:
    """An ordinary write of `new` over what is stored."""
    old = stored.decode()
    keep_identity(target, old, new)
    new = ordered(through_door(target, old, new))
    if target.subresource == "status" and target.kind.custom:
        new["metadata"]["managedFields"] = old["metadata"].get("managedFields")
    own_by_update(api, request, target, old, new)
    return store_update(api, request, target, stored, old, new)


# --- patch -----------------------------------------------------------------------------------------------------


def patch(api: "FakeApi", request: Request, target: Target) -> tuple[int, Stored]:
    """PATCH in any of its forms. Strategic merge patches are not understood."""
    if "apply-patch" in request.content_type:
        return apply(api, request, target)
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
            text = f"the server rejected our request due to an error in our request: {error}"
            raise Refusal(422, "Invalid", text, {}) from error
    else:
        raise unsupported(request.content_type, kind.plural, kind.group)
    new = normalise(kind, changed, strict=request.strict, address=api.address)
    if new["metadata"].get("name") != target.name:
        raise bad_request(f"the name of the object ({new['metadata'].get('name', '')}) does not match the name on the "
                          f"URL ({target.name})")
    return 200, update(api, request, target, stored, new)


def apply(api: "FakeApi", request: Request, target: Target) -> tuple[int, Stored]:
    """Server-side apply."""
    kind = target.kind
    wanted = read_intent(request, target)
    stored = api.table(kind).get(target.namespace, target.name)
    live = stored.decode() if stored else {
        "apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": target.name}
    }
    check_intent(target, wanted, live if stored else None)
    managers = ownership.read_managers(live["metadata"].get("managedFields")) or {}
    write = ownership_write(api, request, target)
    try:
        if stored and not managers:
            empty = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}}
            before = ownership.Write("before-first-apply", kind.api_version, write.now)
            managers = ownership.update(kind.node, empty, live, {}, before)
        merged, managers, _ = ownership.apply(kind.node, live, wanted, managers, write)
    except ownership.Conflicts as error:
        raise Refusal(409, "Conflict", error.text(), {"causes": error.causes()}) from error
    except Untypable as error:
        raise bad_request(f"failed to create typed patch object ({target.namespace}/{target.name}; "
                          f"{kind.api_version}, Kind={kind.kind}): {error}") from error
    new = normalise(kind, merged, strict=False, address=api.address)
    if managers:
        new["metadata"]["managedFields"] = ownership.write_managers(managers)
    if stored is None:
        if target.subresource:
            raise not_found(kind.plural, kind.group, target.name)
        return 201, create(api, request, target, new)
    old = stored.decode()
    keep_identity(target, old, new)
    return 200, store_update(api, request, target, stored, old, ordered(through_door(target, old, new)))


def read_intent(request: Request, target: Target) -> Object:
    """The body of an apply, checked for what the server asks of it."""
    kind = target.kind
    if not request.query.get("fieldManager"):
        text = "Required value: is required for apply patch"
        complaint = Complaint("FieldValueRequired", "fieldManager", text)
        raise invalid("PatchOptions", "meta.k8s.io", "", [complaint])
    wanted = decode(request.body, "the patch")
    if not isinstance(wanted, dict) or not wanted.get("apiVersion") or not wanted.get("kind"):
        raise bad_request("apiVersion and kind must be set in an apply patch")
    if (wanted["apiVersion"], wanted["kind"]) != (kind.api_version, kind.kind):
        raise bad_request(f"Incorrect version specified in apply patch. Specified patch version: "
                          f"{wanted['apiVersion']}, expected: {kind.api_version}")
    unknown: list[str] = []
    pruned: Object = prune(kind.node, wanted, "", unknown)
    if unknown and (request.strict or not kind.custom):
        raise bad_request(f"failed to create typed patch object ({target.namespace}/{target.name}; "
                          f"{kind.api_version}, Kind={kind.kind}): .{unknown[0]}: field not declared in schema")
    return pruned


def check_intent(target: Target, wanted: Object, live: Object | None) -> None:
    """Refuses an apply that names another object than the URL."""
    metadata = wanted.setdefault("metadata", {}) or {}
    if metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    if metadata.get("name", target.name) != target.name:
        raise bad_request(f"the name of the object ({metadata['name']}) does not match the name on the URL "
                          f"({target.name})")
    if metadata.get("namespace", target.namespace) != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if live is None and metadata.get("uid"):
        kind = target.kind
        why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
        raise conflict(kind.plural, kind.group, target.name, why)
    if target.kind.namespaced:
        metadata["namespace"] = target.namespace


__all__ = ["about", "create_from_body", "decode", "patch", "replace_from_body", "DECODE"]
