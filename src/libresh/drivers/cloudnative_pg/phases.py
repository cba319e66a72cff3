"""What CloudNativePG says of a cluster, in plain words. Pure.

The phases are those of CloudNativePG 1.27 (api/v1/cluster_types.go, the constants `Phase…`), and that of a full disk,
which is only in its controller (cloudnative-pg/cloudnative-pg#4521). A phase that is not known is repeated as it is.
"""

from dataclasses import dataclass, replace

from libresh.drivers import handed
from libresh.plan.actions import Object
from libresh.plan.decision import Outcome, Settled, Stalled, Waiting
from libresh.plan.observed import status_of

HEALTHY = "Cluster in healthy state"
FIRST = "Setting up primary"
HIBERNATION = "cnpg.io/hibernation"
FENCED = "cnpg.io/fencedInstances"
"""Annotations by which people stop a cluster ("Declarative hibernation") or some of its instances ("Fencing")."""
ARCHIVING_FAILS = "ArchivingFails"
BACKUP_FAILS = "BackupFails"
MISMATCH = "InstancesDiffer"
RESIZING = "VolumePending"
ROLLING = "Rolling"
PASSING = ("BackupStarted", "NotFound")
"""Reasons of conditions that are False although nothing is wrong: a backup has begun, an instance has not yet said."""


@dataclass(frozen=True)
class Phase:
    """One phase: what it means, whether the database can be used in it as far as an instance is ready, and what a
    person has to do where the operator does not get any further by itself."""

    meaning: str
    usable: bool = True
    way_out: str = ""


PHASES = {
    FIRST: Phase("the first instance is being made", usable=False),
    "Creating a new replica": Phase("another instance is being made"),
    "Switchover in progress": Phase("another instance becomes the primary, as planned"),
    "Failing over": Phase("the primary was lost, and another instance takes over", usable=False),
    "Upgrading cluster": Phase("the instances are being replaced one by one"),
    "Upgrading Postgres major version": Phase("the data is being brought to another major version", usable=False),
    "Cluster upgrade delayed": Phase("an upgrade waits, as the operator is configured to do them one after the other"),
    "Online upgrade in progress": Phase("the instance manager is being replaced"),
    "Applying configuration": Phase("a change of configuration is being applied"),
    "Primary instance is being restarted in-place": Phase("the primary restarts", usable=False),
    "Primary instance is being restarted without a switchover": Phase("the primary restarts", usable=False),
    "Waiting for the instances to become active": Phase("an instance is not active yet"),
    "Promoting to primary cluster": Phase("it was a replica of another cluster and is being promoted", usable=False),
    "Waiting for user action": Phase(
        "an update of the primary waits for a person",
        way_out="start the switchover with kubectl cnpg promote, or set spec.primaryUpdateStrategy of the Cluster",
    ),
    "Cluster is unrecoverable and needs manual intervention": Phase(
        "it has no instance and no volume from which it could be started again",
        usable=False,
        way_out="restore it from a backup, as CloudNativePG's page on recovery says",
    ),
    "Cluster cannot proceed to reconciliation due to an unknown plugin being required": Phase(
        "it needs a plugin that the operator does not have",
        way_out="install the plugin that the class's parameter backup asks for",
    ),
    "Cluster cannot proceed to reconciliation due to an error while interacting with plugins": Phase(
        "a plugin does not answer as it should",
        way_out="look at the log of that plugin",
    ),
    "Cluster has incomplete or invalid image catalog": Phase(
        "its image catalog does not exist or has no image for this major version",
        way_out="make or complete the catalog that the class's parameter imageCatalog names",
    ),
    "Cluster cannot execute instance online upgrade due to missing architecture binary": Phase(
        "the operator's image lacks a program for the processor of a node",
        way_out="install an operator image that has it",
    ),
    "Unable to create required cluster objects": Phase(
        "the operator could not make an object it needs",
        way_out="the events of the Cluster and the operator's log say which",
    ),
    "Not enough disk space": Phase(
        "a volume is full",
        usable=False,
        way_out="raise spec.parameters.storage of the claim",
    ),
}


def standing_of(cluster: Object) -> Outcome:
    """How a cluster stands, as its operator says."""
    status = status_of(cluster)
    wanted = handed.whole(cluster["spec"].get("instances")) or 1
    ready = handed.whole(status.get("readyInstances"))
    name = handed.ref_of(cluster)
    phase = handed.said(status.get("phase"))
    if annotation(cluster, HIBERNATION) == "on":
        way_out = f"take the annotation {HIBERNATION} from it"
        return Stalled(handed.FAILED, f"{name} is hibernated: its instances are stopped, its data is kept; {way_out}")
    if not phase:
        return Waiting(handed.NOT_READY, f"{name}: CloudNativePG has not said anything of it yet")
    if phase == HEALTHY:
        return healthy(cluster, name=str(name), ready=ready, wanted=wanted)
    outcome = troubled(str(name), phase, handed.said(status.get("phaseReason")), ready)
    if phase != FIRST or not handed.recorded(cluster):
        return outcome
    logs = f"kubectl logs -n {name.namespace} -l cnpg.io/cluster={name.name} --all-containers"
    return replace(outcome, message=f"{outcome.message}: its data is being copied; if that lasts, see {logs}")


def annotation(cluster: Object, name: str) -> str:
    return handed.said((cluster["metadata"].get("annotations") or {}).get(name))


def troubled(name: str, phase: str, reason: str, ready: int) -> Outcome:
    """Any phase but the healthy one."""
    known = PHASES.get(phase, Phase("", usable=False))
    words = f'{name}: {known.meaning} ("{phase}")' if known.meaning else f'{name} is in the phase "{phase}"'
    words += f": {reason}" if reason and reason != phase else ""
    usable = known.usable and ready > 0
    if known.way_out:
        return Stalled(handed.FAILED, f"{words}; {known.way_out}", ready=usable)
    return Waiting(ROLLING if usable else handed.NOT_READY, words, ready=usable)


def healthy(cluster: Object, *, name: str, ready: int, wanted: int) -> Outcome:
    """A healthy cluster may still lack instances, room or backups."""
    if ready < wanted:
        fenced = annotation(cluster, FENCED)
        why = f"; somebody stopped {fenced}: kubectl cnpg fencing off" if fenced not in ("", "[]") else ""
        return Waiting(handed.NOT_READY, f"{name}: {ready} of {wanted} instances are ready{why}", ready=ready > 0)
    resizing = status_of(cluster).get("resizingPVC")
    if isinstance(resizing, list) and resizing:
        volumes = handed.said(", ".join(sorted(map(str, resizing))))
        return Waiting(RESIZING, f"{name} is ready, but its volumes {volumes} are still growing", ready=True)
    for type, reason, meaning in (
        ("ConsistentSystemID", MISMATCH, "its instances do not have the same data"),
        ("ContinuousArchiving", ARCHIVING_FAILS, "its write-ahead log cannot be archived: no moment can be restored"),
        ("LastBackupSucceeded", BACKUP_FAILS, "its last backup failed"),
    ):
        found = handed.condition(cluster, type)
        if found.get("status") == "False" and found.get("reason") not in PASSING:
            why = handed.said(found.get("message")) or "it does not say why"
            return Waiting(reason, f"{name} is ready, but {meaning}: {why}", ready=True)
    return Settled(f"{name} is ready")


def database_standing(database: Object | None) -> Outcome | None:
    """How the object stands that makes extensions, or None once it is applied (docs "PostgreSQL Database Management",
    reconciliation and status: `status.applied`, `status.message`, `status.observedGeneration`)."""
    if database is None:
        return None
    status = status_of(database)
    name = handed.ref_of(database)
    current = handed.whole(status.get("observedGeneration")) >= handed.whole(database["metadata"].get("generation"))
    if status.get("applied") is False:
        why = handed.said(status.get("message")) or "it does not say why"
        return Stalled(
            handed.FAILED,
            f"{name}: the extensions could not be made: {why}; correct spec.parameters.extensions, or give the class "
            "an image that has them",
        )
    if status.get("applied") is not True or not current:
        return Waiting(handed.NOT_READY, f"{name}: the extensions are being made")
    return None
