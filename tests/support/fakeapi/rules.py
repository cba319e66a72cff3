"""What the server fills into built-in kinds, and which of their fields cannot change: the part the operator meets."""

import base64
import re
from collections.abc import Callable
from typing import Any

from .kinds import Kind
from .schema import Complaint, shown_value
from .typed import equal

Object = dict[str, Any]


def default_namespace(obj: Object, address: Callable[[], str]) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def default_secret(obj: Object, address: Callable[[], str]) -> None:
    obj.setdefault("type", "Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def default_service(obj: Object, address: Callable[[], str]) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("targetPort", port.get("port"))
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if "clusterIP" not in spec:
        spec["clusterIP"] = address()
    spec.setdefault("clusterIPs", [spec["clusterIP"]])


def default_deployment(obj: Object, address: Callable[[], str]) -> None:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def default_stateful_set(obj: Object, address: Callable[[], str]) -> None:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)


def default_job(obj: Object, address: Callable[[], str]) -> None:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    spec.setdefault("manualSelector", False)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)


def default_claim(obj: Object, address: Callable[[], str]) -> None:
    if isinstance(obj.get("spec"), dict):
        obj["spec"].setdefault("volumeMode", "Filesystem")


DEFAULTS: dict[str, Callable[[Object, Callable[[], str]], None]] = {
    "Namespace": default_namespace,
    "Secret": default_secret,
    "Service": default_service,
    "Deployment": default_deployment,
    "StatefulSet": default_stateful_set,
    "Job": default_job,
    "PersistentVolumeClaim": default_claim,
}

FIRST_STATUS: dict[str, Object] = {
    "Namespace": {"phase": "Active"},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "Pod": {"phase": "Pending", "qosClass": "BestEffort"},
    "Service": {"loadBalancer": {}},
    "Ingress": {"loadBalancer": {}},
    "Deployment": {},
    "Job": {},
}


def own_pods(obj: Object) -> None:
    """A Job's selector and pod labels, which the server makes from its uid."""
    uid, name = obj["metadata"]["uid"], obj["metadata"]["name"]
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    template = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    template |= {
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
        "controller-uid": uid, "job-name": name,
    }
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def immutable(path: str, value: Any) -> Complaint:
    return Complaint("FieldValueInvalid", path, f"Invalid value: {shown_value(value)}: field is immutable")


STATEFUL_SET_MAY = ("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                    "persistentVolumeClaimRetentionPolicy", "minReadySeconds")
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
        found += check_claim(old.get("spec") or {}, new.get("spec") or {})
    return found


IMMUTABLE = "Forbidden: field is immutable when `immutable` is set"
CLAIM_SAYS = (
    "Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
    "claims"
)


def check_claim(old: Object, new: Object) -> list[Complaint]:
    """A claim's spec: only its size may change, and it may only grow."""
    loose = ("resources", "volumeAttributesClassName", "volumeName", "storageClassName")
    left, right = ({k: v for k, v in spec.items() if k not in loose} for spec in (old, new))
    renamed = "storageClassName" in old and old.get("storageClassName") != new.get("storageClassName")
    if not equal(left, right) or renamed:
        return [Complaint("FieldValueForbidden", "spec", CLAIM_SAYS)]
    before, after = (at(spec, ("resources", "requests", "storage")) for spec in (old, new))
    if before and after and quantity(after) < quantity(before):
        text = "Forbidden: field can not be less than status.capacity"
        return [Complaint("FieldValueForbidden", "spec.resources.requests.storage", text)]
    return []


FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
           "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}


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
    for value in (metadata.get("labels") or {}).values():
        if value and (len(value) > 63 or not LABEL.match(value)):
            text = f"Invalid value: {shown_value(value)}: {LABEL_SAYS}"
            if len(value) > 63:
                text = f"Invalid value: {shown_value(value)}: must be no more than 63 bytes"
            found.append(Complaint("FieldValueInvalid", "metadata.labels", text))
    return found


__all__ = ["DEFAULTS", "FIRST_STATUS", "check_changes", "check_metadata", "own_pods", "quantity"]
