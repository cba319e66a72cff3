"""What a driver is: pure functions from a claim, its class's parameters and what was seen to objects and a connection.

To add a driver make one folder below `libresh.drivers` (or a package that offers the entry point group
`libresh.drivers`) whose `driver.py` defines `DRIVERS`; the reconcilers, RBAC, documents and tests find it there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Protocol, get_type_hints

import msgspec

from libresh.api import CLAIMS
from libresh.api.changes import Change, table_of
from libresh.api.claims import Claim
from libresh.api.services import ServiceClass
from libresh.catalog.settings import Settings
from libresh.plan.actions import Action, Object, Ref, Value
from libresh.plan.decision import Outcome, Stalled
from libresh.ports import SecretView, Watched

__all__ = [
    "Ask",
    "CopyingDriver",
    "Driver",
    "ErrandDriver",
    "Origin",
    "Provision",
    "Seen",
    "Server",
    "ServerDriver",
    "Settings",
    "Withdrawal",
    "acts_outside",
    "changes_of",
    "runs_server",
    "told_otherwise",
]


@dataclass(frozen=True)
class Origin:
    """The claim whose data another one begins with."""

    claim: Claim
    parameters: Any
    """Of its class, as the driver's own type: the same driver serves both."""


@dataclass(frozen=True)
class Ask:
    """One claim as a driver sees it."""

    claim: Claim
    class_name: str
    parameters: Any
    """The class's parameters as the driver's own type, as they were when the claim was provisioned."""
    keep: bool
    """Whether the data outlives the claim."""
    settings: Settings
    served: bool = True
    """Whether the class says that its server works, where it runs one. Looked at for claims that are bound."""
    origin: Origin | None = None
    """What `spec.source` of the claim names, where that can be copied now."""


@dataclass(frozen=True)
class Seen:
    """What was found of the objects a driver asked for."""

    objects: Mapping[Ref, Object | None] = field(default_factory=dict)
    secrets: Mapping[Ref, SecretView | None] = field(default_factory=dict)
    pods: Sequence[Object] = ()
    jobs: Sequence[Object] = ()
    """The errands of the claim, for drivers that act outside; `pods` are then theirs."""
    now: datetime | None = None
    """The time of this pass, for what ends at some time."""

    def get(self, ref: Ref) -> Object | None:
        return self.objects.get(ref)

    def secret(self, ref: Ref) -> SecretView | None:
        return self.secrets.get(ref)


@dataclass(frozen=True)
class Provision:
    """What a driver concludes for one claim.

    `connection` are the values of the connection secret (None while they cannot be said yet); `instance` names what
    stands behind the claim; `kept` are the objects that hold data: they have no owner, and go only under Delete.
    """

    outcome: Outcome
    actions: tuple[Action, ...] = ()
    connection: Mapping[str, Value] | None = None
    instance: str = ""
    kept: tuple[Ref, ...] = ()
    recovery_window: Mapping[str, str] = field(default_factory=dict)
    """What can be restored, as the provider says: `earliest` and `latest`, as far as it does."""
    found: tuple[str, ...] = ()
    """What the service turned out to be able to do, besides the capabilities that its class tells."""


@dataclass(frozen=True)
class Server:
    """What a driver concludes for the server a class runs for all its claims."""

    outcome: Outcome
    actions: tuple[Action, ...] = ()
    name: str = ""
    url: str = ""


class Driver(Protocol):
    """One way to serve one kind of claim.

    It may have `changes` as well (of api.changes.Change): the edits of a claim that is served with which it is stricter
    than the kind. What it does not allow it is never asked for: it is asked for what was before.
    """

    name: str
    claim_kind: str
    parameters: type[msgspec.Struct]
    watches: tuple[Watched, ...]
    """What it reads and writes besides the claim and its connection secret; RBAC comes from this."""

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """What its services can do with these parameters, in the words of docs/kinds/serviceclass.md."""

    def refuse(self, ask: Ask) -> Stalled | None:
        """Why this claim cannot be served by this class, or None. Looked at before anything is made."""

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        """The objects `plan` wants to see, Secrets among them."""

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        """What should exist for this claim, and how it stands."""


class CopyingDriver(Driver, Protocol):
    """A driver whose claims can begin with the data of another one, which it has as `Ask.origin`.

    Its capabilities then have `clone`, and `pitr` where what it serves can be restored to a moment.
    """

    inherits: tuple[str, ...]
    """The parameters of a claim that are its source's: a copy cannot begin with others."""

    def began(self, ask: Ask, seen: Seen) -> bool | None:
        """Whether the data that is there began as `spec.source` says. None while there is none."""


@dataclass(frozen=True)
class Withdrawal:
    """What a driver that acts outside concludes for a claim that is to go. Settled: outside nothing is left to do.

    `left` are the objects of ours that no owner takes along, deleted last of all.
    """

    outcome: Outcome
    actions: tuple[Action, ...] = ()
    left: tuple[Ref, ...] = ()


class ErrandDriver(Driver, Protocol):
    """A driver that has things done on servers somebody else runs: see `drivers.errands`."""

    def withdraw(self, ask: Ask, seen: Seen) -> Withdrawal:
        """What must happen outside before a claim may go. Under Retain that is nothing."""


def acts_outside(driver: Driver | None) -> bool:
    """Whether a driver's claims have effects outside of the cluster, which deletion must undo there."""
    return hasattr(driver, "withdraw")


def changes_of(driver: Driver | None, kind: type[Claim]) -> tuple[Change, ...]:
    """What becomes of an edit of each parameter of a claim that this driver serves."""
    return table_of(declared_changes(kind), getattr(driver, "changes", ()))


@cache
def declared_changes(kind: type[Claim]) -> tuple[Change, ...]:
    """What a kind of claim says of edits, whoever serves it."""
    declared: tuple[Change, ...] = get_type_hints(get_type_hints(kind)["spec"])["parameters"].CHANGES
    return declared


def told_otherwise(claim_kind: str, told: str) -> tuple[Change, ...]:
    """The edits that are made, with other words: for drivers that do something else, or nothing, about them."""
    kind = next(kind for kind in CLAIMS if kind.KIND.kind == claim_kind)
    made = [change for change in declared_changes(kind) if change.verdict in ("allowed", "grows")]
    return tuple(change.told_otherwise(told) for change in made)


def runs_server(driver: Driver | None) -> bool:
    """Whether classes of this driver run one server for all their claims."""
    return hasattr(driver, "plan_server")


class ServerDriver(Driver, Protocol):
    """A driver whose classes run one server for all their claims."""

    def server_ref(self, class_name: str, settings: Settings) -> Ref:
        """The Deployment of a class, whatever the class's parameters."""

    def server_looks_at(
        self, cls: ServiceClass, parameters: Any, claims: Sequence[Claim], settings: Settings
    ) -> tuple[Ref, ...]:
        """The objects `plan_server` wants to see."""

    def plan_server(
        self, cls: ServiceClass, parameters: Any, claims: Sequence[Claim], seen: Seen, settings: Settings
    ) -> Server:
        """What should exist for the class, and how it stands."""
