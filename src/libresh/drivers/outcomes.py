"""Conclusions drivers share: how a workload stands, and whether a volume's size makes sense."""

from collections.abc import Sequence

from libresh.api.quantity import parse
from libresh.drivers.children import Children
from libresh.drivers.model import Seen
from libresh.plan.actions import Object
from libresh.plan.decision import Outcome, Settled, Stalled, Waiting
from libresh.plan.observed import is_available, is_rolled_out, replicas_of, status_of, trouble_of

INVALID_SIZE = "InvalidSize"
STARTING = "Starting"
ROLLING = "Rolling"
FAILING = "Failing"
VOLUME_PENDING = "VolumePending"


def outcome_of_single(what: str, names: Children, seen: Seen) -> Outcome:
    """How a server of a claim stands that runs as one StatefulSet, with the volume `data` or none."""
    volume = seen.get(names.ref("PersistentVolumeClaim", "data"))
    return outcome_of_workload(what, seen.get(names.ref("StatefulSet")), seen.pods, volume=volume)


def outcome_of_workload(
    what: str, workload: Object | None, pods: Sequence[Object] = (), *, volume: Object | None = None
) -> Outcome:
    """How a server stands that runs as one Deployment or StatefulSet."""
    if workload is not None and is_rolled_out(workload, replicas_of(workload)):
        return volume_outcome(what, volume)
    available = is_available(workload)
    if trouble := trouble_of(pods):
        return Waiting(FAILING, f"{what}: {trouble}", ready=available)
    if available:
        return Waiting(ROLLING, f"{what} is being restarted with its new configuration", ready=True)
    return Waiting(STARTING, f"{what} is starting")


def volume_outcome(what: str, volume: Object | None) -> Outcome:
    """Settled, unless the volume has not grown to what was asked."""
    if volume is None:
        return Settled(f"{what} is ready")
    asked = volume["spec"]["resources"]["requests"]["storage"]
    has = status_of(volume).get("capacity", {}).get("storage", "0")
    if parse(has) < parse(asked):
        return Waiting(
            VOLUME_PENDING,
            f"{what} is ready, but its volume {volume['metadata']['name']} has {has} of the {asked} asked for",
            ready=True,
        )
    return Settled(f"{what} is ready")


def refuse_volume(field: str, size: str, *, least: str) -> Stalled | None:
    """Whether a volume would be too small to work at all."""
    if parse(size) < parse(least):
        return Stalled(INVALID_SIZE, f"{field}: {size} is too small, the least that works is {least}")
    return None
