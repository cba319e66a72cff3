"""PostgreSQL: a claim to a database of one's own."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

import msgspec

from libresh.api.changes import STORAGE, Change, rules_of
from libresh.api.claims import CLAIM_RULES, COLUMNS, SOURCE_RULES, Claim, ClaimSpec, ClaimStatus, Quantity, Source
from libresh.api.meta import Column, Kind, Rule, Struct

Extension = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z][a-z0-9_-]*$",
        extra={"message": "must be the name of an extension such as pg_trgm: lower-case letters, digits, _ and -"},
    ),
]


class PostgreSQLParameters(Struct):
    """What the database must be like."""

    CHANGES: ClassVar[tuple[Change, ...]] = (
        STORAGE,
        Change(
            "version",
            "allowed",
            "whoever serves it brings the data to the other major version, if that can be done",
        ),
        Change("extensions", "allowed", "what is added is created; what is taken out stays until somebody drops it"),
        Change(
            "locale",
            "refused",
            "PostgreSQL fixes it when the database is made. Make a new claim with the other locale and move the data "
            "to it",
        ),
    )
    RULES = (
        *rules_of(CHANGES),
        Rule(
            "!has(self.storage) || !isQuantity(self.storage) || "
            "quantity(self.storage).compareTo(quantity('256Mi')) >= 0",
            "storage must be at least 256Mi: an empty database and its write-ahead log need that much",
            field=".storage",
        ),
    )

    storage: Annotated[Quantity, msgspec.Meta(description="Room for the data, for example 5Gi. It can grow later.")] = (
        "5Gi"
    )
    version: Annotated[
        Literal["13", "14", "15", "16", "17", "18"],
        msgspec.Meta(description="Major version of PostgreSQL. Which ones there are depends on the class."),
    ] = "17"
    extensions: Annotated[
        list[Extension],
        msgspec.Meta(
            max_length=32,
            description="Extensions to create in the database, for example pg_trgm.",
            extra_json_schema={"x-kubernetes-list-type": "set"},
        ),
    ] = []
    locale: Annotated[
        str,
        msgspec.Meta(
            max_length=64,
            min_length=1,
            pattern=r"^[A-Za-z0-9_.@-]+$",
            extra={"message": "must be the name of a locale, such as C, C.UTF-8 or fr_FR.UTF-8"},
            description="Collation and character type of the database; the encoding is always UTF-8.",
        ),
    ] = "C"


class PostgreSQLSpec(ClaimSpec):
    """A database, and how it is to be served."""

    parameters: PostgreSQLParameters = msgspec.field(default_factory=PostgreSQLParameters)
    source: Annotated[
        Source | None,
        msgspec.Meta(
            description="Whose data the database begins with. Absent: it begins empty. It cannot be changed once a "
            "class serves the claim."
        ),
    ] = None


class RecoveryWindow(Struct):
    """What the provider says can be restored."""

    earliest: Annotated[datetime | None, msgspec.Meta(description="The first moment that can be restored.")] = None
    latest: Annotated[
        datetime | None,
        msgspec.Meta(
            description="When the last base backup that succeeded was made. Later moments can be restored as far as "
            "the archive of the write-ahead log goes."
        ),
    ] = None


class PostgreSQLStatus(ClaimStatus):
    """What was observed of the database."""

    recovery_window: Annotated[
        RecoveryWindow | None,
        msgspec.Meta(description="What can be restored, where the provider tells it. Absent: it does not tell."),
    ] = None


class PostgreSQL(Claim):
    """A claim to a PostgreSQL database.

    Whoever provides it, the connection secret has the keys type, provider, host, port, database, username,
    password and uri.
    """

    KIND: ClassVar[Kind] = Kind(
        group="database.libre.sh",
        kind="PostgreSQL",
        plural="postgresqls",
        short=("pg",),
        columns=(*COLUMNS[:3], Column("Storage", ".spec.parameters.storage"), *COLUMNS[3:]),
        rules=(*CLAIM_RULES, *SOURCE_RULES),
    )

    spec: PostgreSQLSpec = msgspec.field(default_factory=PostgreSQLSpec)
    status: PostgreSQLStatus = msgspec.field(default_factory=PostgreSQLStatus)
