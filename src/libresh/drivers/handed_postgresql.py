"""What drivers share that hand a PostgreSQL claim to an operator of PostgreSQL: parameters, and the connection."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from libresh.api.claims import Quantity
from libresh.api.database import PostgreSQL
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask
from libresh.plan import actions
from libresh.plan.actions import From, SecretKey, Template, Value

SslMode = Literal["require", "verify-ca", "verify-full"]
Cpu = Annotated[str, msgspec.Meta(pattern=r"^([1-9][0-9]*m|[1-9][0-9]*(\.[0-9]{1,3})?|0\.[0-9]{0,2}[1-9])$")]
Instances = Annotated[int, msgspec.Meta(ge=1, le=15)]
ObjectName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Settings = dict[
    Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_.]*$", max_length=63)],
    Annotated[str, msgspec.Meta(max_length=1024)],
]
"""PostgreSQL's own settings, as in postgresql.conf."""
Schedule = Annotated[str, msgspec.Meta(pattern=r"^[0-9*/,A-Za-z-]+( [0-9*/,A-Za-z?-]+){4}$", max_length=100)]
"""When to do something, with the five fields of cron: minute, hour, day, month, weekday."""

INHERITED = ("version", "locale")
"""What a copy of the files of a database has in common with it."""


class Resources(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What each member may use: asked for and granted alike, but for the processor, which is only asked for."""

    memory: Quantity = "512Mi"
    cpu: Cpu = "100m"


class Unfit(ValueError):
    """Parameters that do not go together: the field, and why."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")


def claim_of(ask: Ask) -> PostgreSQL:
    assert isinstance(ask.claim, PostgreSQL)
    return ask.claim


def build_connection(
    provider: str,
    host: str,
    credentials: Mapping[str, SecretKey],
    literals: Mapping[str, str],
    sslmode: SslMode,
    authority: SecretKey | None,
) -> dict[str, Value]:
    """The connection secret. `credentials`: keys of the operator's own Secret; `literals`: what libre.sh chose."""
    found: dict[str, Value] = {
        "type": actions.Literal(TYPES["PostgreSQL"]),
        "provider": actions.Literal(provider),
        "host": actions.Literal(host),
        "sslmode": actions.Literal(sslmode),
        **{key: actions.Literal(value) for key, value in literals.items()},
        **{key: From(source) for key, source in credentials.items()},
        "uri": Template(
            f"postgresql://${{username}}:${{password}}@${{host}}:${{port}}/${{database}}?sslmode={sslmode}",
            {key: key for key in ("username", "password", "host", "port", "database")},
            quote="url",
        ),
    }
    return found if authority is None else {**found, "ca.crt": From(authority)}
