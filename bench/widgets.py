"""The small reconcile that all contenders do: a widget of 3.6 KB gets one ConfigMap and says that it is ready."""

from typing import Any

GROUP, KIND, NAMESPACE = "bench.libre.sh", "Widget", "bench"
OPEN: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CONDITIONS: dict[str, Any] = {
    "type": "array",
    "items": OPEN,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}
CONDITION: dict[str, Any] = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "string"},
        "reason": {"type": "string"},
        "message": {"type": "string"},
        "observedGeneration": {"type": "integer"},
        "lastTransitionTime": {"type": "string"},
    },
}
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": KIND, "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": OPEN,
                            "status": {
                                "type": "object",
                                "properties": {
                                    "observedGeneration": {"type": "integer"},
                                    "conditions": {**CONDITIONS, "items": CONDITION},
                                    # Where kopf keeps its notes; without it they are dropped, and it writes twice.
                                    "kopf": OPEN,
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


def widget(index: int) -> dict[str, Any]:
    """One widget of about 3.6 KB."""
    settings = {f"setting{number:02}": f"value {number} of widget {index} " + "x" * 40 for number in range(20)}
    env = [{"name": f"VARIABLE_{number}", "value": "y" * 50} for number in range(20)]
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": KIND,
        "metadata": {"name": f"widget-{index}", "namespace": NAMESPACE, "labels": {"app": "bench"}},
        "spec": {"size": 1, "settings": settings, "env": env},
    }


def is_done(obj: dict[str, Any]) -> bool:
    """Whether its present generation was acted on and it says so."""
    status = obj.get("status") or {}
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))
    return ready and status.get("observedGeneration") == obj["metadata"].get("generation")
