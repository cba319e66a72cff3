"""Whether two API servers answered the same: answers without what must differ, and the differences left."""

import json
import re
from typing import Any

UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIMES = frozenset({"creationTimestamp", "deletionTimestamp"})
EMPTY_META = frozenset({"labels", "annotations", "finalizers"})
PLACES = {"resourceVersion": "<version>", "continue": "<token>", "clusterIP": "<address>", "clusterIPs": "<addresses>"}


def comparable(value: Any, namespace: str) -> Any:
    """An answer without uids, versions, times and the namespace's name, in an order that does not depend on chance."""
    if isinstance(value, dict):
        return {key: comparable_member(key, part, namespace) for key, part in value.items() if is_told(key, part)}
    if isinstance(value, list):
        return [comparable(part, namespace) for part in value]
    if isinstance(value, str):
        return UID.sub("<uid>", value.replace(namespace, "<namespace>"))
    return value


def is_told(key: str, value: Any) -> bool:
    """The real server may answer `labels: null` to an apply: it is not stored so."""
    return not (key in EMPTY_META and value is None)


def comparable_member(key: str, value: Any, namespace: str) -> Any:
    """One member of an object."""
    if key == "managedFields":
        entries = [{k: comparable(v, namespace) for k, v in entry.items() if k != "time"} for entry in value]
        return sorted(entries, key=lambda e: (e["operation"], e["manager"], e.get("subresource", "")))
    if key in PLACES and value:
        return PLACES[key]
    if key in TIMES and value:
        return "<time>"
    if key in ("uid", "controller-uid", "batch.kubernetes.io/controller-uid"):
        return "<uid>"
    if key == "causes":
        return sorted((comparable(cause, namespace) for cause in value), key=json.dumps)
    if key == "message":
        # Several reasons come in any order.
        return " ".join(sorted(re.split(r"[ ,\[\]\n]+", comparable(value, namespace))))
    return comparable(value, namespace)


def wordless(status: Any) -> Any:
    """A refusal without its words: the code, the reason, and which fields are wrong in which way."""
    details = status.get("details") or {}
    causes = {(cause.get("reason"), cause.get("field")) for cause in details.get("causes", ())}
    return {
        "code": status.get("code"),
        "reason": status.get("reason"),
        "name": details.get("name"),
        "kind": details.get("kind"),
        "causes": sorted(causes, key=str),
    }


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Where two answers differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        found = []
        for key in sorted(left.keys() | right.keys()):
            if key not in left or key not in right:
                here, side = (right, "real") if key in right else (left, "fake")
                found.append(f"{path}.{key}: only the {side} one: {json.dumps(here[key])}")
            else:
                found += differences(left[key], right[key], f"{path}.{key}")
        return found
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        pairs = enumerate(zip(left, right, strict=True))
        return [line for index, (a, b) in pairs for line in differences(a, b, f"{path}[{index}]")]
    same = left == right and isinstance(left, bool) == isinstance(right, bool)
    return [] if same else [f"{path}: fake {json.dumps(left)}, real {json.dumps(right)}"]


__all__ = ["comparable", "differences", "wordless"]
