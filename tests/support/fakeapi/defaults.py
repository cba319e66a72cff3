"""What the server fills into built-in kinds."""

import base64
from collections.abc import Callable
from typing import Any

from .podspec import default_pod, default_template

Object = dict[str, Any]


def spec_of(obj: Object) -> Object:
    """The spec, made if there is none."""
    if not isinstance(obj.get("spec"), dict):
        obj["spec"] = {}
    spec: Object = obj["spec"]
    return spec


def default_namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
    spec_of(obj).setdefault("finalizers", ["kubernetes"])


def default_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def default_service(obj: Object) -> None:
    spec = spec_of(obj)
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("targetPort", port.get("port"))
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")


def place_service(obj: Object, address: Callable[[], str]) -> None:
    """Gives a new service its address."""
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if "clusterIP" not in spec:
        spec["clusterIP"] = address()
    spec.setdefault("clusterIPs", [spec["clusterIP"]])


def default_deployment(obj: Object) -> None:
    spec = spec_of(obj)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    default_template(spec.get("template"))


def default_replica_set(obj: Object) -> None:
    spec = spec_of(obj)
    spec.setdefault("replicas", 1)
    default_template(spec.get("template"))


def default_daemon_set(obj: Object) -> None:
    spec = spec_of(obj)
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("maxUnavailable", 1)
        strategy["rollingUpdate"].setdefault("maxSurge", 0)
    default_template(spec.get("template"))


def default_stateful_set(obj: Object) -> None:
    spec = spec_of(obj)
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    default_template(spec.get("template"))
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        default_claim(claim)
        claim.setdefault("status", {"phase": "Pending"})


def default_job_spec(spec: Object) -> None:
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("podReplacementPolicy", "TerminatingOrFailed")
    spec.setdefault("manualSelector", False)
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)


def default_job(obj: Object) -> None:
    spec = spec_of(obj)
    default_job_spec(spec)
    default_template(spec.get("template"))


def default_cron_job(obj: Object) -> None:
    spec = spec_of(obj)
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    inner = (spec.get("jobTemplate") or {}).get("spec")
    if isinstance(inner, dict):
        default_template(inner.get("template"))


def default_claim(obj: Object) -> None:
    spec_of(obj).setdefault("volumeMode", "Filesystem")


def default_volume(obj: Object) -> None:
    spec_of(obj).setdefault("volumeMode", "Filesystem")
    obj["spec"].setdefault("persistentVolumeReclaimPolicy", "Retain")


def default_network_policy(obj: Object) -> None:
    spec = spec_of(obj)
    spec.setdefault("podSelector", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")


def default_pod_object(obj: Object) -> None:
    spec = spec_of(obj)
    default_pod(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)


def default_storage_class(obj: Object) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def default_binding(obj: Object) -> None:
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def default_autoscaler(obj: Object) -> None:
    spec = spec_of(obj)
    spec.setdefault("minReplicas", 1)


DEFAULTS: dict[str, Callable[[Object], None]] = {
    "Namespace": default_namespace,
    "Secret": default_secret,
    "Service": default_service,
    "Deployment": default_deployment,
    "ReplicaSet": default_replica_set,
    "DaemonSet": default_daemon_set,
    "StatefulSet": default_stateful_set,
    "Job": default_job,
    "CronJob": default_cron_job,
    "PersistentVolumeClaim": default_claim,
    "PersistentVolume": default_volume,
    "NetworkPolicy": default_network_policy,
    "Pod": default_pod_object,
    "StorageClass": default_storage_class,
    "RoleBinding": default_binding,
    "ClusterRoleBinding": default_binding,
    "HorizontalPodAutoscaler": default_autoscaler,
}

FIRST_STATUS: dict[str, Object] = {
    "Namespace": {"phase": "Active"},
    "PersistentVolumeClaim": {"phase": "Pending"},
    "PersistentVolume": {"phase": "Pending"},
    "Pod": {"phase": "Pending", "qosClass": "BestEffort"},
    "Service": {"loadBalancer": {}},
    "Ingress": {"loadBalancer": {}},
    "Deployment": {},
    "Job": {},
    "CronJob": {},
    "ResourceQuota": {},
    "ReplicaSet": {"replicas": 0},
    "StatefulSet": {"replicas": 0, "availableReplicas": 0},
    "DaemonSet": {"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0},
    "PodDisruptionBudget": {"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0},
    "HorizontalPodAutoscaler": {"desiredReplicas": 0},
}

TEMPLATE: Object = {"metadata": {}, "spec": {"containers": None}}
EMPTY: dict[str, Object] = {
    kind: {"spec": {"template": TEMPLATE, "strategy": {}, "updateStrategy": {}}, "status": {}}
    for kind in ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job")
}
EMPTY["CronJob"] = {"spec": {"jobTemplate": {"metadata": {}, "spec": {"template": TEMPLATE}}}, "status": {}}
EMPTY["Service"] = {"spec": {}, "status": {"loadBalancer": {}}}
EMPTY["Ingress"] = EMPTY["Service"]
EMPTY["PersistentVolumeClaim"] = {"spec": {"resources": {}}, "status": {}}
EMPTY["NetworkPolicy"] = {"spec": {"podSelector": {}}}
EMPTY["Pod"] = {"spec": {"containers": None}, "status": {}}
EMPTY["RoleBinding"] = EMPTY["ClusterRoleBinding"] = {"roleRef": {}}
for _kind in (
    "Namespace",
    "Node",
    "PersistentVolume",
    "PodDisruptionBudget",
    "Lease",
    "ResourceQuota",
    "LimitRange",
    "HorizontalPodAutoscaler",
    "IngressClass",
    "CustomResourceDefinition",
):
    EMPTY[_kind] = {"spec": {}, "status": {}}


def own_pods(obj: Object) -> None:
    """A Job's selector and pod labels, which the server makes from its uid."""
    uid, name = obj["metadata"]["uid"], obj["metadata"]["name"]
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    template = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    template |= {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    obj["metadata"].setdefault("labels", dict(template))


__all__ = ["DEFAULTS", "EMPTY", "FIRST_STATUS", "own_pods", "place_service"]
