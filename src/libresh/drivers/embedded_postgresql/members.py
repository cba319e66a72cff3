"""Three members: in which order a change reaches them, and how they stand together.

    a replica ──> ready again, following closely ──> the other replica ──> ready ──> the primary hands over, and is last

A member that is not ready is in nobody's way and may change at once. While any is not ready the others wait: a change
that does not work stops at the first. Where writes wait for a second member, a replica that has come back must also be
one of those that may confirm them: until then, some seconds, all writes wait if the other replica goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from libresh.drivers.outcomes import FAILING, ROLLING, STARTING, volume_outcome
from libresh.plan import naming
from libresh.plan.actions import Object
from libresh.plan.decision import Outcome, Settled, Waiting
from libresh.plan.observed import is_rolled_out, status_of, trouble_of

ROLE_LABEL = "libre.sh/role"
PRIMARY, REPLICA = "primary", "replica"
"""What Patroni writes on its own pod."""
NO_PRIMARY = "NoPrimary"  # nobody can write until a member takes over
MEMBERS_MISSING = "MembersMissing"  # it works, with fewer members than there should be
NOT_CONFIRMING = "NotConfirming"  # it works, but writes could have to wait


@dataclass(frozen=True)
class Member:
    """One member: its StatefulSet as it should be and as it is, and its pod."""

    wanted: Object
    seen: Object | None
    pods: Sequence[Object] = ()
    confirms: bool = True
    """Whether it may confirm writes, if it is a replica and these wait for one."""

    @property
    def name(self) -> str:
        return str(self.wanted["metadata"]["name"])

    @property
    def pod_names(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.pods}

    @property
    def is_current(self) -> bool:
        """Whether its StatefulSet asks for what it should."""
        return self.seen is not None and content_of(self.seen) == content_of(self.wanted)

    @property
    def has_its_passwords(self) -> bool:
        """Whether its StatefulSet knows the passwords as they are."""
        return self.seen is not None and content_of(self.seen)[1] == content_of(self.wanted)[1]

    @property
    def is_ready(self) -> bool:
        """Whether it runs as its StatefulSet asks: a replica also follows the primary closely."""
        return is_rolled_out(self.seen)

    def has_role(self, role: str) -> bool:
        return any(pod["metadata"].get("labels", {}).get(ROLE_LABEL) == role for pod in self.pods)

    @property
    def serves(self) -> bool:
        """Whether it is the primary, and answers."""
        return self.has_role(PRIMARY) and any(is_pod_ready(pod) for pod in self.pods)


def with_quorum(members: Sequence[Member], sync: Object | None) -> list[Member]:
    """The members, each with whether it may confirm writes, as Patroni notes it of the present primary
    (patroni/dcs/kubernetes.py, `write_sync_state`: the annotations of `<scope>-sync`)."""
    noted = (sync or {}).get("metadata", {}).get("annotations") or {}
    primaries = {name for member in members if member.has_role(PRIMARY) for name in member.pod_names}
    replicas = set(str(noted.get("sync_standby") or "").split(",")) if noted.get("leader") in primaries else set()
    return [replace(member, confirms=bool(member.pod_names & (primaries | replicas))) for member in members]


def is_pod_ready(pod: Object) -> bool:
    conditions = status_of(pod).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def content_of_member(configuration: str, passwords: str) -> str:
    """What is noted on a member's pod: a digest of all it runs with, and one of the passwords."""
    return f"{configuration}-{passwords}"


def content_of(workload: Object) -> tuple[str, str]:
    """What was noted."""
    annotations = workload["spec"]["template"]["metadata"].get("annotations", {})
    configuration, _, passwords = annotations.get(naming.CONTENT_ANNOTATION, "").partition("-")
    return configuration, passwords


def due_members(members: Sequence[Member]) -> list[Member]:
    """The members whose StatefulSet may be written now: those that are current (whatever else was changed in them comes
    back), those that have none, and of the others those whose turn it is."""
    turn = whose_turn(members)
    return [member for member in members if member.seen is None or member.is_current or member in turn]


def whose_turn(members: Sequence[Member]) -> list[Member]:
    """Of the members that run as they should not any more, those that may change now."""
    stale = [member for member in members if member.seen is not None and not member.is_current]
    if not all(member.has_its_passwords for member in stale):
        # Somebody deleted the passwords. Members with old ones and with new ones cannot talk to each other.
        return stale
    if unready := [member for member in stale if not member.is_ready]:
        return unready
    if not all(member.is_ready and member.confirms for member in members):
        return []
    if not any(member.serves for member in members):
        return []
    return sorted(stale, key=lambda member: member.has_role(PRIMARY))[:1]


def outcome_of_members(members: Sequence[Member], volumes: Sequence[Object | None]) -> Outcome:
    """How the members stand: ready while a primary serves."""
    primary = next((member for member in members if member.serves), None)
    if primary is None:
        return without_primary(members)
    missing = [member for member in members if not member.is_ready]
    if waiting := [member for member in members if not member.is_current]:
        message = (
            f"PostgreSQL is changed member by member; {listed(waiting)} {'is' if len(waiting) == 1 else 'are'} to come"
        )
        return Waiting(ROLLING, f"{message}{describe_missing(missing, '; ')}", ready=True)
    if missing:
        message = f"PostgreSQL is served by {primary.name} with {len(members) - len(missing)} of {len(members)} members"
        return Waiting(MEMBERS_MISSING, f"{message}: {describe_missing(missing)}", ready=True)
    if silent := [member for member in members if not member.confirms]:
        message = (
            f"PostgreSQL is served by {primary.name}; {listed(silent)} follow{'s' if len(silent) == 1 else ''} and "
            f"cannot confirm writes yet: if the other members went now, writes would wait"
        )
        return Waiting(NOT_CONFIRMING, message, ready=True)
    for volume in volumes:
        grown = volume_outcome("PostgreSQL", volume)
        if not isinstance(grown, Settled):
            return grown
    return Settled(f"PostgreSQL is ready with {len(members)} members; {primary.name} is the primary")


def without_primary(members: Sequence[Member]) -> Outcome:
    """Nobody serves: it has not begun, or a member has to take over."""
    missing = [member for member in members if not member.is_ready]
    if not any(member.has_role(role) for member in members for role in (PRIMARY, REPLICA)):
        trouble = next((trouble for member in members if (trouble := trouble_of(member.pods))), "")
        return Waiting(FAILING, f"PostgreSQL: {trouble}") if trouble else Waiting(STARTING, "PostgreSQL is starting")
    message = "PostgreSQL has no primary: nothing can be written until a member takes over"
    return Waiting(NO_PRIMARY, f"{message}{describe_missing(missing, '; ')}")


def listed(members: Sequence[Member]) -> str:
    return ", ".join(member.name for member in members)


def describe_missing(missing: Sequence[Member], before: str = "") -> str:
    """Which members are not there, and why; "" if none is missing."""
    return before + ", ".join(f"{member.name} {why_missing(member)}" for member in missing) if missing else ""


def why_missing(member: Member) -> str:
    """What keeps a member away, in words that do not change from one look to the next."""
    if trouble := trouble_of(member.pods):
        return f"is missing ({trouble})"
    nodes = [node for pod in member.pods if (node := pod.get("spec", {}).get("nodeName"))]
    return f"on {nodes[0]} is not ready" if nodes else "has no pod"
