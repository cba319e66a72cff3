"""Bucket: a claim to an S3 bucket and credentials for it."""

from typing import Annotated, ClassVar

import msgspec

from libresh.api.changes import STORAGE, Change, rules_of
from libresh.api.claims import CLAIM_RULES, COLUMNS, Claim, ClaimSpec, Quantity
from libresh.api.meta import Column, Kind, Struct


class BucketParameters(Struct):
    """What the bucket must be like."""

    CHANGES: ClassVar[tuple[Change, ...]] = (
        STORAGE,
        Change("versioning", "allowed", "from then on versions are kept, or no more are"),
    )
    RULES = rules_of(CHANGES)

    storage: Annotated[
        Quantity,
        msgspec.Meta(description="Room for the objects, where the class needs to know. It can grow later."),
    ] = "10Gi"
    versioning: Annotated[
        bool, msgspec.Meta(description="Whether overwritten and deleted objects are kept as older versions.")
    ] = False


class BucketSpec(ClaimSpec):
    """A bucket, and how it is to be served."""

    parameters: BucketParameters = msgspec.field(default_factory=BucketParameters)


class Bucket(Claim):
    """A claim to an S3 bucket and credentials for it.

    Whoever provides it, the connection secret has the keys type, provider, host, port, endpoint, region,
    bucket, access-key-id, secret-access-key and uri.
    """

    KIND: ClassVar[Kind] = Kind(
        group="objectstore.libre.sh",
        kind="Bucket",
        plural="buckets",
        columns=(*COLUMNS[:3], Column("Storage", ".spec.parameters.storage"), *COLUMNS[3:]),
        rules=CLAIM_RULES,
    )

    spec: BucketSpec = msgspec.field(default_factory=BucketSpec)
