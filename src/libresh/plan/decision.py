"""What one pass concludes: how it stands, what its status says, what to do.

Settled     desired is actual                     Ready=True
Waiting     nothing is wrong, it is not there yet  Ready=False, Reconciling=True
Stalled     a person must edit something           Ready=False, Stalled=True
Delegated   a controller outside of libre.sh tells  Ready=Unknown, until that one has said something
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from libresh.plan.actions import Action, Object

SETTLED_RECHECK = timedelta(hours=6)
"""How often a settled object is looked at although nothing happened: watches tell everything else."""
OF_EVERY_KIND = frozenset({"conditions", "observedGeneration"})
"""The fields of a status that every kind has: the loop writes them."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Desired is actual."""

    message: str = "All is as declared"
    reason: str = "Settled"
    recheck: timedelta = SETTLED_RECHECK


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is wrong, but it is not there yet. `ready` keeps Ready=True while a change of a working object rolls."""

    reason: str
    message: str
    recheck: timedelta = timedelta(minutes=10)
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Stalled:
    """It cannot go on until a person edits something. `message` names the field, the reason and the way out.

    `ready` keeps Ready=True where what runs still works and only the wish is refused.
    """

    reason: str
    message: str
    recheck: timedelta = SETTLED_RECHECK
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Delegated:
    """A controller outside of libre.sh serves the object and says how it stands: only our own part of the status is
    written. `heard`: it has said something, and Ready is its own from now on.
    """

    reason: str
    message: str
    heard: bool
    recheck: timedelta = SETTLED_RECHECK


Outcome = Settled | Waiting | Stalled


def refuse(refused: Stalled, outcome: Outcome) -> Stalled:
    """What is told where a wish is refused and something runs as before: it is as ready as that."""
    if isinstance(outcome, Settled):
        return replace(refused, ready=True)
    return replace(refused, message=f"{refused.message}. Besides: {outcome.message}", ready=outcome.ready)


@dataclass(frozen=True, slots=True)
class Extra:
    """One more condition besides Ready, Reconciling and Stalled."""

    type: str
    status: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of `decide`.

    `status` holds the kind's own status fields (not OF_EVERY_KIND), all of them unless the outcome is Delegated;
    `actions` are performed in order before the status is written. `prune`: children labelled as this object's own, of
    the kinds the reconciler writes, that are not among the applied ones are deleted once all actions succeeded.
    """

    outcome: Outcome | Delegated
    status: Object = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    conditions: tuple[Extra, ...] = ()
    prune: bool = False
