"""Makes builtin.json: the schemas of Kubernetes' own kinds, cut down to what the fake needs.

    cd tests && python -m support.fakeapi.extract      (asks a real server, which it starts)

Descriptions are dropped, and so is every kind that no part of libre.sh touches.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.apiserver import RealApi

BUILTIN = Path(__file__).with_name("builtin.json")

STATUS, GENERATION, CLUSTER, ORPHAN = "status", "generation", "cluster", "orphan"

KINDS: dict[str, tuple[str, str, set[str]]] = {
    # kind: (definition, plural, traits)
    "Namespace": ("io.k8s.api.core.v1.Namespace", "namespaces", {STATUS, CLUSTER}),
    "Node": ("io.k8s.api.core.v1.Node", "nodes", {STATUS, CLUSTER}),
    "PersistentVolume": ("io.k8s.api.core.v1.PersistentVolume", "persistentvolumes", {STATUS, CLUSTER}),
    "PersistentVolumeClaim": ("io.k8s.api.core.v1.PersistentVolumeClaim", "persistentvolumeclaims", {STATUS}),
    "Pod": ("io.k8s.api.core.v1.Pod", "pods", {STATUS, GENERATION}),
    "Service": ("io.k8s.api.core.v1.Service", "services", {STATUS}),
    "ServiceAccount": ("io.k8s.api.core.v1.ServiceAccount", "serviceaccounts", set()),
    "Secret": ("io.k8s.api.core.v1.Secret", "secrets", set()),
    "ConfigMap": ("io.k8s.api.core.v1.ConfigMap", "configmaps", set()),
    "Deployment": ("io.k8s.api.apps.v1.Deployment", "deployments", {STATUS, GENERATION}),
    "StatefulSet": ("io.k8s.api.apps.v1.StatefulSet", "statefulsets", {STATUS, GENERATION}),
    "DaemonSet": ("io.k8s.api.apps.v1.DaemonSet", "daemonsets", {STATUS, GENERATION}),
    "ReplicaSet": ("io.k8s.api.apps.v1.ReplicaSet", "replicasets", {STATUS, GENERATION}),
    "Job": ("io.k8s.api.batch.v1.Job", "jobs", {STATUS, GENERATION, ORPHAN}),
    "CronJob": ("io.k8s.api.batch.v1.CronJob", "cronjobs", {STATUS, GENERATION}),
    "Ingress": ("io.k8s.api.networking.v1.Ingress", "ingresses", {STATUS, GENERATION}),
    "IngressClass": ("io.k8s.api.networking.v1.IngressClass", "ingressclasses", {GENERATION, CLUSTER}),
    "NetworkPolicy": ("io.k8s.api.networking.v1.NetworkPolicy", "networkpolicies", {GENERATION}),
    "PodDisruptionBudget": ("io.k8s.api.policy.v1.PodDisruptionBudget", "poddisruptionbudgets", {STATUS, GENERATION}),
    "HorizontalPodAutoscaler": (
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        {STATUS},
    ),
    "Role": ("io.k8s.api.rbac.v1.Role", "roles", set()),
    "RoleBinding": ("io.k8s.api.rbac.v1.RoleBinding", "rolebindings", set()),
    "ClusterRole": ("io.k8s.api.rbac.v1.ClusterRole", "clusterroles", {CLUSTER}),
    "ClusterRoleBinding": ("io.k8s.api.rbac.v1.ClusterRoleBinding", "clusterrolebindings", {CLUSTER}),
    "Endpoints": ("io.k8s.api.core.v1.Endpoints", "endpoints", set()),
    "LimitRange": ("io.k8s.api.core.v1.LimitRange", "limitranges", set()),
    "ResourceQuota": ("io.k8s.api.core.v1.ResourceQuota", "resourcequotas", {STATUS}),
    "ControllerRevision": ("io.k8s.api.apps.v1.ControllerRevision", "controllerrevisions", set()),
    "Lease": ("io.k8s.api.coordination.v1.Lease", "leases", set()),
    "StorageClass": ("io.k8s.api.storage.v1.StorageClass", "storageclasses", {CLUSTER}),
    "PriorityClass": ("io.k8s.api.scheduling.v1.PriorityClass", "priorityclasses", {GENERATION, CLUSTER}),
    "EndpointSlice": ("io.k8s.api.discovery.v1.EndpointSlice", "endpointslices", {GENERATION}),
    "Event": ("io.k8s.api.events.v1.Event", "events", set()),
    "CustomResourceDefinition": (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        "customresourcedefinitions",
        {STATUS, GENERATION, CLUSTER},
    ),
}
KEPT = {
    "$ref",
    "type",
    "format",
    "nullable",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "enum",
    "default",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-patch-merge-key",
    "x-kubernetes-patch-strategy",
}
EVENT = "io.k8s.api.core.v1.Event"


def trim(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without what is meant for people."""
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: trim(part) for name, part in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            kept[key] = trim(value)
        elif key == "$ref":
            kept[key] = value.rpartition("/")[2]
        elif key == "allOf" and len(value) == 1:
            kept["$ref"] = value[0]["$ref"].rpartition("/")[2]
        elif key == "default" and not value:
            continue
        elif key in KEPT:
            kept[key] = value
    return kept


def references(schema: Any) -> set[str]:
    """Every definition this schema speaks of."""
    if isinstance(schema, list):
        return {name for part in schema for name in references(part)}
    if not isinstance(schema, dict):
        return set()
    found = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
    return found | {name for part in schema.values() for name in references(part)}


def extract(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The kinds and every definition they need."""
    definitions: dict[str, Any] = {}
    for document in documents:
        definitions |= document.get("components", {}).get("schemas", {})
    wanted, kept = [entry[0] for entry in KINDS.values()] + [EVENT], {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = trim(definitions[name])
            wanted.extend(references(kept[name]))
    kinds = []
    for kind, (definition, plural, traits) in [*KINDS.items(), ("Event", (EVENT, "events", set()))]:
        identity = definitions[definition]["x-kubernetes-group-version-kind"][0]
        kinds.append(
            {
                "group": identity["group"],
                "version": identity["version"],
                "kind": kind,
                "plural": plural,
                "schema": definition,
                "traits": sorted(traits),
            }
        )
    return {"kinds": kinds, "definitions": dict(sorted(kept.items()))}


def documents(server: RealApi) -> list[dict[str, Any]]:
    """What a server says of itself."""
    paths = server.ask("/openapi/v3")["paths"]
    return [server.ask(entry["serverRelativeURL"]) for path, entry in sorted(paths.items()) if "/v" in path]


def main() -> None:
    """Rewrites builtin.json from a real server."""
    with RealApi() as server:
        text = json.dumps(extract(documents(server)), indent=None, separators=(",", ":"), sort_keys=True)
    BUILTIN.write_text(text.replace('},"io.', '},\n"io.') + "\n")


if __name__ == "__main__":
    main()
