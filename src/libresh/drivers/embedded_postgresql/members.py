"""Three members of PostgreSQL: in which order a change reaches them, and how they stand together.

    a replica ──> ready again, following closely ──> the other replica ──> ready ──> the primary hands over, and is last

Where writes wait for a second member, a replica that has come back must also be one of those that may confirm them:
until then, some seconds, all writes wait if the other replica goes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from libresh.drivers import members as of_any
from libresh.drivers.members import MEMBERS_MISSING, changing, describe_missing, listed
from libresh.drivers.outcomes import FAILING, ROLLING, STARTING, volume_outcome
from libresh.plan.actions import Object
from libresh.plan.decision import Outcome, Settled, Waiting
from libresh.plan.observed import says_ready, trouble_of

ROLE_LABEL = "libre.sh/role"
PRIMARY, REPLICA = "primary", "replica"
"""What Patroni writes on its own pod, as its configuration says."""
NO_PRIMARY = "NoPrimary"  # nobody can write until a member takes over
NOT_CONFIRMING = "NotConfirming"  # it works, but writes could have to wait


@dataclass(frozen=True)
class Member(of_any.Member):
    """One member; a replica is ready only where it follows the primary closely."""

    confirms: bool = True
    """Whether it may confirm writes, if it is a replica and these wait for one."""

    @property
    def pod_names(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.pods}

    def has_role(self, role: str) -> bool:
        return any(pod["metadata"].get("labels", {}).get(ROLE_LABEL) == role for pod in self.pods)

    @property
    def serves(self) -> bool:
        """Whether it is the primary, and answers."""
        return self.has_role(PRIMARY) and any(map(says_ready, self.pods))


def with_quorum(members: Sequence[Member], sync: Object | None) -> list[Member]:
    """The members, each with whether it may confirm writes, as Patroni notes it of the present primary
    (patroni/dcs/kubernetes.py, `write_sync_state`: the annotations of `<scope>-sync`)."""
    noted = (sync or {}).get("metadata", {}).get("annotations") or {}
    primaries = {name for member in members if member.has_role(PRIMARY) for name in member.pod_names}
    replicas = set(str(noted.get("sync_standby") or "").split(",")) if noted.get("leader") in primaries else set()
    return [replace(member, confirms=bool(member.pod_names & (primaries | replicas))) for member in members]


def due_members(members: Sequence[Member]) -> list[Member]:
    """The members whose StatefulSet may be written now: the primary last, and nobody that runs while there is none or a
    replica cannot confirm."""
    may_go = any(member.serves for member in members) and all(member.confirms for member in members)
    return of_any.due_members(members, (lambda member: member.has_role(PRIMARY)) if may_go else None)


def outcome_of_members(members: Sequence[Member], volumes: Sequence[Object | None]) -> Outcome:
    """How the members stand: ready while a primary serves."""
    primary = next((member for member in members if member.serves), None)
    if primary is None:
        return without_primary(members)
    missing = [member for member in members if not member.is_ready]
    if waiting := [member for member in members if not member.is_current]:
        return Waiting(ROLLING, changing("PostgreSQL", waiting, missing), ready=True)
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
