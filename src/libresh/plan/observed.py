"""Reads what Kubernetes says of the objects we made: is it rolled out, did it finish, what is wrong."""

from collections.abc import Sequence
from typing import Any

from libresh.plan.actions import Object


def status_of(obj: Object | None) -> dict[str, Any]:
    """The status, empty where there is none yet."""
    status = obj.get("status") if obj else None
    return status if isinstance(status, dict) else {}


def says_ready(obj: Object) -> bool:
    """Whether a pod or a node says that it is ready."""
    conditions = status_of(obj).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def is_current(obj: Object | None) -> bool:
    """Whether the status speaks of the latest spec."""
    if obj is None:
        return False
    return int(status_of(obj).get("observedGeneration", 0)) >= int(obj["metadata"].get("generation", 1))


def replicas_of(workload: Object) -> int:
    """How many pods a Deployment or StatefulSet asks for."""
    return int(workload["spec"].get("replicas", 1))


def is_rolled_out(workload: Object | None, replicas: int = 1) -> bool:
    """Whether a Deployment or StatefulSet runs just the pods its latest spec asks for, all of them ready."""
    if workload is None or not is_current(workload):
        return False
    status = status_of(workload)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    return bool(status.get("replicas", 0) == ready == updated == replicas)


def is_available(workload: Object | None) -> bool:
    """Whether a Deployment or StatefulSet has a ready pod, of whichever spec."""
    return bool(status_of(workload).get("readyReplicas", 0))


def is_rolling(workload: Object | None) -> bool:
    """Whether a Deployment is on its way to the pods its latest spec asks for, within its deadline.

    A pod that fails later is no roll-out: the Deployment then still says that its newest pods were available once.
    """
    if workload is None:
        return False
    if not is_current(workload):
        return True
    status = status_of(workload)
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    progressing = conditions.get("Progressing", {})
    if progressing.get("status") != "True":
        return False
    replaced = status.get("updatedReplicas", 0) >= replicas_of(workload)
    return not replaced or progressing.get("reason") != "NewReplicaSetAvailable"


def job_result(job: Object | None) -> bool | None:
    """True: the Job completed; False: it failed for good; None: neither yet."""
    for condition in status_of(job).get("conditions", ()):
        if condition.get("status") == "True":
            if condition.get("type") in ("Complete", "SuccessCriteriaMet"):
                return True
            if condition.get("type") == "Failed":
                return False
    return None


def last_words(pods: Sequence[Object]) -> tuple[int, str] | None:
    """The exit code of a container that failed, and what it said as it ended; also while it is being tried again."""
    for pod in pods:
        for container in status_of(pod).get("containerStatuses", ()):
            for state in (container.get("state", {}), container.get("lastState", {})):
                ended = state.get("terminated", {})
                if ended.get("exitCode"):
                    return int(ended["exitCode"]), ended.get("message", "").strip() or ended.get("reason", "")
    return None


def trouble_of(pods: Sequence[Object]) -> str:
    """What keeps pods from running, in a sentence that does not change from one look to the next; "" if nothing."""
    for pod in pods:
        status = status_of(pod)
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            waiting = container.get("state", {}).get("waiting", {})
            reason = waiting.get("reason", "")
            if reason in ("ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"):
                return f"image {container.get('image', '')} cannot be had ({reason})"
            if reason in (
                "CrashLoopBackOff",
                "CreateContainerConfigError",
                "CreateContainerError",
                "RunContainerError",
            ):
                return f"container {container['name']} of pod {pod['metadata']['name']} does not start ({reason})"
        for condition in status.get("conditions", ()):
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return f"pod {pod['metadata']['name']} finds no node: {condition.get('message', '')}"
    return ""
