"""The small reconcile that all contenders do: a widget of 3.6 KB gets one ConfigMap and says that it is ready."""

from typing import Any

from support.definitions import INTEGER, OPEN, STRING, definition, fields, list_by

GROUP, KIND, NAMESPACE = "bench.libre.sh", "Widget", "bench"
CONDITION = fields(
    type=STRING, status=STRING, reason=STRING, message=STRING, observedGeneration=INTEGER, lastTransitionTime=STRING
)
STATUS = fields(
    observedGeneration=INTEGER,
    conditions=list_by("type", {**CONDITION, "required": ["type"]}),
    kopf=OPEN,  # where kopf keeps its notes; without it they are dropped, and it writes twice
)
CRD = definition(GROUP, "v1", KIND, OPEN, STATUS)


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
