"""PostgreSQL on a server that somebody else runs: a role and a database of its own for each claim.

The role owns its database, and nobody else may connect to it but the server's superusers. What is done on the server is
in `build/images/errand/libresh_errand/postgresql.py`.
"""

from typing import Annotated

import msgspec

from libresh.api.changes import STORAGE, Change
from libresh.api.database import Extension, PostgreSQL
from libresh.drivers.accounts import Account, AccountDriver, Port, Server, written_host
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask
from libresh.plan import naming
from libresh.plan.actions import From, Literal, SecretKey, Template, Value

NAME_LIMIT = 63
"""What PostgreSQL keeps of a name; it cuts off the rest without a word."""
READABLE = 50

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LIMIT)]


class Parameters(Server, kw_only=True):
    """Parameters of a class with this driver."""

    port: Port = 5432
    maintenance_database: Identifier = "postgres"
    """The database the administrator connects to."""
    extensions: list[Extension] = []
    """Extensions that claims may have besides those PostgreSQL calls trusted. The administrator makes them."""


class ExternalPostgreSQL(AccountDriver):
    """Serves PostgreSQL claims on one server that somebody else runs."""

    claim_kind = "PostgreSQL"
    parameters = Parameters
    changes = (
        STORAGE.told_otherwise("nothing follows: the room is the server's"),
        Change(
            "version",
            "allowed",
            "nothing is converted: say which one the server has once it was upgraded; any other is refused by name",
        ),
        Change(
            "extensions",
            "allowed",
            "what is added is created, if the server has it and PostgreSQL or the class trusts it; what is taken out "
            "stays until somebody drops it",
        ),
    )

    def account_of(self, ask: Ask) -> Account:
        claim, parameters = ask.claim, ask.parameters
        assert isinstance(claim, PostgreSQL)
        asked, name = claim.spec.parameters, name_of(ask)
        order = {
            "maintenance": parameters.maintenance_database,
            "role": name,
            "database": name,
            "version": asked.version,
            "locale": asked.locale,
            "extensions": sorted(asked.extensions),
            "allowed": sorted(parameters.extensions),
            "class": ask.class_name,
            "tls": parameters.tls,
        }
        names = Children(claim, "pg", "postgresql", asked.version)
        return Account(
            ask,
            names,
            "postgresql",
            parameters.host,
            parameters.port,
            order,
            lambda password: connection_of(ask, password),
        )


def name_of(ask: Ask) -> str:
    """The role and the database of a claim: readable, and no other claim's whatever these are called."""
    claim = ask.claim
    readable = f"{ask.parameters.name_prefix}{claim.namespace}_{claim.name}".replace("-", "_")[:READABLE]
    return f"{readable}_{naming.digest_of(claim.namespace, claim.name)[: NAME_LIMIT - READABLE - 1]}"


def connection_of(ask: Ask, password: SecretKey) -> dict[str, Value]:
    """The connection secret, as published for every PostgreSQL."""
    parameters, name = ask.parameters, name_of(ask)
    host = written_host(parameters.host)
    uri = f"postgresql://{name}:${{password}}@{host}:{parameters.port}/{name}?sslmode={parameters.tls}"
    values: dict[str, Value] = {
        "type": Literal(TYPES["PostgreSQL"]),
        "provider": Literal("external"),
        "host": Literal(parameters.host),
        "port": Literal(str(parameters.port)),
        "database": Literal(name),
        "username": Literal(name),
        "password": From(password),
        "sslmode": Literal(parameters.tls),
        "uri": Template(uri, {"password": "password"}, quote="url"),
    }
    # Without it libpq looks for the public authorities in a file that is not there.
    public = parameters.tls == "verify-full" and parameters.ca_ref is None
    return values | {"sslrootcert": Literal("system")} if public else values


DRIVERS = (ExternalPostgreSQL(),)
