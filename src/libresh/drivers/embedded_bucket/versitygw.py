"""One member: versitygw over a folder on a volume. A bucket is a folder."""

from libresh.drivers.children import Children
from libresh.drivers.embedded_bucket.names import (
    REGION,
    bucket_name,
    bucket_of,
    connection_of,
    kept_refs,
    plan_credentials,
)
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.outcomes import outcome_of_single
from libresh.plan import naming, objects
from libresh.plan.actions import Action, Apply, Object, Ref

PORT = 7070
VERSION = "1.8.0"
DATA = "/data"


def names_of(ask: Ask) -> Children:
    return Children(ask.claim, "s3", "versitygw", VERSION)


def volumes_of(ask: Ask) -> tuple[Ref, ...]:
    return (names_of(ask).ref("PersistentVolumeClaim", "data"),)


def instance_of(ask: Ask) -> str:
    return f"{names_of(ask).ref('StatefulSet')} (versitygw)"


def looks_at(ask: Ask) -> tuple[Ref, ...]:
    names = names_of(ask)
    return (names.ref("StatefulSet"), *kept_refs(names, "data"))


def plan(ask: Ask, seen: Seen) -> Provision:
    names = names_of(ask)
    credentials = seen.secret(names.ref("Secret", "credentials"))
    actions: tuple[Action, ...] = (plan_credentials(names), *plan_access(ask))
    if credentials is not None:
        actions += (Apply(build_server(ask, credentials.digest)),)
    return Provision(
        outcome=outcome_of_single("The S3 server", names, seen),
        actions=actions,
        connection=connection_of(names, PORT),
        instance=instance_of(ask),
        kept=kept_refs(names, "data"),
    )


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
