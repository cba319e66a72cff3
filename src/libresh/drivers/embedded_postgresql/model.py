"""What a class of this driver says, and what stands for one claim, by name."""

from typing import Annotated
from typing import Literal as OneOf

import msgspec

from libresh.api.claims import Quantity
from libresh.api.database import PostgreSQL
from libresh.drivers.children import Children
from libresh.drivers.model import Ask
from libresh.plan.actions import Byproduct, Ref, Theirs

SCOPE_LABEL = "libre.sh/scope"
PATRONI_NOTES = ("config", "leader", "failover", "sync")
CONNECTIONS = 100
"""How many a member takes unless Patroni is told otherwise."""


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    storage_class: str | None = None
    """The StorageClass of the volumes. Absent: the cluster's default."""
    memory: Annotated[Quantity, msgspec.Meta(description="Memory for each member.")] = "256Mi"
    max_connections: Annotated[
        int, msgspec.Meta(ge=10, le=1000, description="How many connections a member takes.")
    ] = CONNECTIONS
    members: Annotated[
        OneOf[1, 3],
        msgspec.Meta(description="One, or three on three nodes: then another takes over when the primary fails."),
    ] = 1
    synchronous: Annotated[
        bool,
        msgspec.Meta(
            description="With three members: whether a write is acknowledged only once a second member has it, so that "
            "none is lost when the primary is. Every write then waits for the network and a second disk."
        ),
    ] = True


class Names(Children):
    """Everything that stands for one claim, by name."""

    @property
    def labels(self) -> dict[str, str]:
        return super().labels | {SCOPE_LABEL: self.name}

    def volumes(self, members: int) -> tuple[Ref, ...]:
        return tuple(self.ref("PersistentVolumeClaim", volume_of(number)) for number in range(members))

    def workloads(self, members: int) -> tuple[Ref, ...]:
        return tuple(self.ref("StatefulSet", part_of(number)) for number in range(members))

    def kept_refs(self, members: int) -> tuple[Ref, ...]:
        """What holds data: the volumes, the passwords, and Patroni's own notes on them."""
        return (
            *self.volumes(members),
            self.ref("Secret", "credentials"),
            *(self.note(part) for part in PATRONI_NOTES),
        )

    def note(self, part: str) -> Byproduct:
        """A ConfigMap that Patroni makes, with the labels that its configuration gives to all it makes."""
        labels = self.selector | {SCOPE_LABEL: self.name}
        return Byproduct("ConfigMap", self.named(part), self.namespace, tuple(sorted(labels.items())))

    @property
    def quorum(self) -> Theirs:
        """Where Patroni notes which members may confirm writes."""
        return Theirs("ConfigMap", self.named("sync"), self.namespace)

    @property
    def database(self) -> PostgreSQL:
        assert isinstance(self.claim, PostgreSQL)
        return self.claim


def names_of(ask: Ask) -> Names:
    claim = ask.claim
    assert isinstance(claim, PostgreSQL)
    return Names(claim, "pg", "postgresql", claim.spec.parameters.version)


def part_of(number: int) -> str:
    """What a member's StatefulSet is called after the claim's name: the first is called as a single one is."""
    return str(number) if number else ""


def volume_of(number: int) -> str:
    return f"data-{number}" if number else "data"


def waits_for_replica(parameters: Parameters) -> bool:
    """Whether a write is acknowledged only once a second member has it."""
    return parameters.members > 1 and parameters.synchronous
