"""CustomResourceDefinitions that only tests and measurements have, and the words their schemas are made of."""

from typing import Any

Object = dict[str, Any]
STRING: Object = {"type": "string"}
INTEGER: Object = {"type": "integer"}
BOOLEAN: Object = {"type": "boolean"}
OPEN: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def fields(**properties: Object) -> Object:
    """An object with just these fields."""
    return {"type": "object", "properties": properties}


def map_of(value: Object) -> Object:
    return {"type": "object", "additionalProperties": value}


def list_of(item: Object) -> Object:
    return {"type": "array", "items": item}


def list_by(key: str, item: Object) -> Object:
    """A list whose items are known by a key."""
    return {**list_of(item), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def definition(
    group: str,
    version: str,
    kind: str,
    spec: Object = OPEN,
    status: Object = OPEN,
    *,
    scope: str = "Namespaced",
    door: bool = True,
) -> Object:
    """A kind. `door`: whether its status is a subresource."""
    plural = f"{kind.lower()}s"
    served = {
        "name": version,
        "served": True,
        "storage": True,
        **({"subresources": {"status": {}}} if door else {}),
        "schema": {"openAPIV3Schema": fields(spec=spec, status=status)},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [served]},
    }
