"""Three members of PostgreSQL: in which order a change reaches them, and what is said of them."""

from typing import Any

import pytest

from laws import samples
from libresh.drivers import drivers
from libresh.drivers.embedded_postgresql.members import Member, due_members, outcome_of_members, with_quorum
from libresh.drivers.embedded_postgresql.model import Parameters
from libresh.drivers.members import MEMBER_LABEL, content_of_member
from libresh.drivers.model import Ask, Seen
from libresh.plan.actions import Object
from libresh.plan.decision import Settled, Stalled
from libresh.plan.naming import CONTENT_ANNOTATION
from support.netpol import Network, Peer

DRIVER = drivers()["PostgreSQL", "embedded"]
NAMES = ("db", "db-1", "db-2")
NEW, OLD = content_of_member("new", "passwords"), content_of_member("old", "passwords")
NEW_PASSWORDS = content_of_member("new", "others")
SIZE = {"spec": {"resources": {"requests": {"storage": "5Gi"}}}, "metadata": {"name": "volume"}}
GROWN, SMALL = [SIZE | {"status": {"capacity": {"storage": room}}} for room in ("5Gi", "1Gi")]


def workload(name: str, content: str, ready: int = 1) -> Object:
    counts = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready}
    template = {"metadata": {"annotations": {CONTENT_ANNOTATION: content}}}
    return {"metadata": {"name": name, "generation": 1}, "spec": {"template": template}, "status": counts}


def pod(name: str, role: str, ready: bool = True, **status: Any) -> Object:
    labels = {"libre.sh/role": role} if role else {}
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", [])]
    return {
        "metadata": {"name": f"{name}-0", "labels": labels},
        "spec": {"nodeName": f"node-of-{name}"},
        "status": {"conditions": conditions, **status},
    }


def member(name: str, content: str | None = NEW, *, role: str = "replica", ready: bool = True) -> Member:
    """A member that should have the new content, and has another, or none."""
    seen = None if content is None else workload(name, content, int(ready))
    pods = () if content is None else (pod(name, role, ready),)
    return Member(workload(name, NEW), seen, pods)


def three(*contents: str | None, primary: int = 0, away: tuple[int, ...] = ()) -> list[Member]:
    return [
        member(name, content, role="primary" if number == primary else "replica", ready=number not in away)
        for number, (name, content) in enumerate(zip(NAMES, contents, strict=True))
    ]


ORDER: dict[str, tuple[list[Member], set[str]]] = {
    "none is there: all at once, Patroni sees who is first": (three(None, None, None), set(NAMES)),
    "all are as they should be": (three(NEW, NEW, NEW), set(NAMES)),
    "a replica is first": (three(OLD, OLD, OLD), {"db-1"}),
    "wherever the primary is": (three(OLD, OLD, OLD, primary=1), {"db"}),
    "while the first is coming back the others wait": (three(OLD, NEW, OLD, away=(1,)), {"db-1"}),
    "then the other replica": (three(OLD, NEW, OLD), {"db-1", "db-2"}),
    "the primary is last": (three(OLD, NEW, NEW), set(NAMES)),
    "one that is not ready is in nobody's way": (three(OLD, OLD, OLD, away=(2,)), {"db-2"}),
    "also while another one is away": (three(OLD, NEW, OLD, away=(1, 2)), {"db-1", "db-2"}),
    "without a primary nothing is changed that runs": (three(OLD, OLD, OLD, primary=9), set()),
    "one that was deleted comes back": (three(OLD, None, OLD), {"db-1"}),
}


@pytest.mark.parametrize("case", ORDER)
def test_a_change_goes_from_member_to_member(case: str) -> None:
    members, written = ORDER[case]
    assert {each.name for each in due_members(members)} == written


def quorum(leader: str, *standby: str) -> Object:
    return {"metadata": {"annotations": {"leader": leader, "sync_standby": ",".join(standby)}}}


QUORUM: dict[str, tuple[Object | None, set[str]]] = {
    "all": (quorum("db-0", "db-1-0", "db-2-0"), set(NAMES)),
    "one has just come back": (quorum("db-0", "db-2-0"), {"db", "db-2"}),
    "no replica is there": (quorum("db-0"), {"db"}),
    "of the primary before": (quorum("db-1-0", "db-0", "db-2-0"), {"db"}),
    "nothing is noted": ({"metadata": {}}, {"db"}),
    "nothing is there": (None, {"db"}),
}


@pytest.mark.parametrize(("sync", "able"), QUORUM.values(), ids=QUORUM)
def test_who_may_confirm_writes_is_what_is_noted_of_the_present_primary(sync: Object | None, able: set[str]) -> None:
    members = with_quorum(three(NEW, NEW, NEW), sync)
    assert {each.name for each in members if each.confirms} == able
    outcome = outcome_of_members(members, [GROWN])
    assert isinstance(outcome, Settled) == (len(able) == 3)
    assert isinstance(outcome, Settled) or outcome.ready
    stale = with_quorum(three(OLD, OLD, OLD), sync)
    assert len(due_members(stale)) == (1 if len(able) == 3 else 0)


def test_new_passwords_reach_all_at_once() -> None:
    """Members with old ones could not follow one with new ones, and would be waited for in vain."""
    members = three(NEW_PASSWORDS, NEW_PASSWORDS, NEW_PASSWORDS)
    assert {each.name for each in due_members(members)} == set(NAMES)


def said(members: list[Member], volumes: tuple[Object, ...] = (GROWN, GROWN, GROWN)) -> tuple[str, bool, str]:
    outcome = outcome_of_members(members, volumes)
    ready = isinstance(outcome, Settled) or outcome.ready
    return outcome.reason, ready, outcome.message


OUTCOMES: dict[str, tuple[list[Member], tuple[str, bool, str]]] = {
    "all is well": (
        three(NEW, NEW, NEW, primary=2),
        ("Settled", True, "PostgreSQL is ready with 3 members; db-2 is the primary"),
    ),
    "it begins": (three(None, None, None), ("Starting", False, "PostgreSQL is starting")),
    "a member is missing": (
        three(NEW, NEW, NEW, away=(1,)),
        (
            "MembersMissing",
            True,
            "PostgreSQL is served by db with 2 of 3 members: db-1 on node-of-db-1 is not ready",
        ),
    ),
    "a change is on its way": (
        three(OLD, NEW, OLD, away=(1,)),
        (
            "Rolling",
            True,
            "PostgreSQL is changed member by member; db, db-2 are to come; db-1 on node-of-db-1 is not ready",
        ),
    ),
    "the primary is away and nobody took over yet": (
        three(NEW, NEW, NEW, away=(0,)),
        (
            "NoPrimary",
            False,
            "PostgreSQL has no primary: nothing can be written until a member takes over; "
            "db on node-of-db is not ready",
        ),
    ),
    "nobody is the primary": (
        three(NEW, NEW, NEW, primary=9),
        ("NoPrimary", False, "PostgreSQL has no primary: nothing can be written until a member takes over"),
    ),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_it_says_how_the_members_stand(case: str) -> None:
    members, expected = OUTCOMES[case]
    assert said(members) == expected


def test_a_member_that_finds_no_node_is_told() -> None:
    waiting = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    lonely = pod("db-1", "", ready=False, conditions=[waiting])
    members = [member("db", role="primary"), Member(workload("db-1", NEW), workload("db-1", NEW, 0), (lonely,))]
    reason, ready, message = said([*members, member("db-2")])
    assert (reason, ready) == ("MembersMissing", True)
    assert "db-1 is missing (pod db-1-0 finds no node: 0/1 nodes are available)" in message


def test_all_volumes_must_have_grown() -> None:
    reason, ready, message = said(three(NEW, NEW, NEW), (GROWN, GROWN, SMALL))
    assert (reason, ready) == ("VolumePending", True)
    assert "1Gi of the 5Gi" in message


# --- what is made of a claim ---------------------------------------------------------------------------------


def ask_of(**parameters: Any) -> Ask:
    return samples.sample_ask(samples.Variant(DRIVER, parameters))


def objects_of(kind: str, **parameters: Any) -> list[Object]:
    found = samples.applied(samples.planned(samples.Variant(DRIVER, parameters)))
    return [obj for obj in found if obj["kind"] == kind]


def test_each_member_has_a_volume_and_a_node_of_its_own() -> None:
    workloads, volumes = objects_of("StatefulSet", members=3), objects_of("PersistentVolumeClaim", members=3)
    names = [f"sample-pg-{part}" for part in ("data", "data-1", "data-2")]
    assert [each["metadata"]["name"] for each in volumes] == names
    for number, (each, volume) in enumerate(zip(workloads, names, strict=True)):
        spec = each["spec"]["template"]["spec"]
        assert {"name": "data", "persistentVolumeClaim": {"claimName": volume}} in spec["volumes"]
        (term,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert term["labelSelector"]["matchLabels"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
        assert each["spec"]["selector"]["matchLabels"][MEMBER_LABEL] == str(number)


def test_the_service_and_the_budget_are_of_all_members() -> None:
    (budget,) = objects_of("PodDisruptionBudget", members=3)
    assert budget["spec"]["maxUnavailable"] == 1
    assert objects_of("PodDisruptionBudget") == []
    selectors = [service["spec"]["selector"] for service in objects_of("Service", members=3)]
    assert MEMBER_LABEL not in {key for selector in [*selectors, budget["spec"]["selector"]] for key in selector}


def test_only_members_reach_patroni() -> None:
    (policy,) = objects_of("NetworkPolicy", members=3)
    network = Network([policy], {"team": {}, "other": {}})
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in objects_of("StatefulSet", members=3)]
    first, second = [Peer("team", each) for each in labels[:2]]
    assert network.allows(first, second, 8008)
    assert network.allows(first, second, 5432)
    assert network.allows(Peer("team", {"app": "chat"}), second, 5432)
    assert not network.allows(Peer("team", {"app": "chat"}), second, 8008)
    assert not network.allows(Peer("other", labels[0]), second, 8008)


def test_ha_is_promised_only_with_three_members() -> None:
    assert "ha" not in DRIVER.capabilities(Parameters())
    assert "ha" in DRIVER.capabilities(Parameters(members=3))


def test_one_member_does_not_take_on_what_three_have_left() -> None:
    ask = ask_of()
    (second,) = [ref for ref in DRIVER.looks_at(ask) if ref.name == "sample-pg-data-1"]
    provision = DRIVER.plan(ask, Seen(objects={second: {"metadata": {"name": second.name}}}))
    assert isinstance(provision.outcome, Stalled)
    assert provision.outcome.reason == "LeftByThreeMembers"
    assert "members: 3" in provision.outcome.message
    assert (provision.actions, provision.kept, provision.connection) == ((), (), None)


def test_room_that_grows_restarts_nobody() -> None:
    small, large = [ask_of(members=3), ask_of(members=3)]
    large.claim.spec.parameters.storage = "20Gi"  # type: ignore[attr-defined]
    plans = [DRIVER.plan(ask, samples.everything_seen(DRIVER, DRIVER.looks_at(ask))) for ask in (small, large)]
    first, second = [[o for o in samples.applied(p.actions) if o["kind"] == "StatefulSet"] for p in plans]
    assert first == second


def test_what_changes_a_member_shows_in_its_content() -> None:
    def contents(ask: Ask) -> set[str]:
        plan = DRIVER.plan(ask, samples.everything_seen(DRIVER, DRIVER.looks_at(ask)))
        workloads = [obj for obj in samples.applied(plan.actions) if obj["kind"] == "StatefulSet"]
        return {each["spec"]["template"]["metadata"]["annotations"][CONTENT_ANNOTATION] for each in workloads}

    before, after = ask_of(members=3), ask_of(members=3)
    after.claim.spec.parameters.extensions = ["pg_trgm"]  # type: ignore[attr-defined]
    assert not contents(before) & contents(after)
    assert not contents(before) & contents(ask_of(members=3, maxConnections=50))
