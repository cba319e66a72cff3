"""OIDCClient: a claim to a client at an identity provider."""

from typing import Annotated, ClassVar

import msgspec

from libresh.api.changes import Change
from libresh.api.claims import CLAIM_RULES, COLUMNS, Claim, ClaimSpec
from libresh.api.meta import Kind, Struct

Uri = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=2048,
        pattern=r"^https?://[^\s#*]+$",
        extra={
            "message": "must be a whole address such as https://chat.example.org/callback: http or https, "
            "without spaces, wildcards or a fragment"
        },
    ),
]


class OIDCClientParameters(Struct, kw_only=True):
    """What the client must be allowed to do."""

    CHANGES: ClassVar[tuple[Change, ...]] = (
        Change("redirectUris", "allowed", "the provider is told; people are not logged out"),
        Change("postLogoutRedirectUris", "allowed", "the provider is told"),
        Change("clientName", "allowed", "the provider is told"),
        Change("clientUri", "allowed", "the provider is told"),
    )

    redirect_uris: Annotated[
        list[Uri],
        msgspec.Meta(
            min_length=1,
            max_length=32,
            description="Where the provider may send people back to after they logged in.",
            extra_json_schema={"x-kubernetes-list-type": "set"},
        ),
    ]
    post_logout_redirect_uris: Annotated[
        list[Uri],
        msgspec.Meta(
            max_length=32,
            description="Where the provider may send people back to after they logged out.",
            extra_json_schema={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    client_name: Annotated[
        Annotated[str, msgspec.Meta(max_length=128)] | None,
        msgspec.Meta(description="What people see when they are asked to log in."),
    ] = None
    client_uri: Annotated[Uri | None, msgspec.Meta(description="The application's home page.")] = None


class OIDCClientSpec(ClaimSpec, kw_only=True):
    """A client, and how it is to be served."""

    parameters: OIDCClientParameters


class OIDCClient(Claim, kw_only=True):
    """A claim to a client at an OpenID Connect provider.

    Whoever provides it, the connection secret has the keys type, provider, host, port, issuer, client-id,
    client-secret and uri.
    """

    KIND: ClassVar[Kind] = Kind(
        group="identity.libre.sh",
        kind="OIDCClient",
        plural="oidcclients",
        short=("oidc",),
        columns=COLUMNS,
        rules=CLAIM_RULES,
    )

    spec: OIDCClientSpec
