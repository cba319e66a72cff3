"""What every cluster has in it from the start: rights for its own parts, the name server's and the metrics' services.

CoreDNS and the metrics server run on the host. Their Services have no selector; an EndpointSlice leads to the bridge.
"""

from __future__ import annotations

import base64
from typing import Any

from libresh.local.spec import METRICS_PORT, Cluster

Object = dict[str, Any]


def build_all(cluster: Cluster, *, authority: bytes) -> tuple[Object, ...]:
    """Objects to apply once the API server answers. `authority` signed the metrics server's certificate."""
    return (
        _binding("libresh:apiserver-to-kubelets", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
        *_dns(cluster),
        *_metrics(cluster, authority),
    )


def _binding(name: str, role: str, user: str) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def _role(name: str, rules: list[Object]) -> Object:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }


def _service(cluster: Cluster, name: str, ports: list[Object], **more: Any) -> list[Object]:
    """A Service and where it leads: the bridge's address."""
    labels = {"k8s-app": name, "kubernetes.io/name": name}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
        "spec": {**more, "ports": [{key: port[key] for key in ("name", "port", "protocol")} for port in ports]},
    }
    slice_labels = {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "libresh-local"}
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-host", "namespace": "kube-system", "labels": slice_labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [str(cluster.address)], "conditions": {"ready": True}}],
        "ports": [{"name": port["name"], "port": port["target"], "protocol": port["protocol"]} for port in ports],
    }
    return [service, endpoints]


def _dns(cluster: Cluster) -> list[Object]:
    ports = [
        {"name": "dns", "port": 53, "target": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "target": 53, "protocol": "TCP"},
    ]
    reading = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": reading},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": reading},
    ]
    return [
        _role("libresh:coredns", rules),
        _binding("libresh:coredns", "libresh:coredns", "system:coredns"),
        *_service(cluster, "kube-dns", ports, clusterIP=str(cluster.dns_service)),
    ]


def _metrics(cluster: Cluster, authority: bytes) -> list[Object]:
    user = "system:metrics-server"
    ports = [{"name": "https", "port": 443, "target": METRICS_PORT, "protocol": "TCP"}]
    collect = [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
    ]
    show = [{"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}]
    reader = _role("libresh:metrics-reader", show)
    reader["metadata"]["labels"] = {
        f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")
    }
    return [
        _role("libresh:metrics-server", collect),
        reader,
        _binding("libresh:metrics-server", "libresh:metrics-server", user),
        _binding("libresh:metrics-server-asks-who", "system:auth-delegator", user),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "libresh:metrics-server-auth", "namespace": "kube-system"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "extension-apiserver-authentication-reader",
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        },
        *_service(cluster, "metrics-server", ports),
        _metrics_api(authority),
    ]


def _metrics_api(authority: bytes) -> Object:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "caBundle": base64.b64encode(authority).decode(),
            "service": {"name": "metrics-server", "namespace": "kube-system", "port": 443},
        },
    }
