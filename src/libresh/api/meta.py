"""What every object of ours is made of: metadata, conditions, references, and how a kind describes itself."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from libresh.plan.actions import Ref

VERSION = "v1alpha1"
CONDITION_LIMIT = 32


class Struct(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """A part of a declared object. Class attributes `RULES` are CEL rules of the schema at this place."""

    RULES: ClassVar[tuple["Rule", ...]] = ()


FORBIDDEN, REQUIRED = "FieldValueForbidden", "FieldValueRequired"


@dataclass(frozen=True)
class Rule:
    """A CEL validation (`x-kubernetes-validations`): what must hold, and what a person is told otherwise.

    A rule that names `oldSelf` is a transition rule; `field` is the path below this place that it speaks of.
    `reason` is FORBIDDEN, REQUIRED or nothing: the word the API server puts before the message.
    """

    rule: str
    message: str
    field: str = ""
    reason: str = ""


NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"


def name_rule(limit: int) -> Rule:
    """The name of an object that others are named after, Services among them, which take no dots."""
    return Rule(
        f"self.metadata.name.size() <= {limit} && self.metadata.name.matches('{NAME_PATTERN}')",
        f"may have at most {limit} characters, only lower-case letters, digits and hyphens, "
        "beginning with a letter: the Services and Secrets made for this object are named after it",
        field=".metadata.name",
        reason=FORBIDDEN,
    )


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. `priority` 1 shows only with `-o wide`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True)
class Kind:
    """How a kind of ours presents itself to Kubernetes."""

    group: str
    kind: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    columns: tuple[Column, ...] = ()
    categories: tuple[str, ...] = ("libresh",)
    version: str = VERSION
    scale: tuple[str, str, str] | None = None
    """JSON paths of (spec replicas, status replicas, label selector), where the kind scales."""
    rules: tuple[Rule, ...] = field(default=())
    """CEL rules on the whole object."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"


class OwnerReference(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True, frozen=True, gc=False):
    """Who an object belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Struct, gc=False):
    """The part of an object's metadata that libre.sh reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


Status = Literal["True", "False", "Unknown"]


class Condition(Struct, gc=False):
    """One observed fact about the object, in the standard form of Kubernetes."""

    type: Annotated[str, msgspec.Meta(max_length=316, description="Name of the condition, for example Ready.")]
    status: Annotated[Status, msgspec.Meta(description="True, False or Unknown.")]
    observed_generation: Annotated[int, msgspec.Meta(description="The generation of the spec this is about.")] = 0
    last_transition_time: Annotated[
        datetime | None, msgspec.Meta(description="When the status of this condition last changed.")
    ] = None
    reason: Annotated[str, msgspec.Meta(max_length=1024, description="A word for programs.")] = ""
    message: Annotated[str, msgspec.Meta(max_length=32768, description="A sentence for people.")] = ""


Conditions = Annotated[
    list[Condition],
    msgspec.Meta(
        max_length=CONDITION_LIMIT,
        description="What is so, in the standard form: Ready, Reconciling, Stalled and the kind's own.",
        extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]


ObjectName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        extra={
            "message": "must be the name of an object: lower-case letters, digits, hyphens and dots, with "
            "a letter or digit at both ends"
        },
    ),
]


class LocalName(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True, frozen=True):
    """Names an object in the same namespace."""

    name: Annotated[ObjectName, msgspec.Meta(description="The name of an object in the same namespace.")]


class BaseStatus(Struct):
    """What the status of every kind has."""

    observed_generation: Annotated[
        int | None, msgspec.Meta(description="The generation of the spec that was last acted on.")
    ] = None
    conditions: Conditions = []


class Resource(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """An object of one of our kinds. Subclasses set `KIND` and add `spec` and `status`."""

    KIND: ClassVar[Kind]

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: Any = None
    status: Any = None

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def ref(self) -> Ref:
        return Ref(self.KIND.kind, self.metadata.name, self.metadata.namespace)

    @property
    def deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    def is_ready(self) -> bool:
        """Whether Ready was observed True for the current generation."""
        for condition in getattr(self.status, "conditions", None) or ():
            if condition.type == "Ready":
                current = condition.observed_generation in (0, self.metadata.generation)
                return bool(condition.status == "True" and current)
        return False

    def was_ready(self) -> bool:
        """Whether Ready was last observed True, be it for an earlier generation."""
        return any(c.type == "Ready" and c.status == "True" for c in getattr(self.status, "conditions", None) or ())
