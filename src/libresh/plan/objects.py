"""Builders of the Kubernetes objects everything is made of. All pods meet Pod Security `restricted`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from libresh.api.meta import Resource
from libresh.plan import naming
from libresh.plan.actions import Object

USER = 10001
"""The user and group all of libre.sh's images run as."""


@dataclass(frozen=True)
class Probe:
    """How to ask a container how it is. Exactly one of `path` (HTTP), `argv` and neither (a TCP connection)."""

    port: int | str = 0
    path: str = ""
    argv: tuple[str, ...] = ()
    period: int = 5
    timeout: int = 3
    failures: int = 3

    def build(self) -> Object:
        probe: Object = {
            "periodSeconds": self.period,
            "timeoutSeconds": self.timeout,
            "failureThreshold": self.failures,
        }
        if self.argv:
            probe["exec"] = {"command": list(self.argv)}
        elif self.path:
            probe["httpGet"] = {"path": self.path, "port": self.port, "scheme": "HTTP"}
        else:
            probe["tcpSocket"] = {"port": self.port}
        return probe


@dataclass(frozen=True)
class Mount:
    """One volume seen in a container. `source` is the volume as Kubernetes writes it, without its name."""

    name: str
    path: str
    source: Mapping[str, Any]
    read_only: bool = True
    sub_path: str = ""


def empty_dir(name: str, path: str, *, size: str = "64Mi", memory: bool = False) -> Mount:
    """A scratch folder that goes with the pod."""
    medium = {"medium": "Memory"} if memory else {}
    return Mount(name, path, {"emptyDir": {"sizeLimit": size, **medium}}, read_only=False)


def from_secret(name: str, path: str, secret: str, keys: Sequence[str] = ()) -> Mount:
    """A Secret's keys as files, readable by the pod's group only."""
    items = {"items": [{"key": key, "path": key} for key in keys]} if keys else {}
    return Mount(name, path, {"secret": {"secretName": secret, "defaultMode": 0o440, **items}})


def from_config(name: str, path: str, config_map: str) -> Mount:
    """A ConfigMap's keys as files."""
    return Mount(name, path, {"configMap": {"name": config_map, "defaultMode": 0o444}})


def from_claim(name: str, path: str, volume_claim: str) -> Mount:
    """A PersistentVolumeClaim."""
    return Mount(name, path, {"persistentVolumeClaim": {"claimName": volume_claim}}, read_only=False)


@dataclass(frozen=True)
class Resources:
    """What a container asks for and may use. CPU is never limited: a limit only makes idle machines slow."""

    cpu: str = "10m"
    memory: str = "32Mi"
    memory_limit: str = "64Mi"

    def build(self) -> Object:
        return {
            "requests": {"cpu": self.cpu, "memory": self.memory},
            "limits": {"memory": self.memory_limit},
        }


@dataclass(frozen=True)
class Container:
    """One container, as far as libre.sh varies it."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    """Values, or a mapping for `valueFrom`."""
    ports: Mapping[str, int] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    resources: Resources = Resources()
    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    pre_stop: tuple[str, ...] = ()

    def build(self) -> Object:
        container: Object = {
            "name": self.name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "resources": self.resources.build(),
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
        }
        if self.command:
            container["command"] = list(self.command)
        if self.args:
            container["args"] = list(self.args)
        if self.env:
            container["env"] = [build_env(name, value) for name, value in self.env.items()]
        if self.ports:
            container["ports"] = [
                {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in self.ports.items()
            ]
        if self.mounts:
            container["volumeMounts"] = [build_mount(mount) for mount in self.mounts]
        for key, probe in (
            ("startupProbe", self.startup),
            ("readinessProbe", self.readiness),
            ("livenessProbe", self.liveness),
        ):
            if probe:
                container[key] = probe.build()
        if self.pre_stop:
            container["lifecycle"] = {"preStop": {"exec": {"command": list(self.pre_stop)}}}
        return container


def build_env(name: str, value: str | Mapping[str, Any]) -> Object:
    """One environment variable."""
    return {"name": name, "value": value} if isinstance(value, str) else {"name": name, "valueFrom": dict(value)}


def env_from_secret(secret: str, key: str) -> Mapping[str, Any]:
    """The value of a variable that comes from a Secret."""
    return {"secretKeyRef": {"name": secret, "key": key}}


def build_mount(mount: Mount) -> Object:
    """How a container sees a volume."""
    built: Object = {"name": mount.name, "mountPath": mount.path}
    if mount.read_only:
        built["readOnly"] = True
    if mount.sub_path:
        built["subPath"] = mount.sub_path
    return built


@dataclass(frozen=True)
class Pod:
    """A pod: its containers, who it is, and how long it may take to stop."""

    containers: tuple[Container, ...]
    init: tuple[Container, ...] = ()
    service_account: str = ""
    """A ServiceAccount whose token is mounted; empty: the pod has no access to the API."""
    identity: str = ""
    """A ServiceAccount of its own without a token, for pods that have no access to the API."""
    grace: int = 30
    restart: str = "Always"
    apart_from: Mapping[str, str] = field(default_factory=dict)
    """Labels of pods this one never shares a node with: it rather waits for a node than pretends to be spread."""

    def build(self) -> Object:
        mounts = {m.name: dict(m.source) for c in (*self.init, *self.containers) for m in c.mounts}
        spec: Object = {
            "automountServiceAccountToken": bool(self.service_account),
            "containers": [container.build() for container in self.containers],
            "enableServiceLinks": False,
            "restartPolicy": self.restart,
            "securityContext": {
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "runAsGroup": USER,
                "runAsNonRoot": True,
                "runAsUser": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": self.grace,
        }
        if self.init:
            spec["initContainers"] = [container.build() for container in self.init]
        if account := self.service_account or self.identity:
            spec["serviceAccountName"] = account
        if self.apart_from:
            term = {"labelSelector": {"matchLabels": dict(self.apart_from)}, "topologyKey": "kubernetes.io/hostname"}
            spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        if mounts:
            spec["volumes"] = [{"name": name, **source} for name, source in mounts.items()]
        return spec


def build_metadata(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    *,
    owner: Resource | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Metadata of a child. With `owner` it goes when the owner goes; without, it is kept."""
    metadata: Object = {"name": name, "labels": dict(labels)}
    if namespace:
        metadata["namespace"] = namespace
    if annotations:
        metadata["annotations"] = dict(annotations)
    if owner is not None:
        metadata["ownerReferences"] = [build_owner(owner)]
    return metadata


def build_owner(owner: Resource) -> Object:
    """The controller reference to an object of ours."""
    return {
        "apiVersion": owner.KIND.api_version,
        "kind": owner.KIND.kind,
        "name": owner.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def build_template(pod: Pod, labels: Mapping[str, str], content: str) -> Object:
    """A pod template. `content` is a digest of all the pods' configuration."""
    return {
        "metadata": {"labels": dict(labels), "annotations": {naming.CONTENT_ANNOTATION: content}},
        "spec": pod.build(),
    }


def build_deployment(
    metadata: Object,
    pod: Pod,
    *,
    selector: Mapping[str, str],
    content: str = "",
    replicas: int = 1,
    recreate: bool = True,
    deadline: int | None = None,
) -> Object:
    """A Deployment. `recreate`: never two at once, for what must be alone. `deadline`: seconds a roll-out may take."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            **({"progressDeadlineSeconds": deadline} if deadline else {}),
            "selector": {"matchLabels": dict(selector)},
            "strategy": {"type": "Recreate"}
            if recreate
            else {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": build_template(pod, metadata["labels"], content),
        },
    }


def build_stateful_set(
    metadata: Object,
    pod: Pod,
    *,
    selector: Mapping[str, str],
    service: str,
    content: str = "",
    replicas: int = 1,
) -> Object:
    """A StatefulSet: at most one pod of each name exists at any time, even when a node is silent."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "podManagementPolicy": "Parallel",
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": dict(selector)},
            "serviceName": service,
            "template": build_template(pod, metadata["labels"], content),
        },
    }


def build_job(metadata: Object, pod: Pod, *, retries: int = 3, keep_seconds: int | None = None) -> Object:
    """A Job. Its name must hold a digest of its input: what a Job does cannot be changed once it is made."""
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": retries,
            "template": {"metadata": {"labels": metadata["labels"]}, "spec": pod.build()},
        },
    }
    if keep_seconds is not None:
        job["spec"]["ttlSecondsAfterFinished"] = keep_seconds
    return job


def build_service(
    metadata: Object, ports: Mapping[str, int], *, selector: Mapping[str, str], headless: bool = False
) -> Object:
    """A Service; a headless one also answers for pods that are not ready."""
    spec: Object = {
        "ports": [{"name": name, "port": port, "protocol": "TCP", "targetPort": name} for name, port in ports.items()],
        "selector": dict(selector),
    }
    if headless:
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def build_disruption_budget(metadata: Object, *, selector: Mapping[str, str], max_unavailable: int) -> Object:
    """A PodDisruptionBudget: how many of these pods a drain may take away at a time."""
    spec = {"maxUnavailable": max_unavailable, "selector": {"matchLabels": dict(selector)}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def build_volume_claim(metadata: Object, size: str, storage_class: str | None = None) -> Object:
    """A PersistentVolumeClaim for one node at a time."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def build_config_map(metadata: Object, data: Mapping[str, str]) -> Object:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


def build_service_account(metadata: Object) -> Object:
    """A ServiceAccount whose token is mounted only where a pod asks for it."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }


def build_role(metadata: Object, rules: Sequence[Mapping[str, Any]]) -> Object:
    """A Role."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": [dict(rule) for rule in rules],
    }


def build_role_binding(metadata: Object, *, role: str, service_account: str, home: str = "") -> Object:
    """A RoleBinding of a Role to a ServiceAccount, of the same namespace unless `home` says which."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": service_account, "namespace": home or metadata["namespace"]}],
    }


def build_network_policy(
    metadata: Object,
    *,
    selector: Mapping[str, str],
    ingress: Sequence[Mapping[str, Any]] | None = None,
    egress: Sequence[Mapping[str, Any]] | None = None,
) -> Object:
    """A NetworkPolicy. A direction that is None is not restricted, an empty one is closed.

    An empty list is left out: the type alone closes the direction, and the API server would store an empty list anew at
    every apply.
    """
    spec: Object = {"podSelector": {"matchLabels": dict(selector)}, "policyTypes": []}
    if ingress is not None:
        spec["policyTypes"].append("Ingress")
        if ingress:
            spec["ingress"] = [dict(rule) for rule in ingress]
    if egress is not None:
        spec["policyTypes"].append("Egress")
        if egress:
            spec["egress"] = [dict(rule) for rule in egress]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def build_ingress(
    metadata: Object,
    rules: Mapping[str, Sequence[tuple[str, str, str]]],
    *,
    class_name: str | None = None,
    tls_secret: str | None = None,
    path_type: str = "Prefix",
) -> Object:
    """An Ingress: host → (path, service, port name)."""
    spec: Object = {
        "rules": [
            {
                "host": host,
                "http": {
                    "paths": [
                        {
                            "path": path,
                            "pathType": path_type,
                            "backend": {"service": {"name": service, "port": {"name": port}}},
                        }
                        for path, service, port in paths
                    ]
                },
            }
            for host, paths in rules.items()
        ]
    }
    if class_name:
        spec["ingressClassName"] = class_name
    if tls_secret:
        spec["tls"] = [{"hosts": list(rules), "secretName": tls_secret}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}
