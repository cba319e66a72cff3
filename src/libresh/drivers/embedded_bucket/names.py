"""What the embedded bucket is called, its key, and its connection, whichever server stands behind it."""

from libresh.api.objectstore import Bucket
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask
from libresh.plan.actions import From, Literal, Mint, Random, Ref, SecretKey, Template, Value

REGION = "us-east-1"
"""The region S3 clients assume when they are told none."""


def bucket_of(ask: Ask) -> Bucket:
    assert isinstance(ask.claim, Bucket)
    return ask.claim


def bucket_name(names: Children) -> str:
    """The bucket's name: the claim's, made long enough for S3 (three letters at least)."""
    name = names.claim.name
    return name if len(name) >= 3 else f"{name}-bucket"


def kept_refs(names: Children, *volumes: str) -> tuple[Ref, ...]:
    """The objects, and the key to them."""
    return (*(names.ref("PersistentVolumeClaim", volume) for volume in volumes), names.ref("Secret", "credentials"))


def plan_credentials(names: Children, **others: Value) -> Mint:
    """The key, made once, and what the server needs besides."""
    space, connection = names.claim.namespace, names.claim.connection_secret
    return Mint(
        names.kept("credentials"),
        {
            "access-key-id": Random(12, "hex", recover=(SecretKey(space, connection, "access-key-id"),)),
            "secret-access-key": Random(32, recover=(SecretKey(space, connection, "secret-access-key"),)),
            **others,
        },
    )


def connection_of(names: Children, port: int) -> dict[str, Value]:
    """The connection secret, as published for every Bucket."""
    space, endpoint = names.claim.namespace, f"http://{names.host}:{port}"
    return {
        "type": Literal(TYPES["Bucket"]),
        "provider": Literal("embedded"),
        "host": Literal(names.host),
        "port": Literal(str(port)),
        "endpoint": Literal(endpoint),
        "region": Literal(REGION),
        "bucket": Literal(bucket_name(names)),
        "access-key-id": From(SecretKey(space, names.named("credentials"), "access-key-id")),
        "secret-access-key": From(SecretKey(space, names.named("credentials"), "secret-access-key")),
        "uri": Template(
            f"s3://${{id}}:${{secret}}@{names.host}:{port}/{bucket_name(names)}",
            {"id": "access-key-id", "secret": "secret-access-key"},
            quote="url",
        ),
    }
