"""ServiceClass: who serves a kind of claim, and with which parameters; what StorageClass is to volumes."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from libresh.api.claims import NAME_LIMIT, DeletionPolicy
from libresh.api.grants import AllowedNamespaces
from libresh.api.meta import FORBIDDEN, BaseStatus, Column, Kind, Resource, Rule, Struct, name_rule

DEFAULT_CLASS = "services.libre.sh/is-default-class"
"""The annotation that makes a class the default of its kind of claim, when it is "true"."""

ClaimKind = Literal["PostgreSQL", "Redis", "Bucket", "SMTPAccount", "OIDCClient"]


class ServiceClassSpec(Struct, kw_only=True):
    """Which driver serves which kind of claim."""

    RULES = (
        Rule(
            "self.claimKind == oldSelf.claimKind",
            "claimKind cannot be changed: the claims of this class are of the old kind. Make another class",
            field=".claimKind",
            reason=FORBIDDEN,
        ),
        Rule(
            "self.driver == oldSelf.driver",
            "driver cannot be changed: the claims of this class are served by the old one. Make another class",
            field=".driver",
            reason=FORBIDDEN,
        ),
    )

    claim_kind: Annotated[ClaimKind, msgspec.Meta(description="The kind of claim this class serves.")]
    driver: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=128,
            pattern=r"^[a-z0-9]([-a-z0-9./]*[a-z0-9])?$",
            extra={
                "message": "must be the name of a driver such as embedded, static or example.org/hosted: "
                "lower-case letters, digits, hyphens, dots and slashes"
            },
            description="Who provides the service: embedded, static, or the name an outside controller watches for.",
        ),
    ]
    parameters: Annotated[
        dict[str, Any],
        msgspec.Meta(
            description="Parameters of the driver. They are copied to each claim when it is provisioned: "
            "an edit reaches new claims only, except for the settings of a server that the class itself "
            "runs."
        ),
    ] = {}
    deletion_policy: Annotated[
        DeletionPolicy,
        msgspec.Meta(
            description="What becomes of the data when a claim of this class is deleted, unless it says itself."
        ),
    ] = "Retain"
    allowed_namespaces: Annotated[
        AllowedNamespaces | None,
        msgspec.Meta(
            description="The namespaces whose claims this class takes on. Absent: all; an empty one: none. Claims that "
            "it serves already stay, whatever is written here later."
        ),
    ] = None


class ServiceClassStatus(BaseStatus):
    """What was observed of the class."""

    claims: Annotated[
        int, msgspec.Meta(description="How many claims this class serves. In use it cannot be deleted.")
    ] = 0
    capabilities: Annotated[
        list[str], msgspec.Meta(max_length=32, description="What services of this class can do.")
    ] = []
    server: Annotated[
        str | None, msgspec.Meta(description="The server this class runs for all its claims, if it runs one.")
    ] = None
    url: Annotated[str | None, msgspec.Meta(description="Where people reach that server, if they do.")] = None


class ServiceClass(Resource, kw_only=True):
    """Chooses who serves a kind of claim, and with which parameters."""

    KIND: ClassVar[Kind] = Kind(
        group="services.libre.sh",
        kind="ServiceClass",
        plural="serviceclasses",
        short=("svcclass",),
        namespaced=False,
        columns=(
            Column("Serves", ".spec.claimKind"),
            Column("Driver", ".spec.driver"),
            Column("Default", r".metadata.annotations.services\.libre\.sh/is-default-class"),
            Column("Claims", ".status.claims", "integer"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        rules=(name_rule(NAME_LIMIT),),
    )

    spec: ServiceClassSpec
    status: ServiceClassStatus = msgspec.field(default_factory=ServiceClassStatus)

    def allows(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether claims of a namespace with these labels may name this class."""
        grant = self.spec.allowed_namespaces
        return grant is None or grant.allow(namespace, labels)

    @property
    def is_default(self) -> bool:
        """Whether claims that name no class get this one."""
        return self.metadata.annotations.get(DEFAULT_CLASS) == "true"
