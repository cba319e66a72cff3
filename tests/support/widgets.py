"""Kinds that only tests have: one with a status door, one without, one for the whole cluster."""

from typing import Any

from .definitions import definition, list_by

GROUP = "test.libre.sh"
WIDGETS = f"/apis/{GROUP}/v1/namespaces/{{ns}}/widgets"
PLAINS = f"/apis/{GROUP}/v1/namespaces/{{ns}}/plains"
GLOBES = f"/apis/{GROUP}/v1/globes"

CONDITION: dict[str, Any] = {
    "type": "object",
    "required": ["type", "status"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string"},
        "message": {"type": "string"},
    },
}
SPEC: dict[str, Any] = {
    "type": "object",
    "properties": {
        "host": {"type": "string", "pattern": "^[a-z.]+$", "maxLength": 20},
        "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "mode": {"type": "string", "enum": ["Single", "Double"]},
        "on": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": True},
        "parent": {
            "type": "object",
            "properties": {
                "child": {"type": "string"},
                "grown": {"type": "integer", "default": 18},
                "other": {"type": "string"},
            },
        },
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "plain": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "items": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "value": {"type": "string"},
                    "more": {"type": "string"},
                    "deep": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {
                "type": "object",
                "required": ["port"],
                "properties": {
                    "port": {"type": "integer"},
                    "protocol": {"type": "string", "default": "TCP"},
                    "title": {"type": "string"},
                },
            },
        },
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "ref": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "properties": {"name": {"type": "string"}, "key": {"type": "string"}},
        },
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "maybe": {"type": "string", "nullable": True},
    },
}
STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "phase": {"type": "string"},
        "observedGeneration": {"type": "integer"},
        "conditions": list_by("type", CONDITION),
    },
}
CRDS = (
    definition(GROUP, "v1", "Widget", SPEC, STATUS),
    definition(GROUP, "v1", "Plain", SPEC, STATUS, door=False),
    definition(GROUP, "v1", "Globe", SPEC, STATUS, scope="Cluster"),
)


def widget(
    name: str = "w", metadata: dict[str, Any] | None = None, kind: str = "Widget", **spec: Any
) -> dict[str, Any]:
    """An object of one of these kinds."""
    status = spec.pop("status", None)
    made: dict[str, Any] = {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, **(metadata or {})},
        "spec": spec,
    }
    return {**made, "status": status} if status is not None else made


def config(name: str = "c", metadata: dict[str, Any] | None = None, **data: str) -> dict[str, Any]:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **(metadata or {})}, "data": data}
