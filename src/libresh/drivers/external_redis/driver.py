"""Redis on a server that somebody else runs: an ACL user for each claim, whose keys and channels begin with its prefix.

What is done on the server is in `build/images/errand/libresh_errand/redis.py`.
"""

from libresh.api.cache import Redis
from libresh.api.changes import Change
from libresh.drivers.accounts import Account, AccountDriver, Port, Server, written_host
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask
from libresh.plan.actions import From, Literal, SecretKey, Template, Value


class Parameters(Server, kw_only=True):
    """Parameters of a class with this driver."""

    port: Port = 6379


class ExternalRedis(AccountDriver):
    """Serves Redis claims on one server that somebody else runs."""

    claim_kind = "Redis"
    parameters = Parameters
    changes = (
        Change("memory", "allowed", "nothing follows: the memory is the server's"),
        Change("persistence", "allowed", "nothing is set: a server that does not keep what it has is refused"),
    )

    def account_of(self, ask: Ask) -> Account:
        claim, parameters = ask.claim, ask.parameters
        assert isinstance(claim, Redis)
        order = {
            "user": user_of(ask),
            "prefix": prefix_of(ask),
            "persistence": claim.spec.parameters.persistence,
            "class": ask.class_name,
            "tls": parameters.tls,
        }
        names = Children(claim, "redis", "valkey")
        return Account(
            ask, names, "redis", parameters.host, parameters.port, order, lambda password: connection_of(ask, password)
        )


def user_of(ask: Ask) -> str:
    """The user of a claim. Neither namespaces nor names of claims have dots: no two are the same."""
    return f"{ask.parameters.name_prefix}{ask.claim.namespace}.{ask.claim.name}"


def prefix_of(ask: Ask) -> str:
    """What a claim's keys begin with. No part of it has a colon, so that no prefix begins another."""
    return f"{ask.parameters.name_prefix}{ask.claim.namespace}:{ask.claim.name}:"


def connection_of(ask: Ask, password: SecretKey) -> dict[str, Value]:
    """The connection secret, as published for every Redis, with the prefix that all keys must have."""
    parameters, user = ask.parameters, user_of(ask)
    host = written_host(parameters.host)
    scheme = "redis" if parameters.tls == "disable" else "rediss"
    uri = f"{scheme}://{user}:${{password}}@{host}:{parameters.port}/0"
    values: dict[str, Value] = {
        "type": Literal(TYPES["Redis"]),
        "provider": Literal("external"),
        "host": Literal(parameters.host),
        "port": Literal(str(parameters.port)),
        "username": Literal(user),
        "password": From(password),
        "prefix": Literal(prefix_of(ask)),
        "uri": Template(uri, {"password": "password"}, quote="url"),
    }
    if parameters.tls == "disable":
        return values
    verified = {"tls-verify": Literal("true")} if parameters.tls == "verify-full" else {}
    return values | {"tls": Literal("true")} | verified


DRIVERS = (ExternalRedis(),)
