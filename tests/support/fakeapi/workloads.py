"""A contract stub of Kubernetes' controllers and kubelets: nothing runs, statuses say that it does.

It behaves as the real ones where an operator looks: Deployments, StatefulSets and DaemonSets become available for
their current generation, Jobs complete or fail, claims are bound (those of a StatefulSet are created), Ingresses get
an address, bare Pods run. A test steers it:

    workloads = Workloads(api)                     # from now on `await api.settle()` includes it
    workloads.hold("Deployment", "web")            # stays unready; names may be patterns ("migrate-*")
    workloads.fail("Job", "migrate-*", message="no space left")
    workloads.release("Deployment", "web")
"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .api import FakeApi
from .store import Stored, Table

Object = dict[str, Any]
MANAGER = "kube-controller-manager"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to happen to matching objects."""

    do: str
    kind: str
    name: str
    namespace: str
    reason: str = ""
    message: str = ""

    def fits(self, kind: str, stored: Stored) -> bool:
        return (
            self.kind == kind
            and fnmatchcase(stored.name, self.name)
            and (not self.namespace or self.namespace == stored.namespace)
        )


class Workloads:
    """The stub. It joins `api.settle` when it is made."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.orders: list[Order] = []
        self.positions: dict[tuple[str, str], int] = {}
        self.tables: list[Table] = [api.table(api.kind(kind)) for kind in STATUSES]
        api.controllers.append(self.step)

    # --- steering ----------------------------------------------------------------------------------------------

    def hold(self, kind: str, name: str = "*", namespace: str = "") -> None:
        """Matching objects get on but never become ready, complete or bound."""
        self.order(Order("hold", kind, name, namespace))

    def fail(
        self,
        kind: str,
        name: str = "*",
        namespace: str = "",
        *,
        reason: str = "BackoffLimitExceeded",
        message: str = "Job has reached the specified backoff limit",
    ) -> None:
        """Matching Jobs fail; Deployments stop progressing."""
        self.order(Order("fail", kind, name, namespace, reason, message))

    def release(self, kind: str, name: str = "*", namespace: str = "") -> None:
        """Matching objects do well from now on. A Job that has failed stays failed."""
        self.order(Order("go", kind, name, namespace))

    def order(self, order: Order) -> None:
        self.orders.append(order)
        self.positions.pop(self.api.kind(order.kind).resource, None)

    def order_for(self, kind: str, stored: Stored) -> Order:
        """The last order that fits."""
        found = (order for order in reversed(self.orders) if order.fits(kind, stored))
        return next(found, Order("go", kind, "*", ""))

    # --- work --------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Brings every status up to date."""
        for table in self.tables:
            for stored in self.changed(table):
                self.serve(table.kind.kind, stored)

    def changed(self, table: Table) -> list[Stored]:
        """The objects that changed since they were last looked at."""
        position = self.positions.get(table.kind.resource)
        self.positions[table.kind.resource] = table.base + len(table.history)
        if position is None or position < table.base:
            return list(table.objects.values())
        keys = dict.fromkeys(event.stored.key for event in table.history[position - table.base :])
        return [table.objects[key] for key in keys if key in table.objects]

    def serve(self, kind: str, stored: Stored) -> None:
        """Writes the status an object should have, if it has another."""
        obj = stored.decode()
        if obj["metadata"].get("deletionTimestamp"):
            return
        if kind == "StatefulSet":
            self.create_claims(obj)
        wanted = STATUSES[kind](obj, self.order_for(kind, stored), self.api.timestamp())
        if wanted is None or settled(obj.get("status"), wanted):
            return
        obj["status"] = wanted
        if kind == "PersistentVolumeClaim" and wanted["phase"] == "Bound" and not obj["spec"].get("volumeName"):
            volume = {"spec": {"volumeName": f"pvc-{stored.uid}"}}
            found = self.api.kind(kind)
            self.api.do(
                "PATCH", found, stored.namespace, stored.name, volume, MANAGER, "", "application/merge-patch+json"
            )
            del obj["metadata"]["resourceVersion"]
        self.api.do("PUT", self.api.kind(kind), stored.namespace, stored.name, obj, MANAGER, "status")

    def create_claims(self, obj: Object) -> None:
        """The claims of a StatefulSet's members."""
        namespace = obj["metadata"]["namespace"]
        labels = obj["spec"]["selector"].get("matchLabels", {})
        for template in obj["spec"].get("volumeClaimTemplates") or ():
            for ordinal in range(obj["spec"].get("replicas", 1)):
                name = f"{template['metadata']['name']}-{obj['metadata']['name']}-{ordinal}"
                if self.api.get("PersistentVolumeClaim", name, namespace) is None:
                    meta = {
                        "name": name,
                        "namespace": namespace,
                        "labels": {**(template["metadata"].get("labels") or {}), **labels},
                    }
                    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta}
                    self.api.create({**claim, "spec": template["spec"]}, MANAGER)

    def fire(self, name: str, namespace: str) -> Object:
        """What a CronJob's schedule would do now: creates its Job."""
        cron = self.api.get("CronJob", name, namespace)
        if cron is None:
            raise KeyError(f"no CronJob {namespace}/{name}")
        template = cron["spec"]["jobTemplate"]
        owner = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "name": name,
            "uid": cron["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        meta = {
            **(template.get("metadata") or {}),
            "name": f"{name}-{self.api.rv}",
            "namespace": namespace,
            "ownerReferences": [owner],
        }
        return self.api.create(
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": template["spec"]}, MANAGER
        )


def settled(status: Any, wanted: Object) -> bool:
    """Whether a status already says this; times do not count."""
    return bool(timeless(status or {}) == timeless(wanted))


def timeless(value: Any) -> Any:
    """JSON without times."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if not k.endswith("Time")}
    if isinstance(value, list):
        return [timeless(part) for part in value]
    return value


def condition(type: str, status: bool, reason: str, message: str, now: str) -> Object:
    return {
        "type": type,
        "status": str(status),
        "reason": reason,
        "message": message,
        "lastTransitionTime": now,
        "lastUpdateTime": now,
    }


def without_zeros(status: Object) -> Object:
    """Counters of zero are not written."""
    return {key: value for key, value in status.items() if value != 0 or isinstance(value, bool)}


def deployment_status(obj: Object, order: Order, now: str) -> Object:
    """A Deployment that is available, or is not."""
    count = obj["spec"].get("replicas", 1)
    good = order.do == "go"
    ready = count if good else 0
    available = condition(
        "Available",
        good,
        "MinimumReplicasAvailable" if good else "MinimumReplicasUnavailable",
        f"Deployment {'has' if good else 'does not have'} minimum availability.",
        now,
    )
    if order.do == "fail":
        progress = condition(
            "Progressing",
            False,
            "ProgressDeadlineExceeded",
            f'Deployment "{obj["metadata"]["name"]}" has timed out progressing.',
            now,
        )
    else:
        reason = "NewReplicaSetAvailable" if good else "ReplicaSetUpdated"
        progress = condition("Progressing", True, reason, "", now)
    return without_zeros(
        {
            "observedGeneration": obj["metadata"]["generation"],
            "replicas": count,
            "updatedReplicas": count,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": count - ready,
            "conditions": [available, progress],
        }
    )


def stateful_set_status(obj: Object, order: Order, now: str) -> Object:
    """A StatefulSet whose members are ready, or are not."""
    count = obj["spec"].get("replicas", 1)
    ready = count if order.do == "go" else 0
    generation = obj["metadata"]["generation"]
    revision = f"{obj['metadata']['name']}-{generation}"
    status = without_zeros(
        {
            "observedGeneration": generation,
            "readyReplicas": ready,
            "currentReplicas": count,
            "updatedReplicas": count,
        }
    )
    return status | {
        "replicas": count,
        "availableReplicas": ready,
        "currentRevision": revision,
        "updateRevision": revision,
        "collisionCount": 0,
    }


def daemon_set_status(obj: Object, order: Order, now: str) -> Object:
    """A DaemonSet on a cluster of one node."""
    ready = 1 if order.do == "go" else 0
    status = without_zeros(
        {
            "observedGeneration": obj["metadata"]["generation"],
            "updatedNumberScheduled": 1,
            "numberAvailable": ready,
            "numberUnavailable": 1 - ready,
        }
    )
    return status | {
        "currentNumberScheduled": 1,
        "desiredNumberScheduled": 1,
        "numberMisscheduled": 0,
        "numberReady": ready,
    }


def job_status(obj: Object, order: Order, now: str) -> Object | None:
    """A Job that completes, fails, runs on, or is suspended. An ended Job stays as it ended."""
    before = obj.get("status") or {}
    if any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in before.get("conditions", ())):
        return None
    spec, started = obj["spec"], before.get("startTime", now)

    def said(type: str, reason: str, message: str) -> Object:
        return {
            "type": type,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastProbeTime": now,
            "lastTransitionTime": now,
        }

    if spec.get("suspend"):
        return {"conditions": [said("Suspended", "JobSuspended", "Job suspended")]}
    if order.do == "hold":
        return {
            "startTime": started,
            "active": spec.get("parallelism", 1),
            "ready": 0,
            "terminating": 0,
            "uncountedTerminatedPods": {},
        }
    ended = {"startTime": started, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {}}
    if order.do == "fail":
        kinds = ("FailureTarget", "Failed")
        return ended | {
            "failed": spec.get("backoffLimit", 6) + 1,
            "conditions": [said(kind, order.reason, order.message) for kind in kinds],
        }
    message = "Reached expected number of succeeded pods"
    kinds = ("SuccessCriteriaMet", "Complete")
    return ended | {
        "succeeded": spec.get("completions", 1),
        "completionTime": now,
        "conditions": [said(kind, "CompletionsReached", message) for kind in kinds],
    }


def claim_status(obj: Object, order: Order, now: str) -> Object:
    """A claim that is bound, with the room it asked for."""
    if order.do != "go":
        return {"phase": "Pending"}
    return {
        "phase": "Bound",
        "accessModes": obj["spec"].get("accessModes", []),
        "capacity": {"storage": obj["spec"]["resources"]["requests"]["storage"]},
    }


def ingress_status(obj: Object, order: Order, now: str) -> Object:
    """An Ingress with an address."""
    return {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]} if order.do == "go" else {}}


def pod_status(obj: Object, order: Order, now: str) -> Object:
    """A Pod that runs."""
    ready = order.do == "go"
    names = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    conditions = [
        {"type": name, "status": str(ready or name in names[:2]), "lastTransitionTime": now} for name in names
    ]
    phase = {"go": "Running", "fail": "Failed"}.get(order.do, "Pending")
    return {"phase": phase, "conditions": conditions, "podIP": "10.244.0.1", "qosClass": "BestEffort", "startTime": now}


STATUSES: dict[str, Callable[[Object, Order, str], Object | None]] = {
    "PersistentVolumeClaim": claim_status,
    "StatefulSet": stateful_set_status,
    "Deployment": deployment_status,
    "DaemonSet": daemon_set_status,
    "Job": job_status,
    "Ingress": ingress_status,
    "Pod": pod_status,
}

__all__ = ["Workloads"]
