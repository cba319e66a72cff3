"""Three members: Garage, which keeps every object on three volumes and serves it while two are there.

    StatefulSets ──> members answer ──> each finds its place (libresh-garage, as startup probe) ──> ready: sees a quorum

A member's volume knows who it is; what all must agree on (layout, bucket, key, quota) is made by the image's program,
which every member asks when it starts. Ready is a member that sees enough others to read and write (Garage 2.5:
GET /health of the admin API). Each has a StatefulSet of its own, so that a change goes from one to the next.
"""

from collections.abc import Sequence
from typing import Any

from libresh.api.quantity import bytes_text, parse
from libresh.drivers.children import Children
from libresh.drivers.embedded_bucket.names import (
    REGION,
    bucket_name,
    bucket_of,
    connection_of,
    kept_refs,
    plan_credentials,
)
from libresh.drivers.errands import DNS
from libresh.drivers.members import (
    MEMBER_LABEL,
    MEMBERS_MISSING,
    Member,
    changing,
    content_of_member,
    describe_missing,
    due_members,
    pods_of,
)
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.outcomes import FAILING, ROLLING, STARTING, volume_outcome
from libresh.plan import naming, objects
from libresh.plan.actions import Action, Apply, Object, Random, Ref
from libresh.plan.decision import Outcome, Settled, Waiting
from libresh.plan.observed import is_available, trouble_of

S3_PORT, RPC_PORT, ADMIN_PORT = 3900, 3901, 3903
VERSION = "2.5.0"
DATA = "/var/lib/garage"
CONFIG = "/etc/garage/garage.toml"
MEMBERS = range(3)
COMMAND = ("libresh-garage-server",)
FOR_METADATA = 256 << 20
NO_QUORUM = "NoQuorum"  # fewer than two members are there: nothing can be read or written


def names_of(ask: Ask) -> Children:
    return Children(ask.claim, "s3", "garage", VERSION)


def volume_of(number: int) -> str:
    return f"member-{number}"


def volumes_of(ask: Ask) -> tuple[Ref, ...]:
    return tuple(names_of(ask).ref("PersistentVolumeClaim", volume_of(number)) for number in MEMBERS)


def workload_of(names: Children, number: int) -> Ref:
    return names.ref("StatefulSet", str(number))


def instance_of(ask: Ask) -> str:
    return f"{names_of(ask).ref('StatefulSet')} (Garage, three members)"


def looks_at(ask: Ask) -> tuple[Ref, ...]:
    names = names_of(ask)
    return (*(workload_of(names, number) for number in MEMBERS), *kept_refs(names, *map(volume_of, MEMBERS)))


def plan(ask: Ask, seen: Seen) -> Provision:
    names = names_of(ask)
    credentials = seen.secret(names.ref("Secret", "credentials"))
    wanted = [build_member(ask, number, credentials.digest if credentials else "") for number in MEMBERS]
    members = [
        Member(obj, seen.get(workload_of(names, number)), pods_of(number, seen.pods))
        for number, obj in zip(MEMBERS, wanted, strict=True)
    ]
    due = due_members(members, lambda member: member.name) if credentials is not None else []
    return Provision(
        outcome=outcome_of_members(
            members, [seen.get(ref) for ref in volumes_of(ask)], served=ask.claim.status.binding is not None
        ),
        actions=(
            plan_credentials(names, **{"rpc-secret": Random(32, "hex"), "admin-token": Random(32)}),
            *plan_access(ask),
            *plan_storage(ask),
            *(Apply(member.wanted) for member in due),
        ),
        connection=connection_of(names, S3_PORT),
        instance=instance_of(ask),
        kept=kept_refs(names, *map(volume_of, MEMBERS)),
    )


def outcome_of_members(members: Sequence[Member], volumes: Sequence[Object | None], *, served: bool) -> Outcome:
    """How the members stand: ready while one is there that sees another. `served`: the claim was ready before."""
    missing = [member for member in members if not member.is_ready]
    if not any(is_available(member.seen) for member in members):
        return without_quorum(members, served=served)
    if waiting := [member for member in members if not member.is_current]:
        return Waiting(ROLLING, changing("The S3 server", waiting, missing), ready=True)
    if missing:
        message = f"The S3 server works with {len(members) - len(missing)} of {len(members)} members"
        return Waiting(MEMBERS_MISSING, f"{message}: {describe_missing(missing)}", ready=True)
    for volume in volumes:
        grown = volume_outcome("The S3 server", volume)
        if not isinstance(grown, Settled):
            return grown
    return Settled(f"The S3 server is ready with {len(members)} members")


def without_quorum(members: Sequence[Member], *, served: bool) -> Outcome:
    """None is ready: it has not begun, or too few are there."""
    if served:
        message = "The S3 server has no quorum: nothing can be read or written until two members see each other"
        missing = [member for member in members if not member.is_ready]
        return Waiting(NO_QUORUM, f"{message}{describe_missing(missing, '; ')}")
    if trouble := next((trouble for member in members if (trouble := trouble_of(member.pods))), ""):
        return Waiting(FAILING, f"The S3 server: {trouble}")
    return Waiting(STARTING, "The S3 server is starting: its members look for each other")


def plan_access(ask: Ask) -> tuple[Action, ...]:
    """How the members are found, by clients and by each other, who may reach them, and how many a drain may take."""
    names = names_of(ask)
    among: list[Object] = [{"podSelector": {"matchLabels": names.selector}}]
    inside: list[Object] = [{"from": names.admitted, "ports": [{"port": S3_PORT, "protocol": "TCP"}]}, {"from": among}]
    policy = objects.build_network_policy(
        names.owned(), selector=names.selector, ingress=inside, egress=[DNS, {"to": among}]
    )
    return (
        Apply(objects.build_service(names.owned(), {"s3": S3_PORT}, selector=names.selector)),
        Apply(objects.build_service(names.owned("members"), {"rpc": RPC_PORT}, selector=names.selector, headless=True)),
        Apply(policy),
        Apply(objects.build_disruption_budget(names.owned(), selector=names.selector, max_unavailable=1)),
    )


def plan_storage(ask: Ask) -> tuple[Action, ...]:
    """The volumes and the members' configuration."""
    names, size = names_of(ask), volume_size(bucket_of(ask).spec.parameters.storage)
    return (
        *(
            Apply(objects.build_volume_claim(names.kept(volume_of(number)), size, ask.parameters.storage_class))
            for number in MEMBERS
        ),
        Apply(objects.build_config_map(names.owned("garage"), {"garage.toml": render_config(ask)})),
    )


def volume_size(storage: str) -> str:
    """Room for what the quota lets in, for metadata, and for what was deleted and is not swept away yet."""
    room = parse(storage)
    return bytes_text(-(-(room + room // 4 + FOR_METADATA) >> 20) << 20)


def render_config(ask: Ask) -> str:
    """Garage's configuration (Garage 2.5: reference manual, Configuration). Secrets reach it by environment.

    `data_fsync`: a block is on disk before it is acknowledged. `metadata_fsync`: SQLite is whole after a power cut,
    though its last moments may be missing where power is lost (`synchronous = NORMAL`; Garage has nothing stricter),
    which another member then knows. `rpc_timeout_msec`: while a member is silent and not given up yet (five pings, 75
    seconds) a write waits for it twice; the default, five minutes, is for slow lines between sites.
    """
    buffers = max(parse(ask.parameters.memory) // 4, 32 << 20)
    return f"""\
metadata_dir = "{DATA}/meta"
data_dir = "{DATA}/data"
db_engine = "sqlite"
metadata_fsync = true
data_fsync = true
replication_factor = {len(MEMBERS)}
block_ram_buffer_max = {buffers}
rpc_bind_addr = "0.0.0.0:{RPC_PORT}"
rpc_timeout_msec = 3000
rpc_ping_timeout_msec = 2000

[s3_api]
api_bind_addr = "0.0.0.0:{S3_PORT}"
s3_region = "{REGION}"

[admin]
api_bind_addr = "0.0.0.0:{ADMIN_PORT}"
"""


def build_member(ask: Ask, number: int, credentials: str) -> Object:
    """One member. Its content says all that it runs with, so that it is known which members have it."""
    names, pod = names_of(ask), build_pod(ask, number)
    metadata, own = names.owned(str(number)), {MEMBER_LABEL: str(number)}
    configuration = naming.digest_of(pod.build(), render_config(ask))
    return objects.build_stateful_set(
        metadata | {"labels": metadata["labels"] | own},
        pod,
        selector=names.selector | own,
        service=names.named("members"),
        content=content_of_member(configuration, naming.digest_of(credentials)),
    )


def build_pod(ask: Ask, number: int) -> objects.Pod:
    names = names_of(ask)
    container = objects.Container(
        name="garage",
        image=ask.settings.image("garage", VERSION),
        command=COMMAND,
        env=environment_of(ask, number),
        ports={"s3": S3_PORT, "rpc": RPC_PORT, "admin": ADMIN_PORT},
        mounts=(
            objects.from_claim("data", DATA, names.named(volume_of(number))),
            objects.from_config("config", "/etc/garage", names.named("garage")),
            objects.empty_dir("tmp", "/tmp"),
        ),
        resources=objects.Resources(cpu="20m", memory="96Mi", memory_limit=ask.parameters.memory),
        # It has started once it has its place among the others and what belongs there; it may have to wait for them as
        # long as a node is away. Until then nobody counts on it: no drain may take another one.
        startup=objects.Probe(argv=("libresh-garage", "arrange"), period=2, timeout=30, failures=43200),
        readiness=objects.Probe(port=ADMIN_PORT, path="/health", period=5),
        liveness=objects.Probe(port=ADMIN_PORT, period=10, timeout=5, failures=6),
        # Clients are led elsewhere before it stops to answer; then it takes leave of the other members itself.
        pre_stop=("sleep", "3"),
    )
    return objects.Pod((container,), grace=30, apart_from=names.selector)


def environment_of(ask: Ask, number: int) -> dict[str, Any]:
    """What Garage and libresh-garage find. The first member alone is told of bucket, key and quota, and makes them."""
    names = names_of(ask)
    hosts = [f"{names.named(str(each))}-0.{names.named('members')}.{names.namespace}.svc" for each in MEMBERS]
    credentials = names.named("credentials")
    environment: dict[str, Any] = {
        "GARAGE_CONFIG_FILE": CONFIG,
        # As many heaps as it has threads would hold three times the memory.
        "MALLOC_ARENA_MAX": "2",
        "GARAGE_RPC_SECRET": objects.env_from_secret(credentials, "rpc-secret"),
        "GARAGE_ADMIN_TOKEN": objects.env_from_secret(credentials, "admin-token"),
        "LIBRESH_MEMBER": str(number),
        "LIBRESH_MEMBERS": " ".join(f"{host}:{ADMIN_PORT}" for host in hosts),
        "LIBRESH_PEERS": " ".join(f"{host}:{RPC_PORT}" for host in hosts),
    }
    if number == 0:
        environment |= {
            "LIBRESH_BUCKET": bucket_name(names),
            "LIBRESH_QUOTA": str(parse(bucket_of(ask).spec.parameters.storage)),
            "LIBRESH_ACCESS_KEY_ID": objects.env_from_secret(credentials, "access-key-id"),
            "LIBRESH_SECRET_ACCESS_KEY": objects.env_from_secret(credentials, "secret-access-key"),
        }
    return environment
