"""Bucket by versitygw: an S3 server of its own for each claim, over a folder on a volume."""

from typing import Annotated, Any

import msgspec

from libresh.api.claims import Quantity
from libresh.api.objectstore import Bucket
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.outcomes import outcome_of_workload, refuse_volume
from libresh.plan import naming, objects
from libresh.plan.actions import (
    Action,
    Apply,
    From,
    Literal,
    Mint,
    Object,
    Random,
    Ref,
    SecretKey,
    Template,
    Value,
)
from libresh.plan.decision import Stalled
from libresh.ports import Watched

PORT = 7070
REGION = "us-east-1"
"""The region S3 clients assume when they are told none."""
VERSION = "1.8.0"
DATA = "/data"


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    storage_class: str | None = None
    """The StorageClass of the volumes. Absent: the cluster's default."""
    memory: Annotated[Quantity, msgspec.Meta(description="The most memory each server may use.")] = "256Mi"


class EmbeddedBucket:
    """Serves Bucket claims with one versitygw each."""

    name = "embedded"
    claim_kind = "Bucket"
    parameters = Parameters
    watches = (
        Watched("StatefulSet", writes=True),
        Watched("Service", writes=True),
        Watched("PersistentVolumeClaim", writes=True),
        Watched("NetworkPolicy", writes=True),
        Watched("Secret", writes=True),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """A volume of its own, which grows where the StorageClass lets it."""
        return ("expand", "quota", "versioning")

    def refuse(self, ask: Ask) -> Stalled | None:
        """A file system needs some room."""
        return refuse_volume("spec.parameters.storage", bucket_of(ask).spec.parameters.storage, least="64Mi")

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        names = names_of(ask)
        return (names.ref("StatefulSet"), *kept_refs(names))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        names = names_of(ask)
        credentials = seen.secret(names.ref("Secret", "credentials"))
        actions: tuple[Action, ...] = (plan_credentials(names), *plan_access(ask))
        if credentials is not None:
            actions += (Apply(build_server(ask, credentials.digest)),)
        volume = seen.get(names.ref("PersistentVolumeClaim", "data"))
        return Provision(
            outcome=outcome_of_workload("The S3 server", seen.get(names.ref("StatefulSet")), seen.pods, volume=volume),
            actions=actions,
            connection=connection_of(names),
            instance=f"{names.ref('StatefulSet')} (versitygw)",
            kept=kept_refs(names),
        )


def bucket_of(ask: Ask) -> Bucket:
    assert isinstance(ask.claim, Bucket)
    return ask.claim


def names_of(ask: Ask) -> Children:
    return Children(ask.claim, "s3", "versitygw", VERSION)


def kept_refs(names: Children) -> tuple[Ref, ...]:
    """The objects, and the key to them."""
    return (names.ref("PersistentVolumeClaim", "data"), names.ref("Secret", "credentials"))


def bucket_name(names: Children) -> str:
    """The bucket's name: the claim's, made long enough for S3 (three letters at least)."""
    name = names.claim.name
    return name if len(name) >= 3 else f"{name}-bucket"


def plan_credentials(names: Children) -> Mint:
    """The key, made once."""
    space, connection = names.claim.namespace, names.claim.connection_secret
    return Mint(
        names.kept("credentials"),
        {
            "access-key-id": Random(12, "hex", recover=(SecretKey(space, connection, "access-key-id"),)),
            "secret-access-key": Random(32, recover=(SecretKey(space, connection, "secret-access-key"),)),
        },
    )


def connection_of(names: Children) -> dict[str, Value]:
    """The connection secret, as published for every Bucket."""
    space, endpoint = names.claim.namespace, f"http://{names.host}:{PORT}"
    return {
        "type": Literal(TYPES["Bucket"]),
        "provider": Literal("embedded"),
        "host": Literal(names.host),
        "port": Literal(str(PORT)),
        "endpoint": Literal(endpoint),
        "region": Literal(REGION),
        "bucket": Literal(bucket_name(names)),
        "access-key-id": From(SecretKey(space, names.named("credentials"), "access-key-id")),
        "secret-access-key": From(SecretKey(space, names.named("credentials"), "secret-access-key")),
        "uri": Template(
            f"s3://${{id}}:${{secret}}@{names.host}:{PORT}/{bucket_name(names)}",
            {"id": "access-key-id", "secret": "secret-access-key"},
            quote="url",
        ),
    }


def plan_access(ask: Ask) -> tuple[Action, ...]:
    """How the server is found, who may reach it, and its volume."""
    names = names_of(ask)
    inside = [{"from": names.admitted, "ports": [{"port": PORT, "protocol": "TCP"}]}]
    size = bucket_of(ask).spec.parameters.storage
    return (
        Apply(objects.build_service(names.owned(), {"s3": PORT}, selector=names.selector)),
        Apply(objects.build_network_policy(names.owned(), selector=names.selector, ingress=inside, egress=())),
        Apply(objects.build_volume_claim(names.kept("data"), size, ask.parameters.storage_class)),
    )


def build_server(ask: Ask, credentials_digest: str) -> Object:
    """The server. A bucket is a folder, made before it starts."""
    names = names_of(ask)
    data = objects.from_claim("data", DATA, names.named("data"))
    image = ask.settings.image("versitygw", VERSION)
    folder = f"{DATA}/objects/{bucket_name(names)}"
    versioning = bucket_of(ask).spec.parameters.versioning
    prepare = objects.Container(
        name="prepare", image=image, command=("mkdir", "-p", folder, f"{DATA}/versions"), mounts=(data,)
    )
    container = objects.Container(
        name="versitygw",
        image=image,
        command=("versitygw",),
        args=(
            f"--port=:{PORT}",
            f"--region={REGION}",
            "--health=/health",
            "posix",
            *((f"--versioning-dir={DATA}/versions",) if versioning else ()),
            f"{DATA}/objects",
        ),
        env={
            "ROOT_ACCESS_KEY": objects.env_from_secret(names.named("credentials"), "access-key-id"),
            "ROOT_SECRET_KEY": objects.env_from_secret(names.named("credentials"), "secret-access-key"),
        },
        ports={"s3": PORT},
        mounts=(data, objects.empty_dir("tmp", "/tmp")),
        resources=objects.Resources(cpu="20m", memory="48Mi", memory_limit=ask.parameters.memory),
        startup=objects.Probe(port=PORT, path="/health", period=1, failures=600),
        readiness=objects.Probe(port=PORT, path="/health", period=5),
        liveness=objects.Probe(port=PORT, path="/health", period=10, timeout=5, failures=6),
    )
    pod = objects.Pod((container,), init=(prepare,), grace=30)
    content = naming.digest_of(versioning, credentials_digest)
    return objects.build_stateful_set(names.owned(), pod, selector=names.selector, service=names.name, content=content)


DRIVERS = (EmbeddedBucket(),)
