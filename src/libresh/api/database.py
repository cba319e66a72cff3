"""PostgreSQL: a claim to a database of one's own."""

from typing import Annotated, ClassVar, Literal

import msgspec

from libresh.api.claims import COLUMNS, STORAGE_GROWS, Claim, ClaimSpec, Quantity
from libresh.api.meta import Column, Kind, Rule, Struct

Extension = Annotated[str, msgspec.Meta(min_length=1, max_length=63, pattern=r"^[a-z][a-z0-9_-]*$")]


class PostgreSQLParameters(Struct):
    """What the database must be like."""

    RULES = (
        STORAGE_GROWS,
        Rule(
            "self.locale == oldSelf.locale",
            "locale cannot be changed: PostgreSQL fixes it when the database is made",
            field=".locale",
        ),
        Rule(
            "self.version == oldSelf.version",
            "version cannot be changed: moving to another major version is a migration",
            field=".version",
        ),
    )

    storage: Annotated[Quantity, msgspec.Meta(description="Room for the data, for example 5Gi. It can grow later.")] = "5Gi"
    version: Annotated[Literal["17"], msgspec.Meta(description="Major version of PostgreSQL.")] = "17"
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
            pattern=r"^[A-Za-z0-9_.@-]+$",
            description="Collation and character type of the database; the encoding is always UTF-8.",
        ),
    ] = "C"


class PostgreSQLSpec(ClaimSpec):
    """A database, and how it is to be served."""

    parameters: PostgreSQLParameters = msgspec.field(default_factory=PostgreSQLParameters)


class PostgreSQL(Claim):
    """A claim to a PostgreSQL database.

    Whoever provides it, the connection secret has the keys type, provider, host, port, database, username, password and
    uri.
    """

    KIND: ClassVar[Kind] = Kind(
        group="database.libre.sh",
        kind="PostgreSQL",
        plural="postgresqls",
        short=("pg",),
        columns=(*COLUMNS[:3], Column("Storage", ".spec.parameters.storage"), *COLUMNS[3:]),
    )

    spec: PostgreSQLSpec = msgspec.field(default_factory=PostgreSQLSpec)
