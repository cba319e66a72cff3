"""What the status screen concludes from objects."""

from datetime import UTC, datetime
from typing import Any

import pytest

from libresh.api import CollaboraClaim, PostgreSQL, ServiceClass
from libresh.apps.matrix.spec import Matrix
from libresh.cli import overview, status
from libresh.cli.overview import Seen

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LONG_AGO, JUST_NOW = "2026-11-22T10:00:00Z", "2026-11-22T11:59:00Z"
TYPES = (PostgreSQL, ServiceClass, Matrix)


def obj(*conditions: tuple[str, str], since: str = JUST_NOW, message: str = "", **more: Any) -> dict[str, Any]:
    """An object with conditions given as (type, status)."""
    made = [
        {"type": t, "status": s, "reason": "R", "message": message, "lastTransitionTime": since} for t, s in conditions
    ]
    metadata = {"name": "chat", "namespace": "acme", "creationTimestamp": since, **more.pop("metadata", {})}
    return {"metadata": metadata, "spec": more.pop("spec", {}), "status": {"conditions": made, **more}}


def operator(ready: int = 1) -> dict[str, Any]:
    container = {"image": "local/libresh:1"}
    return {
        "metadata": {"name": "libresh-operator"},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        "status": {"readyReplicas": ready},
    }


def seen(matrix: dict[str, Any] | None = None, **more: Any) -> Seen:
    objects = {"Matrix": [matrix] if matrix else [], "PostgreSQL": [], "ServiceClass": []}
    return Seen(server="https://api", version="v1.36.3", now=NOW, operator=operator(), objects=objects, **more)


READY = ("Ready", "True")
NOT = ("Ready", "False")

STATES: dict[str, tuple[dict[str, Any], str, str]] = {
    "ready is no problem": (obj(READY), overview.READY, ""),
    "progress is no problem at first": (obj(NOT, ("Reconciling", "True"), message="m"), overview.WAITING, ""),
    "progress that takes long is": (
        obj(NOT, ("Reconciling", "True"), message="Waiting for the database", since=LONG_AGO),
        overview.WAITING,
        "not ready for 2 h: Waiting for the database",
    ),
    "stalled is, at once, in its own words": (
        obj(NOT, ("Stalled", "True"), message="spec.host: taken"),
        overview.STALLED,
        "spec.host: taken",
    ),
    "also where it works, and something is asked for that it cannot do": (
        obj(READY, ("Stalled", "True"), message="spec.requires: it cannot do ha"),
        overview.STALLED,
        "spec.requires: it cannot do ha",
    ),
    "unseen is no problem at first": (obj(), overview.UNSEEN, ""),
    "unseen for long is": (obj(since=LONG_AGO), overview.UNSEEN, "no operator has looked at it yet"),
    "a deletion that does not end is": (
        obj(NOT, message="Waiting for pods", since=LONG_AGO, metadata={"deletionTimestamp": LONG_AGO}),
        overview.DELETING,
        "it is being deleted: Waiting for pods",
    ),
    "suspended says so": (obj(READY, spec={"suspend": True}), overview.SUSPENDED, ""),
}


@pytest.mark.parametrize("case", STATES)
def test_states(case: str) -> None:
    given, state, why = STATES[case]
    found = overview.build_overview(seen(given), TYPES)
    assert found.apps[0].state == state
    assert [problem.why for problem in found.problems] == ([why] if why else [])


def test_every_problem_says_what_to_do() -> None:
    for given, _, why in STATES.values():
        for problem in overview.build_overview(seen(given), TYPES).problems:
            assert why
            assert problem.do
            assert "chat" in problem.what


def test_a_missing_operator_is_said_once_and_not_for_every_object() -> None:
    given = seen(obj(since=LONG_AGO))
    found = overview.build_overview(Seen(**{**given.__dict__, "operator": None}), TYPES)
    assert [problem.do for problem in found.problems] == ["libresh install"]


def test_an_operator_that_crashes_is_told_from_one_that_starts() -> None:
    ended = {"exitCode": 1, "reason": "Error"}
    container = {"name": "operator", "restartCount": 3, "ready": False, "lastState": {"terminated": ended}}
    labels = {"app.kubernetes.io/name": "libresh-operator"}
    pods = [{"metadata": {"name": "p", "labels": labels}, "spec": {"containers": []}}]
    pods[0]["status"] = {"containerStatuses": [container]}
    given = seen()
    found = overview.build_overview(Seen(**{**given.__dict__, "operator": operator(ready=0), "pods": pods}), TYPES)
    assert "ends with 1 again and again" in found.problems[0].why
    assert found.problems[0].do == "libresh logs operator"


def test_kinds_the_cluster_does_not_know_lead_to_install() -> None:
    given = Seen(server="s", version="v", now=NOW, operator=operator(), objects={"Matrix": []})
    found = overview.build_overview(given, TYPES)
    assert found.problems[0].why == "the cluster does not know PostgreSQL, ServiceClass"


def test_kinds_one_may_not_see_are_not_taken_for_missing_ones() -> None:
    given = Seen(
        server="s", version="v", now=NOW, operator=operator(), objects={"Matrix": []}, unreadable=["PostgreSQL"]
    )
    whys = [problem.why for problem in overview.build_overview(given, (PostgreSQL, Matrix)).problems]
    assert whys == ["you may not list PostgreSQL"]


def test_a_claim_of_an_application_is_among_the_claims() -> None:
    claim = obj(READY, app={"name": "office", "namespace": "shared"}, binding={"name": "s"})
    given = Seen(server="s", version="v", now=NOW, operator=operator(), objects={"CollaboraClaim": [claim]})
    found = overview.build_overview(given, (CollaboraClaim,))
    assert [dict(each.details) for each in found.claims] == [{"app": "collabora/office in shared", "secret": "s"}]
    assert "collabora/office in shared" in " ".join(status.render(found, ""))


def test_the_screen() -> None:
    matrix = obj(READY, version="1.163.2", url="https://chat.localhost")
    claim = obj(NOT, ("Reconciling", "True"), message="The database starts", className="embedded-postgresql")
    claim["metadata"]["name"] = "chat-database"
    running = {"resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}}
    early = {"resources": {"requests": {"memory": "512Mi"}}}
    pods = [
        {"metadata": {"name": "a"}, "spec": {"containers": [running, running], "initContainers": [early]}},
        {"metadata": {"name": "b"}, "spec": {"containers": [running]}, "status": {"phase": "Succeeded"}},
        {"metadata": {"name": "c"}, "spec": {"containers": [running], "initContainers": [early]}},
    ]
    node = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi"}}}
    node["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    annotations = {"services.libre.sh/is-default-class": "true"}
    cls = obj(READY, spec={"claimKind": "PostgreSQL", "driver": "embedded"}, claims=1)
    cls["metadata"] = {"name": "embedded-postgresql", "annotations": annotations}
    given = Seen(
        server="https://api",
        version="v1.36.3",
        now=NOW,
        nodes=[node],
        operator=operator(),
        pods=pods,
        objects={"Matrix": [matrix], "PostgreSQL": [claim], "ServiceClass": [cls]},
    )
    from click import unstyle

    lines = [unstyle(line) for line in status.render(overview.build_overview(given, TYPES), "~/.kube/config")]
    assert "\n".join(lines) == SCREEN.strip("\n")


SCREEN = """
cluster   https://api  Kubernetes v1.36.3, 1 of 1 nodes ready  (~/.kube/config)
operator  1 of 1 ready, local/libresh:1
needs     2 pods ask for 0.75 cores and 1.0 GiB of memory (at most 3.0 GiB) of 2 cores, 4.0 GiB

APPS
NAMESPACE  APP          STATE  VERSION  URL
acme       matrix/chat  ready  1.163.2  https://chat.localhost

CLAIMS
NAMESPACE  CLAIM                     STATE    CLASS                SECRET
acme       postgresql/chat-database  waiting  embedded-postgresql  -

CLASSES
CLASS                SERVES      DRIVER    DEFAULT  CLAIMS  STATE  URL
embedded-postgresql  PostgreSQL  embedded  yes      1       ready  -

UNDER WAY
postgresql/chat-database in acme: The database starts
"""
