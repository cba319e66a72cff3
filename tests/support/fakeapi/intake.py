"""From a request's body to an object as the server understands it, and what it refuses of one."""

from dataclasses import replace
from typing import Any

import msgspec
import yaml

from . import defaults, rules
from .errors import bad_request, invalid
from .kinds import Kind
from .schema import Complaint, check, drop_empties, drop_nulls, fill_defaults, json_type, prune
from .typed import equal

Object = dict[str, Any]


def decode(body: bytes, what: str) -> Any:
    """JSON, or YAML where it is no JSON."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        try:
            return yaml.safe_load(body)
        except yaml.YAMLError:
            raise bad_request(f"{what} is neither JSON nor YAML: {error}") from error


def normalise(kind: Kind, obj: Any, *, strict: bool, applied: bool = False) -> Object:
    """The object as the server understands it: known fields only, defaults filled in."""
    if not isinstance(obj, dict):
        raise bad_request("the body is not an object")
    version, name = obj.get("apiVersion", kind.api_version), obj.get("kind", kind.kind)
    if version != kind.api_version:
        text = f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})"
        raise bad_request(text)
    if name != kind.kind:
        raise bad_request(f'{name} in version "{kind.version}" cannot be handled as a {kind.kind}')
    unknown: list[str] = []
    obj = prune(kind.node, obj, "", unknown)
    if unknown and strict:
        listed = ", ".join(f'unknown field "{path}"' for path in sorted(unknown))
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"strict decoding error: {listed}"
        )
    metadata = tidy(kind, obj.get("metadata") or {})
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **rest}
    if not kind.custom:
        obj = drop_empties(kind.node, drop_nulls(obj))
    fill_defaults(kind.node, obj, drop=not applied)
    if kind.kind in defaults.DEFAULTS and not kind.custom:
        defaults.DEFAULTS[kind.kind](obj)
    return obj


def tidy(kind: Kind, metadata: Any) -> Object:
    """Metadata without what is empty, as typed objects are written."""
    if not isinstance(metadata, dict):
        raise bad_request("metadata is not an object")
    kept = {key: value for key, value in metadata.items() if value not in (None, "", {}, [])}
    for part in ("labels", "annotations"):
        for value in (kept.get(part) or {}).values():
            if not isinstance(value, str):
                raise bad_request(
                    f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
                    f"json: cannot unmarshal {GO.get(json_type(value), json_type(value))} into Go struct "
                    f"field ObjectMeta.metadata.{part} of type string"
                )
    return kept


GO = {"integer": "number", "boolean": "bool"}


def validate(kind: Kind, obj: Object, old: Object | None, door: str = "") -> None:
    """Raises Invalid, or BadRequest where the types of a built-in kind do not fit."""
    found = rules.check_metadata(kind, obj["metadata"])
    found += [complaint for complaint in check(kind.node, obj, "") if not complaint.field.startswith("metadata")]
    if not kind.custom:
        mistyped = [complaint for complaint in found if complaint.reason == "FieldValueTypeInvalid"]
        if mistyped:
            raise bad_request(
                f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
                f"json: cannot unmarshal: {mistyped[0].message}"
            )
        if pods := rules.check_pods(kind, obj):
            found = pods + [complaint for complaint in found if complaint.reason != "FieldValueRequired"]
    if old is not None:
        found += rules.check_changes(kind, old, obj)
        # Custom objects' metadata is checked twice.
        found += check_identity(obj["metadata"], old["metadata"]) * (2 if kind.custom else 1)
    if kind.custom and door == "status":
        found = [
            replace(one, message=one.message.replace(f"{one.field} in body", f"{below(one.field)} in body"))
            for one in found
        ]
    if found:
        raise invalid(kind.kind, kind.group, obj["metadata"].get("name", ""), found)


def below(field: str) -> str:
    """A field's path as the status door's own words have it."""
    return field.removeprefix("status").lstrip(".")


def check_identity(new: Object, old: Object) -> list[Complaint]:
    """A uid does not change, and an object that is being deleted takes no new finalisers."""
    if new["uid"] != old["uid"]:
        return [Complaint("FieldValueInvalid", "metadata.uid", f'Invalid value: "{new["uid"]}": field is immutable')]
    added = sorted(set(new.get("finalizers", ())) - set(old.get("finalizers", ())))
    if not old.get("deletionTimestamp") or not added:
        return []
    text = "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
    shown = ", ".join(f'"{name}"' for name in added)
    return [Complaint("FieldValueForbidden", "metadata.finalizers", f"{text}[]string{{{shown}}}")]


def is_hollow(kind: Kind, obj: Any) -> bool:
    """Whether an object says empty lists where the server compares them with none at all.

    NetworkPolicies do: `ingress: []` is stored, and counted as a new generation, each time it is written.
    """
    if kind.kind != "NetworkPolicy" or not isinstance(obj, dict) or not isinstance(obj.get("spec"), dict):
        return False
    spec = drop_nulls(obj["spec"])
    return not equal(spec, drop_empties(kind.node.fields["spec"], spec))


__all__ = ["decode", "is_hollow", "normalise", "validate"]
