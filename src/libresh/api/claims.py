"""What all claims share: choosing a class, binding a connection secret, keeping the data."""

from typing import Annotated, Any, Literal

import msgspec

from libresh.api.meta import BaseStatus, Column, LocalName, Resource, Rule, Struct

DeletionPolicy = Literal["Retain", "Delete"]

Quantity = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
    ),
]

ClassName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        description="The ServiceClass that serves this claim. Absent: the default class of this kind of claim, "
        "also one that appears later. It cannot be changed once set.",
    ),
]


class ClaimSpec(Struct):
    """What is asked for. Each kind of claim adds its `parameters`."""

    RULES = (
        Rule(
            "!has(oldSelf.className) || (has(self.className) && self.className == oldSelf.className)",
            "className cannot be changed: make a new claim of the other class and move the data to it",
            field=".className",
        ),
        Rule(
            "!has(oldSelf.compositionRef) || (has(self.compositionRef) && "
            "self.compositionRef.name == oldSelf.compositionRef.name)",
            "compositionRef cannot be changed: make a new claim of the other class and move the data to it",
            field=".compositionRef",
        ),
        Rule(
            "!has(self.className) || !has(self.compositionRef) || self.className == self.compositionRef.name",
            "className and compositionRef name different classes: compositionRef is another spelling of className, "
            "set one of them",
        ),
    )

    class_name: ClassName | None = None
    composition_ref: Annotated[
        LocalName | None, msgspec.Meta(description="Another spelling of className, as Crossplane has it.")
    ] = None
    deletion_policy: Annotated[
        DeletionPolicy | None,
        msgspec.Meta(
            description="What becomes of the data when this claim is deleted. Retain keeps it, and a claim of the same "
            "name finds it again. Absent: as the class says."
        ),
    ] = None
    write_connection_secret_to_ref: Annotated[
        LocalName | None,
        msgspec.Meta(description="The Secret to write the connection to. Absent: the claim's name and -connection."),
    ] = None


class Binding(Struct):
    """Where the connection secret is (a servicebinding.io provisioned service)."""

    name: str


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
            description="The class's parameters, copied when provisioned: later edits of the class do not reach "
            "this claim."
        ),
    ] = None
    deletion_policy: Annotated[
        DeletionPolicy | None, msgspec.Meta(description="What becomes of the data when the claim is deleted.")
    ] = None
    binding: Annotated[
        Binding | None, msgspec.Meta(description="Where the connection secret is, once it can be used.")
    ] = None
    instance: Annotated[Instance | None, msgspec.Meta(description="What stands behind the claim now.")] = None
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
    def connection_secret(self) -> str:
        """The name of the connection secret."""
        target = self.spec.write_connection_secret_to_ref
        return target.name if target else f"{self.name}-connection"


COLUMNS = (
    Column("Class", ".status.className", description="The class that serves the claim"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
    Column("Secret", ".status.binding.name", priority=1, description="The connection secret"),
    Column("Age", ".metadata.creationTimestamp", "date"),
)

STORAGE_GROWS = Rule(
    "!has(oldSelf.storage) || (has(self.storage) && "
    "quantity(self.storage).compareTo(quantity(oldSelf.storage)) >= 0)",
    "storage can grow but not shrink: no volume can be made smaller without risking what is on it",
    field=".storage",
)
"""For parameters whose storage has no default (a default makes `has` true everywhere)."""
