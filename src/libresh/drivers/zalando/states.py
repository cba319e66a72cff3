"""What Zalando's postgres-operator says of a cluster, in plain words. Pure.

`status.PostgresClusterStatus` is one word (Zalando postgres-operator 1.14, pkg/apis/acid.zalan.do/v1/const.go,
`ClusterStatus…`). It does not say why: that is in the events of the object and in the operator's log.
"""

from dataclasses import dataclass

from libresh.drivers import handed
from libresh.plan.actions import Object
from libresh.plan.decision import Outcome, Settled, Stalled, Waiting
from libresh.plan.observed import status_of

RUNNING = "Running"
CREATING = "Creating"
ROLLING = "Rolling"
UPGRADE_FAILED = "UpgradeFailed"
FAILURE = "last-major-upgrade-failure"
"""The annotation of a cluster that could not be brought to another major version (pkg/cluster/majorversionupgrade.go);
the operator tries again only after the version was set back."""
LOOK = "the events of the object and the operator's log say why"


@dataclass(frozen=True)
class State:
    """One state: what it means, whether a working cluster goes on working in it, and what a person has to do."""

    meaning: str
    usable: bool = False
    way_out: str = ""


STATES = {
    "": State("the operator has not said anything of it yet"),
    CREATING: State("the cluster is being made"),
    "Updating": State("a change is being made to the cluster", usable=True),
    "UpdateFailed": State("a change could not be made", way_out=f"{LOOK}; correct the claim or the class"),
    "SyncFailed": State(f"the operator could not bring the cluster to what is declared, and tries again: {LOOK}"),
    "CreateFailed": State("the cluster could not be made", way_out=f"{LOOK}; correct the claim or the class"),
    "Invalid": State("the operator refuses the manifest", way_out=f"{LOOK}; correct the claim or the class"),
}


def standing_of(cluster: Object, *, bound: bool) -> Outcome:
    """How a cluster stands. `bound`: whether it was ready before."""
    word = handed.said(status_of(cluster).get("PostgresClusterStatus"))
    name = handed.ref_of(cluster)
    if word == RUNNING:
        return running(cluster, str(name))
    state = STATES.get(word, State("this state is not known to libre.sh"))
    words = f"{name}: {state.meaning}" + (f" ({word})" if word else "")
    if word == CREATING and handed.recorded(cluster):
        logs = f"kubectl logs -n {name.namespace} -l cluster-name={name.name}"
        words += f": its data is being copied; if that lasts, see {logs}"
    if state.way_out:
        return Stalled(handed.FAILED, f"{words}; {state.way_out}")
    usable = bound and state.usable
    return Waiting(ROLLING if usable else handed.NOT_READY, words, ready=usable)


def running(cluster: Object, name: str) -> Outcome:
    """A cluster that runs may be of an older version than is asked for."""
    if FAILURE not in (cluster["metadata"].get("annotations") or {}):
        return Settled(f"{name} is running")
    version = handed.said(cluster["spec"].get("postgresql", {}).get("version"))
    return Stalled(
        UPGRADE_FAILED,
        f"{name} is running, but could not be brought to PostgreSQL {version}: {LOOK}; set spec.parameters.version "
        "back",
        ready=True,
    )
