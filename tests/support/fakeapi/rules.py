"""What the server refuses of built-in kinds beyond their schema: the part the operator meets."""

import re
from typing import Any

from .kinds import Kind
from .schema import Complaint, shown_value
from .typed import equal

Object = dict[str, Any]


def immutable(path: str, value: Any) -> Complaint:
    return Complaint("FieldValueInvalid", path, f"Invalid value: {shown_value(value)}: field is immutable")


STATEFUL_SET_MAY = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
STATEFUL_SET_SAYS = (
    "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
    "forbidden"
)
FIXED: dict[str, tuple[tuple[str, ...], ...]] = {
    "Deployment": (("spec", "selector"),),
    "DaemonSet": (("spec", "selector"),),
    "ReplicaSet": (("spec", "selector"),),
    "Job": (("spec", "selector"), ("spec", "template"), ("spec", "completionMode"), ("spec", "completions")),
    "RoleBinding": (("roleRef",),),
    "ClusterRoleBinding": (("roleRef",),),
    "Secret": (("type",),),
}


def check_changes(kind: Kind, old: Object, new: Object) -> list[Complaint]:
    """Changes the server refuses. Custom kinds' transition rules (CEL) are not evaluated."""
    found = []
    if kind.custom:
        return found
    for path in FIXED.get(kind.kind, ()):
        before, after = at(old, path), at(new, path)
        if not equal(before, after) and not (kind.kind == "Job" and old.get("spec", {}).get("suspend")):
            found.append(immutable(".".join(path), after))
    if kind.kind in ("Secret", "ConfigMap") and old.get("immutable"):
        if not new.get("immutable"):
            found.append(Complaint("FieldValueForbidden", "immutable", IMMUTABLE))
        for part in ("data", "binaryData"):
            if not equal(old.get(part), new.get(part)):
                found.append(Complaint("FieldValueForbidden", part, IMMUTABLE))
    if kind.kind == "StatefulSet":
        left, right = (
            {key: value for key, value in (obj.get("spec") or {}).items() if key not in STATEFUL_SET_MAY}
            for obj in (old, new)
        )
        if not equal(left, right):
            found.append(Complaint("FieldValueForbidden", "spec", STATEFUL_SET_SAYS))
    if kind.kind == "PersistentVolumeClaim":
        found += check_claim(old, new)
    return found


IMMUTABLE = "Forbidden: field is immutable when `immutable` is set"
CLAIM_SAYS = (
    "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
    "claims"
)


def check_claim(old: Object, new: Object) -> list[Complaint]:
    """A claim's spec: only the size of a bound one may change, and it may only grow."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    bound = (old.get("status") or {}).get("phase") == "Bound"
    loose = {"volumeAttributesClassName"} | ({"resources"} if bound else set())
    for name in ("volumeName", "storageClassName"):
        if name not in before:
            loose.add(name)
    left, right = ({k: v for k, v in spec.items() if k not in loose} for spec in (before, after))
    if not equal(left, right):
        return [Complaint("FieldValueForbidden", "spec", CLAIM_SAYS)]
    sizes = [at(spec, ("resources", "requests", "storage")) for spec in (before, after)]
    if all(sizes) and quantity(sizes[1]) < quantity(sizes[0]):
        text = "Forbidden: field can not be less than status.capacity"
        return [Complaint("FieldValueForbidden", "spec.resources.requests.storage", text)]
    return []


def has_grown(old: Object, new: Object) -> bool:
    """Whether a claim asks for more room than before."""
    sizes = [at(obj, ("spec", "resources", "requests", "storage")) for obj in (old, new)]
    return all(sizes) and quantity(sizes[1]) > quantity(sizes[0])


FACTORS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}


def quantity(text: Any) -> float:
    """A quantity's number."""
    found = re.match(r"^([\d.]+)([A-Za-z]*)$", str(text))
    return float(found[1]) * FACTORS.get(found[2], 1) if found else 0.0


def at(obj: Object, path: tuple[str, ...]) -> Any:
    """The value at a path, or None."""
    here: Any = obj
    for part in path:
        here = here.get(part) if isinstance(here, dict) else None
    return here


def check_pods(kind: Kind, obj: Object) -> list[Complaint]:
    """Workloads select their own pods; services with several ports name them."""
    spec = obj.get("spec") or {}
    found = []
    if kind.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        labels = at(spec, ("template", "metadata", "labels")) or {}
        wanted = at(spec, ("selector", "matchLabels")) or {}
        if not spec.get("selector"):
            found.append(Complaint("FieldValueRequired", "spec.selector", "Required value"))
        if not wanted.items() <= labels.items() or not spec.get("selector"):
            text = f"Invalid value: {shown_value(labels or None)}: `selector` does not match template `labels`"
            found.append(Complaint("FieldValueInvalid", "spec.template.metadata.labels", text))
    if kind.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job") and not at(
        spec, ("template", "spec", "containers")
    ):
        found.append(Complaint("FieldValueRequired", "spec.template.spec.containers", "Required value"))
    found += check_port_names(spec)
    strategy = spec.get("strategy") or {}
    if kind.kind == "Deployment" and strategy.get("type") == "Recreate" and strategy.get("rollingUpdate"):
        text = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
        found.append(Complaint("FieldValueForbidden", "spec.strategy.rollingUpdate", text))
    ports = spec.get("ports") or ()
    if kind.kind == "Service" and len(ports) > 1:
        for index, port in enumerate(ports):
            if not port.get("name"):
                found.append(Complaint("FieldValueRequired", f"spec.ports[{index}].name", "Required value"))
    return found


def check_port_names(spec: Object) -> list[Complaint]:
    """A container's ports have names of their own."""
    found = []
    for index, container in enumerate(at(spec, ("template", "spec", "containers")) or ()):
        seen: set[str] = set()
        for number, port in enumerate(container.get("ports") or ()):
            name = port.get("name", "")
            if name and name in seen:
                place = f"spec.template.spec.containers[{index}].ports[{number}].name"
                found.append(Complaint("FieldValueDuplicate", place, f"Duplicate value: {shown_value(name)}"))
            seen.add(name)
    return found


NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
LABEL = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
NAME_SAYS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_SAYS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation "
    "is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
FREE_NAMES = frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})


def check_metadata(kind: Kind, metadata: Object) -> list[Complaint]:
    """Names and labels."""
    found = []
    name = metadata.get("name", "")
    if kind.kind not in FREE_NAMES and (not NAME.match(name) or len(name) > 253):
        found.append(
            Complaint("FieldValueInvalid", "metadata.name", f"Invalid value: {shown_value(name)}: {NAME_SAYS}")
        )
    owners = metadata.get("ownerReferences") or ()
    for part in ("apiVersion", "kind", "name", "uid"):
        if any(not owner.get(part) for owner in owners):
            text = 'Invalid value: "": must not be empty'
            found.append(Complaint("FieldValueInvalid", f"metadata.ownerReferences.{part}", text))
    heads = [f"{owner['kind']}/{owner['name']}" for owner in owners if owner.get("controller")]
    if len(heads) > 1:
        text = (
            f"Invalid value: {shown_value(owners)}: Only one reference can have Controller set to true. Found "
            f'"true" in references for {heads[0]} and {heads[1]}'
        )
        found.append(Complaint("FieldValueInvalid", "metadata.ownerReferences", text))
    for value in (metadata.get("labels") or {}).values():
        if value and (len(value) > 63 or not LABEL.match(value)):
            text = f"Invalid value: {shown_value(value)}: {LABEL_SAYS}"
            if len(value) > 63:
                text = f"Invalid value: {shown_value(value)}: must be no more than 63 bytes"
            found.append(Complaint("FieldValueInvalid", "metadata.labels", text))
    return found


__all__ = ["check_changes", "check_metadata", "check_pods", "has_grown", "quantity"]
