"""Server-side apply."""

from typing import TYPE_CHECKING, Any

from . import ownership
from .errors import Refusal, bad_request, conflict, invalid, not_found, untyped
from .intake import decode, is_hollow, normalise
from .request import Request, Target
from .schema import Complaint
from .store import Stored
from .typed import Untypable, misfits
from .writes import create, keep_identity, nothing, ordered, ownership_write, store_update, through_door

if TYPE_CHECKING:
    from .api import FakeApi

Object = dict[str, Any]


def apply(api: "FakeApi", request: Request, target: Target) -> tuple[int, Stored]:
    """Server-side apply."""
    kind = target.kind
    wanted = read_intent(request, target)
    stored = api.table(kind).get(target.namespace, target.name)
    live = (
        stored.decode()
        if stored
        else {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": target.name}}
    )
    check_intent(target, wanted, live if stored else None)
    managers = ownership.read_managers(live["metadata"].get("managedFields")) or {}
    write = ownership_write(api, request, target)
    try:
        if stored and not managers:
            before = ownership.Write("before-first-apply", kind.api_version, write.now)
            managers = ownership.update(kind.node, nothing(kind), live, {}, before)
        merged, managers, _ = ownership.apply(kind.node, live, wanted, managers, write)
    except ownership.Conflicts as error:
        raise Refusal(409, "Conflict", error.text(), {"causes": error.causes()}) from error
    except Untypable as error:
        raise untyped(f"failed to merge config: {error}") from error
    # What an apply leaves of a custom object's metadata is stored as it is. An empty part is not read back, so that
    # the next write (of whatever) finds a difference: applying `labels: {}` stores each time.
    restless = kind.custom and any(not merged["metadata"].get(part, True) for part in EMPTIED)
    restless = restless or is_hollow(kind, merged)
    new = normalise(kind, merged, strict=False, applied=True)
    if managers:
        new["metadata"]["managedFields"] = ownership.write_managers(managers)
    if stored is None:
        if target.subresource:
            raise not_found(kind.plural, kind.group, target.name)
        new["metadata"].pop("resourceVersion", None)
        made = create(api, request, target, new)
        made.restless = made.restless or (restless and kind.custom)
        return 201, made
    old = stored.decode()
    keep_identity(target, old, new, applied=True)
    new = ordered(through_door(target, old, new))
    restless = restless and not target.subresource
    made = store_update(api, request, target, stored, old, new, restless=restless)
    made.restless = restless and kind.custom
    return 200, made


EMPTIED = ("labels", "annotations", "finalizers", "ownerReferences")


def read_intent(request: Request, target: Target) -> Object:
    """The body of an apply, checked for what the server asks of it."""
    kind = target.kind
    if not request.query.get("fieldManager"):
        text = "Required value: is required for apply patch"
        complaint = Complaint("FieldValueRequired", "fieldManager", text)
        raise invalid("PatchOptions", "meta.k8s.io", "", [complaint])
    wanted = decode(request.body, "the patch")
    if not isinstance(wanted, dict):
        raise bad_request("error decoding YAML: the patch is not an object")
    named = f"{slashed(str(wanted.get('apiVersion') or '/'))}, Kind={wanted.get('kind') or ''}"
    if (wanted.get("apiVersion"), wanted.get("kind")) != (kind.api_version, kind.kind):
        raise bad_request(f"invalid object type: {named}")
    if found := misfits(kind.node, wanted):
        text = found[0] if len(found) == 1 else "errors:\n" + "".join(f"  {line}\n" for line in sorted(found))
        place = f"{(wanted.get('metadata') or {}).get('namespace') or ''}/{target.name}"
        raise untyped(f"failed to create typed patch object ({place}; {named}): {text}")
    wanted["metadata"] = wanted.get("metadata") or {}
    return wanted


def slashed(api_version: str) -> str:
    """How Go prints a version without a group."""
    return api_version if "/" in api_version else f"/{api_version}"


def check_intent(target: Target, wanted: Object, live: Object | None) -> None:
    """Refuses an apply that names another object than the URL."""
    metadata = wanted["metadata"]
    if metadata.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    if metadata.get("name", target.name) != target.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.name})"
        )
    if metadata.get("namespace", target.namespace) != target.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    if live is None and metadata.get("uid"):
        kind = target.kind
        why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
        raise conflict(kind.plural, kind.group, target.name, why)
    if target.kind.namespaced:
        metadata["namespace"] = target.namespace


__all__ = ["apply"]
