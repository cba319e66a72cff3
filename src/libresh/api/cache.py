"""Redis: a claim to a cache that speaks the Redis protocol."""

from typing import Annotated, ClassVar

import msgspec

from libresh.api.changes import Change
from libresh.api.claims import CLAIM_RULES, COLUMNS, Claim, ClaimSpec, Quantity
from libresh.api.meta import Kind, Struct


class RedisParameters(Struct):
    """What the cache must be like."""

    CHANGES: ClassVar[tuple[Change, ...]] = (
        Change("memory", "allowed", "it restarts with the new limit"),
        Change("persistence", "allowed", "it restarts"),
    )

    memory: Annotated[
        Quantity,
        msgspec.Meta(description="How much it may hold in memory before it drops the least used keys."),
    ] = "64Mi"
    persistence: Annotated[
        bool,
        msgspec.Meta(description="Whether its content survives a restart. A cache's users do not need this."),
    ] = False


class RedisSpec(ClaimSpec):
    """A cache, and how it is to be served."""

    parameters: RedisParameters = msgspec.field(default_factory=RedisParameters)


class Redis(Claim):
    """A claim to a cache that speaks the Redis protocol.

    Whoever provides it, the connection secret has the keys type, provider, host, port, username, password
    and uri.
    """

    KIND: ClassVar[Kind] = Kind(
        group="cache.libre.sh", kind="Redis", plural="redises", columns=COLUMNS, rules=CLAIM_RULES
    )

    spec: RedisSpec = msgspec.field(default_factory=RedisSpec)
