"""Claims of applications: references to another application's service, with a connection secret.

The kinds are here and not with the applications, as those that serve and those that ask both name them.
"""

from typing import Annotated, ClassVar

import msgspec

from libresh.api.claims import NAME_LIMIT, Binding
from libresh.api.connection import COMMON, Schema
from libresh.api.grants import NamespaceName
from libresh.api.meta import BaseStatus, Column, Kind, LocalName, ObjectName, Resource, Struct, name_rule


class AppRef(Struct, kw_only=True):
    """Names an application, here or in another namespace."""

    name: Annotated[ObjectName, msgspec.Meta(description="The application's name.")]
    namespace: Annotated[
        NamespaceName | None,
        msgspec.Meta(
            description="Where the application is. Absent: in this namespace. In another one, its owner must allow "
            "this namespace by its spec.allowedNamespaces."
        ),
    ] = None


class AppClaimSpec(Struct):
    """Which application is meant, and where its connection goes."""

    app_ref: Annotated[
        AppRef | None,
        msgspec.Meta(
            description="The application. Absent: the only one in this namespace; where there is none, the only one "
            "in the operator's own namespace that allows this one. What was found is kept."
        ),
    ] = None
    write_connection_secret_to_ref: Annotated[
        LocalName | None,
        msgspec.Meta(
            description="The Secret to write the connection to. Absent: the claim's name, its kind and connection, as "
            "in office-collaboraclaim-connection."
        ),
    ] = None


class BoundApp(Struct, kw_only=True):
    """The application a claim is bound to."""

    name: Annotated[str, msgspec.Meta(description="The application's name.")]
    namespace: Annotated[str, msgspec.Meta(description="Where the application is.")]


class AppClaimStatus(BaseStatus):
    """What was observed of the claim."""

    app: Annotated[BoundApp | None, msgspec.Meta(description="The application that was found for the claim.")] = None
    binding: Annotated[
        Binding | None, msgspec.Meta(description="Where the connection secret is, once it can be used.")
    ] = None


class AppClaim(Resource, kw_only=True):
    """A claim of any kind of application: its reconciler sees no more than this. Subclasses set `APP` and `SCHEMA`."""

    APP: ClassVar[str]
    """The kind of application."""
    SCHEMA: ClassVar[Schema]
    """The keys of the connection secret."""

    spec: AppClaimSpec = msgspec.field(default_factory=AppClaimSpec)
    status: AppClaimStatus = msgspec.field(default_factory=AppClaimStatus)

    @property
    def connection_secret(self) -> str:
        """The name of the connection secret."""
        target = self.spec.write_connection_secret_to_ref
        return target.name if target else f"{self.name}-{self.KIND.kind.lower()}-connection"


APP_CLAIM_COLUMNS = (
    Column("App", ".status.app.name", description="The application behind it"),
    Column("In", ".status.app.namespace", description="The application's namespace"),
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
    Column("Secret", ".status.binding.name", priority=1, description="The connection secret"),
    Column("Age", ".metadata.creationTimestamp", "date"),
)
APP_CLAIM_RULES = (name_rule(NAME_LIMIT),)
"""What holds for the whole object of every kind of application's claim."""


class CollaboraClaim(AppClaim):
    """A claim to an office suite that edits documents in the browser, served by a Collabora.

    The connection secret has the keys type, provider, host, port, uri (inside the cluster) and url (for browsers),
    and may have username and password (of the administration console), client-cidrs and ca.crt.
    """

    KIND: ClassVar[Kind] = Kind(
        group="apps.libre.sh",
        kind="CollaboraClaim",
        plural="collaboraclaims",
        columns=APP_CLAIM_COLUMNS,
        rules=APP_CLAIM_RULES,
    )
    APP = "Collabora"
    SCHEMA = Schema(
        type="collabora",
        required={
            **COMMON,
            "uri": "its address inside the cluster",
            "url": "its address for people's browsers",
        },
        optional={
            "username": "who may see its administration console",
            "password": "that person's password",
            "client-cidrs": "the networks its requests come from, separated by commas: whom to let fetch documents",
            "ca.crt": "the authority that signed the certificate of `uri`, where it is no public one",
        },
    )
