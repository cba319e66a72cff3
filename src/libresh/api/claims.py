"""What all claims share: choosing a class, binding a connection secret, keeping the data."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from libresh.api.grants import AllowedNamespaces
from libresh.api.meta import (
    FORBIDDEN,
    BaseStatus,
    Column,
    LocalName,
    ObjectName,
    Resource,
    Rule,
    Struct,
    name_rule,
)

DeletionPolicy = Literal["Retain", "Delete"]

Quantity = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=32,
        pattern=r"^([0-9]*[1-9][0-9]*(\.[0-9]+)?|0\.[0-9]*[1-9][0-9]*)(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)$",
        extra={"message": "must be a size above zero with a unit: 500M and 5G, or in powers of two 500Mi and 5Gi"},
    ),
]

Capability = Literal["clone", "expand", "ha", "keep", "pitr", "quota", "relay", "rotate", "users", "versioning"]
"""What a class can promise of its services. docs/kinds/serviceclass.md explains the words, and which besides are only
found out of a service that is there: these cannot be required."""

Capabilities = Annotated[
    list[Capability], msgspec.Meta(max_length=16, extra_json_schema={"x-kubernetes-list-type": "set"})
]

ClassName = Annotated[
    ObjectName,
    msgspec.Meta(
        description="The ServiceClass that serves this claim. Absent: the default class of this kind of "
        "claim, also one that appears later. It cannot be changed once a class serves the claim."
    ),
]


class ClaimSpec(Struct):
    """What is asked for. Each kind of claim adds its `parameters`."""

    RULES = (
        Rule(
            "!has(self.className) || !has(self.compositionRef) || self.className == self.compositionRef.name",
            "className and compositionRef name different classes: compositionRef is another spelling of "
            "className, set one of them",
        ),
    )

    class_name: ClassName | None = None
    composition_ref: Annotated[
        LocalName | None, msgspec.Meta(description="Another spelling of className, as Crossplane has it.")
    ] = None
    requires: Annotated[
        Capabilities | None,
        msgspec.Meta(
            description="What the service must be able to do, in the words of the class's status.capabilities. While "
            "the class does not promise all of it nothing is made. Asked for once a class serves the claim it changes "
            "nothing: what the service lacks is told."
        ),
    ] = None
    deletion_policy: Annotated[
        DeletionPolicy | None,
        msgspec.Meta(
            description="What becomes of the data when this claim is deleted. Retain keeps it, and a claim "
            "of the same name finds it again. Absent: as the class says."
        ),
    ] = None
    write_connection_secret_to_ref: Annotated[
        LocalName | None,
        msgspec.Meta(
            description="The Secret to write the connection to. Absent: the claim's name, its kind and connection, as "
            "in my-db-postgresql-connection."
        ),
    ] = None
    allowed_namespaces: Annotated[
        AllowedNamespaces | None,
        msgspec.Meta(description="The namespaces besides its own whose applications may use this claim. Absent: none."),
    ] = None


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Source(Struct):
    """Whose data a claim begins with, as the dataSource of a PersistentVolumeClaim."""

    RULES = (
        Rule(
            "!has(self.at) || (self.at >= timestamp('2000-01-01T00:00:00Z') && "
            "self.at < timestamp('2100-01-01T00:00:00Z'))",
            "at must be a moment of this century",
            field=".at",
        ),
    )

    claim: Annotated[
        LocalName,
        msgspec.Meta(
            description="A claim of the same kind and namespace that a class with the same driver serves. It is only "
            "read, and the copy has credentials of its own."
        ),
    ]
    at: Annotated[
        Moment | None,
        msgspec.Meta(
            description="The moment whose data is wanted, as in 2026-01-31T12:00:00Z: not after this claim was made, "
            "and the service behind the source must have the capability pitr. Absent: the data as it is now.",
        ),
    ] = None


class Binding(Struct):
    """Where the connection secret is (a servicebinding.io provisioned service)."""

    name: Annotated[str, msgspec.Meta(description="The name of the connection secret.")]


class Instance(Struct):
    """What stands behind the claim now."""

    driver: Annotated[str, msgspec.Meta(description="The driver that serves the claim.")]
    ref: Annotated[str, msgspec.Meta(description="The object or server that serves it.")] = ""


class ClaimStatus(BaseStatus):
    """What was observed of the claim."""

    class_name: Annotated[str | None, msgspec.Meta(description="The class that serves the claim.")] = None
    driver: Annotated[str | None, msgspec.Meta(description="The driver of that class, copied when provisioned.")] = None
    parameters: Annotated[
        dict[str, Any] | None,
        msgspec.Meta(
            description="The class's parameters, copied when provisioned: later edits of the class do not "
            "reach this claim."
        ),
    ] = None
    deletion_policy: Annotated[
        DeletionPolicy | None, msgspec.Meta(description="What becomes of the data when the claim is deleted.")
    ] = None
    binding: Annotated[
        Binding | None, msgspec.Meta(description="Where the connection secret is, once it can be used.")
    ] = None
    instance: Annotated[Instance | None, msgspec.Meta(description="What stands behind the claim now.")] = None
    asked: Annotated[
        dict[str, Any] | None,
        msgspec.Meta(
            description="The claim's own parameters as the service was last asked for them: an edit that is refused "
            "does not reach it."
        ),
    ] = None
    capabilities: Annotated[
        list[str], msgspec.Meta(max_length=32, description="What the service behind the claim can do.")
    ] = []


class Claim(Resource, kw_only=True):
    """A claim of any kind: the reconciler of claims sees no more than this."""

    spec: ClaimSpec
    status: ClaimStatus = msgspec.field(default_factory=ClaimStatus)

    @property
    def wanted_class(self) -> str | None:
        """The class the person named, in either spelling."""
        if self.spec.class_name:
            return self.spec.class_name
        return self.spec.composition_ref.name if self.spec.composition_ref else None

    @property
    def asked(self) -> Any:
        """The parameters, of the kind's own type."""
        return getattr(self.spec, "parameters", None)

    @property
    def source(self) -> Source | None:
        """Whose data the claim begins with, of kinds that can be copied."""
        return getattr(self.spec, "source", None)

    @property
    def connection_secret(self) -> str:
        """The name of the connection secret."""
        target = self.spec.write_connection_secret_to_ref
        return target.name if target else f"{self.name}-{self.KIND.kind.lower()}-connection"


COLUMNS = (
    Column("Class", ".status.className", description="The class that serves the claim"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
    Column("Secret", ".status.binding.name", priority=1, description="The connection secret"),
    Column("Age", ".metadata.creationTimestamp", "date"),
)

NAME_LIMIT = 46
"""So that the longest name made from a claim's stays within the 63 characters of a label or a Service."""


def class_rule(spelling: str, other: str, name: str) -> Rule:
    """The class cannot be changed once one serves the claim; before, a misspelt one can be corrected."""
    return Rule(
        f"!has(oldSelf.status) || !has(oldSelf.status.className) || (has(self.spec.{spelling}) ? "
        f"self.spec.{spelling}{name} == oldSelf.status.className || (has(oldSelf.spec.{spelling}) && "
        f"self.spec.{spelling}{name} == oldSelf.spec.{spelling}{name}) : "
        f"!has(oldSelf.spec.{spelling}) || has(self.spec.{other}))",
        f"{spelling} cannot be changed: the class in status.className already serves this claim. Make a "
        "new claim of the other class and move the data to it",
        field=f".spec.{spelling}",
        reason=FORBIDDEN,
    )


CLAIM_RULES = (
    name_rule(NAME_LIMIT),
    class_rule("className", "compositionRef", ""),
    class_rule("compositionRef", "className", ".name"),
)
"""What holds for the whole object of every kind of claim."""

SERVED = "has(oldSelf.status) && has(oldSelf.status.driver)"
SOURCE_RULES = (
    Rule(
        "!has(self.spec.source) || self.spec.source.claim.name != self.metadata.name",
        "source.claim.name: a claim cannot begin with its own data: name another claim",
        field=".spec.source.claim.name",
    ),
    Rule(
        f"!({SERVED}) || (has(self.spec.source) ? has(oldSelf.spec.source) && self.spec.source == oldSelf.spec.source "
        ": !has(oldSelf.spec.source))",
        "source cannot be changed: the claim is served, and began with the data it has. Make a new claim with the "
        "other source",
        field=".spec.source",
        reason=FORBIDDEN,
    ),
)
"""What holds for the whole object of kinds that can begin with the data of another claim."""
