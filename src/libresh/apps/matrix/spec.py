"""Matrix: what a person declares of a homeserver."""

from typing import Annotated, ClassVar, Literal

import msgspec

from libresh.api.apps import APP_COLUMNS, APP_RULES, HOST_REQUIRED, App, AppSpec, Host, ServiceRef
from libresh.api.claims import Quantity
from libresh.api.meta import FORBIDDEN, Kind, Rule, Struct


class WebClientSpec(Struct):
    """A web client for people who do not bring one of their own."""

    host: Annotated[Host, msgspec.Meta(description="The name the web client is reached at.")]


class MatrixSettings(Struct):
    """What the homeserver does. Few on purpose."""

    registration: Annotated[
        Literal["Closed", "Open"],
        msgspec.Meta(
            description="Who may make an account: Closed, only an administrator; Open, anybody who can "
            "reach the server."
        ),
    ] = "Closed"
    federation: Annotated[bool, msgspec.Meta(description="Whether it talks to other homeservers.")] = True
    max_upload_size: Annotated[Quantity, msgspec.Meta(description="The largest file people may upload.")] = "50M"
    password_login: Annotated[
        bool,
        msgspec.Meta(description="Whether people may log in by password besides the identity provider."),
    ] = True
    metrics: Annotated[bool, msgspec.Meta(description="Whether Prometheus metrics are served inside the cluster.")] = (
        True
    )


class MatrixSpec(AppSpec):
    """A homeserver."""

    RULES = (
        HOST_REQUIRED,
        Rule(
            "!has(self.webClient) || !has(self.host) || self.webClient.host != self.host",
            "must not be the homeserver's own host: the web client needs a name of its own, or a malicious file "
            "served by one could act in the other",
            field=".webClient.host",
            reason=FORBIDDEN,
        ),
        Rule(
            "has(oldSelf.serverName) ? has(self.serverName) && self.serverName == oldSelf.serverName : "
            "!has(self.serverName) || !has(oldSelf.host) || self.serverName == oldSelf.host",
            "serverName cannot be changed (where it was absent it is the host): it is part of every user's "
            "and room's name for ever. Make another Matrix for another name",
            field=".serverName",
            reason=FORBIDDEN,
        ),
        Rule(
            "has(self.serverName) || has(oldSelf.serverName) || !has(oldSelf.host) || "
            "(has(self.host) && self.host == oldSelf.host)",
            "host cannot be changed while it is also the server name, which is part of every user's and "
            "room's name for ever. To move to another host set serverName to the present host as well; for "
            "another name make another Matrix",
            field=".host",
            reason=FORBIDDEN,
        ),
        Rule(
            "!has(self.settings) || !has(self.settings.passwordLogin) || self.settings.passwordLogin || "
            "has(self.login) || has(self.profile)",
            "passwordLogin can only be false when people can log in through an identity provider, or "
            "nobody could: set login (login: {} takes the default class) or name the profile that does",
            field=".settings.passwordLogin",
            reason=FORBIDDEN,
        ),
    )

    server_name: Annotated[
        Host | None,
        msgspec.Meta(
            description="The domain of users and rooms, as in @alice:example.org. It can never be changed. "
            "Absent: the host."
        ),
    ] = None
    database: Annotated[ServiceRef, msgspec.Meta(description="Where the PostgreSQL database comes from.")] = (
        msgspec.field(default_factory=ServiceRef)
    )
    cache: Annotated[ServiceRef, msgspec.Meta(description="Where the Redis cache comes from.")] = msgspec.field(
        default_factory=ServiceRef
    )
    object_store: Annotated[ServiceRef, msgspec.Meta(description="Where the bucket for media comes from.")] = (
        msgspec.field(default_factory=ServiceRef)
    )
    mail: Annotated[ServiceRef | None, msgspec.Meta(description="Where mail goes out. Absent: no mail is sent.")] = None
    login: Annotated[
        ServiceRef | None,
        msgspec.Meta(description="The identity provider people may log in with. Absent: by password only."),
    ] = None
    web_client: Annotated[WebClientSpec | None, msgspec.Meta(description="A web client. Absent: none is run.")] = None
    settings: MatrixSettings = msgspec.field(default_factory=MatrixSettings)


class Matrix(App):
    """A Matrix homeserver (Synapse) with its database, cache and media store."""

    KIND: ClassVar[Kind] = Kind(
        group="apps.libre.sh",
        kind="Matrix",
        plural="matrices",
        short=("mx",),
        columns=APP_COLUMNS,
        rules=APP_RULES,
    )

    spec: MatrixSpec = msgspec.field(default_factory=MatrixSpec)
