"""Services of several members, each with a StatefulSet and a volume of its own: whose turn it is to change, and what is
said of those that are missing.

A member that is not ready is in nobody's way and may change at once. While any is not ready the others wait: a change
that does not work stops at the first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from libresh.plan import naming
from libresh.plan.actions import Object
from libresh.plan.observed import is_rolled_out, trouble_of

MEMBER_LABEL = "libre.sh/member"
MEMBERS_MISSING = "MembersMissing"  # it works, with fewer members than there should be


@dataclass(frozen=True)
class Member:
    """One member: its StatefulSet as it should be and as it is, and its pod."""

    wanted: Object
    seen: Object | None
    pods: Sequence[Object] = ()

    @property
    def name(self) -> str:
        return str(self.wanted["metadata"]["name"])

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
        """Whether it runs as its StatefulSet asks."""
        return is_rolled_out(self.seen)


M = TypeVar("M", bound=Member)


def content_of_member(configuration: str, passwords: str) -> str:
    """What is noted on a member's pod: a digest of all it runs with, and one of the passwords."""
    return f"{configuration}-{passwords}"


def content_of(workload: Object) -> tuple[str, str]:
    """What was noted."""
    annotations = workload["spec"]["template"]["metadata"].get("annotations", {})
    configuration, _, passwords = annotations.get(naming.CONTENT_ANNOTATION, "").partition("-")
    return configuration, passwords


def due_members(members: Sequence[M], order: Callable[[M], Any] | None) -> list[M]:
    """The members whose StatefulSet may be written now: those that are current (whatever else was changed in them comes
    back), those that have none, and of the others those whose turn it is."""
    turn = whose_turn(members, order)
    return [member for member in members if member.seen is None or member.is_current or member in turn]


def whose_turn(members: Sequence[M], order: Callable[[M], Any] | None) -> list[M]:
    """Of the members that run as they should not any more, those that may change now. `order`: who goes first; None
    where none that runs may go."""
    stale = [member for member in members if member.seen is not None and not member.is_current]
    if not all(member.has_its_passwords for member in stale):
        # Somebody deleted the passwords. Members with old ones and with new ones cannot talk to each other.
        return stale
    if unready := [member for member in stale if not member.is_ready]:
        return unready
    if order is None or not all(member.is_ready for member in members):
        return []
    return sorted(stale, key=order)[:1]


def changing(what: str, waiting: Sequence[Member], missing: Sequence[Member]) -> str:
    """What is said while a change goes from member to member."""
    still = f"{listed(waiting)} {'is' if len(waiting) == 1 else 'are'} to come"
    return f"{what} is changed member by member; {still}{describe_missing(missing, '; ')}"


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


def pods_of(number: int, pods: Sequence[Object]) -> tuple[Object, ...]:
    """The pods of one member."""
    return tuple(pod for pod in pods if pod["metadata"].get("labels", {}).get(MEMBER_LABEL) == str(number))
