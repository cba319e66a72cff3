"""PostgreSQL by Patroni, one member or three of its own for each claim, on volumes in the claim's namespace.

Patroni keeps its state in ConfigMaps of its own (`<name>-pg-config`, `<name>-pg-leader`), so its ServiceAccount may
write just these. The application's role, database and extensions are made by the image's callback wherever the member
is primary.

Each of three members has a StatefulSet and a volume of its own: they are not alike (one is the primary), and what
changes in them goes from one to the next in an order that a StatefulSet does not know (`members.py`). The first
member's volume is the one a single member has, so that three can take on what one has left.
"""

from pathlib import Path
from typing import Annotated, Any
from typing import Literal as OneOf

import msgspec

from libresh.api.changes import Change
from libresh.api.claims import Quantity
from libresh.api.database import PostgreSQL
from libresh.api.quantity import parse
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.embedded_postgresql.members import Member, due_members, outcome_of_members, with_quorum
from libresh.drivers.members import MEMBER_LABEL, content_of_member, pods_of
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.outcomes import outcome_of_workload, refuse_volume
from libresh.plan import naming, objects
from libresh.plan.actions import (
    Action,
    Apply,
    Byproduct,
    From,
    Literal,
    Mint,
    Object,
    Random,
    Ref,
    SecretKey,
    Template,
    Theirs,
    Value,
)
from libresh.plan.decision import Outcome, Stalled
from libresh.ports import Watched

PORT, REST_PORT = 5432, 8008
ROLE = "app"
DATA = "/var/lib/postgresql/data"
SOCKETS = "/var/run/postgresql"
SCOPE_LABEL, ROLE_LABEL = "libre.sh/scope", "libre.sh/role"
PATRONI_NOTES = ("config", "leader", "failover", "sync")
PASSWORDS = ("password", "superuser-password", "replication-password")
MOST_MEMBERS = 3
VERSIONS = ("17",)
"""The major versions there are images of."""
VERSION_MISSING = "VersionMissing"
LEFT_BY_THREE = "LeftByThreeMembers"  # the class has one member, the volumes of three are there
ROLES_CALLBACK = "/usr/local/bin/libresh-postgresql-roles"
TOOLS = Path(__file__).parent / "tools"
PYTHON, CONFIGURATION = "/opt/patroni/bin/python", "/etc/patroni"
MEMBER_TOOL, ALONE_TOOL = "libresh_member.py", "libresh_alone.py"
MEMBER_CODE, ALONE_CODE = ((TOOLS / name).read_text(encoding="utf-8") for name in (MEMBER_TOOL, ALONE_TOOL))
MEMBER_COMMAND = (PYTHON, f"{CONFIGURATION}/{MEMBER_TOOL}")
ALONE_COMMAND = (PYTHON, f"{CONFIGURATION}/{ALONE_TOOL}")
CONNECTIONS = 100
"""How many a member takes unless Patroni is told otherwise."""


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    storage_class: str | None = None
    """The StorageClass of the volumes. Absent: the cluster's default."""
    memory: Annotated[Quantity, msgspec.Meta(description="Memory for each member.")] = "256Mi"
    max_connections: Annotated[
        int, msgspec.Meta(ge=10, le=1000, description="How many connections a member takes.")
    ] = CONNECTIONS
    members: Annotated[
        OneOf[1, 3],
        msgspec.Meta(description="One, or three on three nodes: then another takes over when the primary fails."),
    ] = 1
    synchronous: Annotated[
        bool,
        msgspec.Meta(
            description="With three members: whether a write is acknowledged only once a second member has it, so that "
            "none is lost when the primary is. Every write then waits for the network and a second disk."
        ),
    ] = True


class Names(Children):
    """Everything that stands for one claim, by name."""

    @property
    def labels(self) -> dict[str, str]:
        return super().labels | {SCOPE_LABEL: self.name}

    def volumes(self, members: int) -> tuple[Ref, ...]:
        return tuple(self.ref("PersistentVolumeClaim", volume_of(number)) for number in range(members))

    def workloads(self, members: int) -> tuple[Ref, ...]:
        return tuple(self.ref("StatefulSet", part_of(number)) for number in range(members))

    def kept_refs(self, members: int) -> tuple[Ref, ...]:
        """What holds data: the volumes, the passwords, and Patroni's own notes on them."""
        return (
            *self.volumes(members),
            self.ref("Secret", "credentials"),
            *(self.note(part) for part in PATRONI_NOTES),
        )

    def note(self, part: str) -> Byproduct:
        """A ConfigMap that Patroni makes, with the labels that its configuration gives to all it makes."""
        labels = self.selector | {SCOPE_LABEL: self.name}
        return Byproduct("ConfigMap", self.named(part), self.namespace, tuple(sorted(labels.items())))

    @property
    def quorum(self) -> Theirs:
        """Where Patroni notes which members may confirm writes."""
        return Theirs("ConfigMap", self.named("sync"), self.namespace)

    @property
    def database(self) -> PostgreSQL:
        assert isinstance(self.claim, PostgreSQL)
        return self.claim


class EmbeddedPostgreSQL:
    """Serves PostgreSQL claims with one Patroni member each, or three."""

    name = "embedded"
    claim_kind = "PostgreSQL"
    parameters = Parameters
    watches = (
        Watched("StatefulSet", writes=True),
        Watched("Service", writes=True),
        Watched("ConfigMap", writes=True, verbs=("update",)),
        Watched("ServiceAccount", writes=True),
        Watched("Role", writes=True),
        Watched("RoleBinding", writes=True),
        Watched("PersistentVolumeClaim", writes=True),
        Watched("NetworkPolicy", writes=True),
        Watched("PodDisruptionBudget", writes=True),
        Watched("Secret", writes=True),
        Watched("Pod", verbs=("patch", "update")),
    )

    changes = (
        Change(
            "version",
            "operation",
            "another major version has another format on disk, and the operation that converts it is not there yet. "
            "Make a new claim of the other version and move the data to it",
        ),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """It grows where the StorageClass lets it, and has its room for itself. Only three members survive a node."""
        return ("expand", "ha", "quota") if parameters.members > 1 else ("expand", "quota")

    def refuse(self, ask: Ask) -> Stalled | None:
        """A PostgreSQL needs some room even when empty."""
        asked = names_of(ask).database.spec.parameters
        if asked.version not in VERSIONS:
            return Stalled(
                VERSION_MISSING,
                f"spec.parameters.version: ServiceClass {ask.class_name} has PostgreSQL {', '.join(VERSIONS)}, not "
                f"{asked.version}; ask for what it has, or name another class",
            )
        return refuse_volume("spec.parameters.storage", asked.storage, least="256Mi")

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        names, members = names_of(ask), ask.parameters.members
        left = names.volumes(MOST_MEMBERS)[members:]
        kept = (ref for ref in names.kept_refs(members) if ref.kind != "ConfigMap")
        quorum = (names.quorum,) if waits_for_replica(ask.parameters) else ()
        return (*names.workloads(members), *kept, *left, *quorum)

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        names, members = names_of(ask), ask.parameters.members
        credentials = seen.secret(names.ref("Secret", "credentials"))
        actions: tuple[Action, ...] = (
            plan_credentials(names),
            *plan_access(names),
            *plan_storage(ask, names),
        )
        said = "one member" if members == 1 else "three members"
        instance = f"{names.ref('StatefulSet')} (Patroni, {said})"
        if left := left_by_three(names, seen, members):
            # Nothing is this claim's then: what lies there is not touched when it is deleted.
            return Provision(refuse_left(left), instance=instance)
        plan_members = plan_single if members == 1 else plan_three
        outcome, workloads = plan_members(ask, names, seen, credentials.digest if credentials else None)
        return Provision(
            outcome=outcome,
            actions=actions + workloads,
            connection=connection_of(names),
            instance=instance,
            kept=names.kept_refs(members),
        )


def part_of(number: int) -> str:
    """What a member's StatefulSet is called after the claim's name: the first is called as a single one is."""
    return str(number) if number else ""


def volume_of(number: int) -> str:
    return f"data-{number}" if number else "data"


def plan_single(ask: Ask, names: Names, seen: Seen, credentials: str | None) -> tuple[Outcome, tuple[Action, ...]]:
    """The only member."""
    volume = seen.get(names.ref("PersistentVolumeClaim", "data"))
    outcome = outcome_of_workload("PostgreSQL", seen.get(names.ref("StatefulSet")), seen.pods, volume=volume)
    return outcome, (Apply(build_member(ask, names, credentials)),) if credentials is not None else ()


def left_by_three(names: Names, seen: Seen, members: int) -> list[Ref]:
    """Volumes of members that an earlier claim of the same name had and this one has not."""
    return [ref for ref in names.volumes(MOST_MEMBERS)[members:] if seen.get(ref)]


def refuse_left(left: list[Ref]) -> Stalled:
    """What three have left is not one member's to take on: the first may have been behind."""
    return Stalled(
        LEFT_BY_THREE,
        f"spec.className: this class has one member, but an earlier claim of this name had three, and "
        f"{', '.join(map(str, left))} are still there. Which of the volumes is the newest only three members can tell: "
        f"make the claim anew with a class that has parameters.members: 3, or delete these volumes if the data may go",
    )


def plan_three(ask: Ask, names: Names, seen: Seen, credentials: str | None) -> tuple[Outcome, tuple[Action, ...]]:
    """Three members that know of each other: what may be written of them now, and how they stand together."""
    wanted = [build_one_of_three(ask, names, credentials or "", number) for number in range(MOST_MEMBERS)]
    members = [
        Member(obj, seen.get(ref), pods_of(number, seen.pods))
        for number, (obj, ref) in enumerate(zip(wanted, names.workloads(MOST_MEMBERS), strict=True))
    ]
    if waits_for_replica(ask.parameters):
        members = with_quorum(members, seen.get(names.quorum))
    outcome = outcome_of_members(members, [seen.get(ref) for ref in names.volumes(MOST_MEMBERS)])
    budget = objects.build_disruption_budget(names.owned(), selector=names.selector, max_unavailable=1)
    due = due_members(members) if credentials is not None else []
    return outcome, (Apply(budget), *(Apply(member.wanted) for member in due))


def waits_for_replica(parameters: Parameters) -> bool:
    """Whether a write is acknowledged only once a second member has it."""
    return parameters.members > 1 and parameters.synchronous


def names_of(ask: Ask) -> Names:
    claim = ask.claim
    assert isinstance(claim, PostgreSQL)
    return Names(claim, "pg", "postgresql", claim.spec.parameters.version)


def plan_credentials(names: Names) -> Mint:
    """The passwords, made once. The application's comes back from the connection secret if this one is lost."""
    connection = SecretKey(names.claim.namespace, names.claim.connection_secret, "password")
    values: dict[str, Value] = {key: Random() for key in PASSWORDS}
    values["password"] = Random(recover=(connection,))
    values |= {"username": Literal(ROLE), "database": Literal(ROLE)}
    return Mint(names.kept("credentials"), values)


def connection_of(names: Names) -> dict[str, Value]:
    """The connection secret, as published for every PostgreSQL."""
    host = names.host
    password = SecretKey(names.claim.namespace, names.named("credentials"), "password")
    return {
        "type": Literal(TYPES["PostgreSQL"]),
        "provider": Literal("embedded"),
        "host": Literal(host),
        "port": Literal(str(PORT)),
        "database": Literal(ROLE),
        "username": Literal(ROLE),
        "password": From(password),
        "uri": Template(
            f"postgresql://{ROLE}:${{password}}@{host}:{PORT}/{ROLE}", {"password": "password"}, quote="url"
        ),
    }


def plan_access(names: Names) -> tuple[Action, ...]:
    """What Patroni may do in the API, and who may reach the server."""
    maps = [names.named(part) for part in PATRONI_NOTES]
    rules = (
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": maps,
            "verbs": ["delete", "get", "patch", "update"],
        },
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "patch", "update", "watch"]},
    )
    inside: list[dict[str, Any]] = [{"from": names.admitted, "ports": [{"port": PORT, "protocol": "TCP"}]}]
    members: list[dict[str, Any]] = [{"from": [{"podSelector": {"matchLabels": names.selector}}]}]
    metadata = names.owned()
    return (
        Apply(objects.build_service_account(metadata)),
        Apply(objects.build_role(metadata, rules)),
        Apply(objects.build_role_binding(metadata, role=names.name, service_account=names.name)),
        Apply(objects.build_network_policy(metadata, selector=names.selector, ingress=inside + members)),
        Apply(objects.build_service(metadata, {"postgresql": PORT}, selector=names.selector | {ROLE_LABEL: "primary"})),
        Apply(
            objects.build_service(names.owned("members"), {"postgresql": PORT}, selector=names.selector, headless=True)
        ),
    )


def plan_storage(ask: Ask, names: Names) -> tuple[Action, ...]:
    """The volumes and Patroni's configuration."""
    size, storage_class = names.database.spec.parameters.storage, ask.parameters.storage_class
    return (
        *(
            Apply(objects.build_volume_claim(names.kept(volume_of(number)), size, storage_class))
            for number in range(ask.parameters.members)
        ),
        Apply(objects.build_config_map(names.owned("patroni"), files_of(ask, names))),
    )


def files_of(ask: Ask, names: Names) -> dict[str, str]:
    """What the members find in /etc/patroni."""
    files = {"patroni.yaml": render_patroni(ask, names)}
    settings = {MEMBER_TOOL: MEMBER_CODE, "dynamic.json": render(dynamic_settings(ask.parameters))}
    if ask.parameters.members > 1:
        files |= settings
    elif has_settings(ask.parameters):
        files |= settings | {ALONE_TOOL: ALONE_CODE}
    return files


def has_settings(parameters: Parameters) -> bool:
    """Whether the only member sees to it that Patroni's own settings are what they should be.

    Not where they are Patroni's own: databases that run are not restarted for what they have already.
    """
    return parameters.max_connections != CONNECTIONS


def render(value: Any) -> str:
    """JSON for people to read, the same each time."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted")).decode() + "\n"


def dynamic_settings(parameters: Parameters) -> dict[str, Any]:
    """The settings that Patroni keeps for all members of a cluster at once (Patroni 4.1: Dynamic Configuration).

    What must be the same everywhere, as `max_connections`, Patroni takes from here alone (Important rules). A lock that
    nobody renews is free after `ttl`; that must be no less than `loop_wait` and twice `retry_timeout`. With `quorum`
    any one of the replicas may confirm a write, so that one replica that goes does not hold writes up; nobody becomes
    primary who cannot be sure to have all that was confirmed. While both replicas are away writes go on without them,
    and nobody takes over then (Replication modes: Quorum commit mode). `primary_start_timeout` 0: after a crash another
    takes over at once, which loses nothing only where replicas have it all.
    """
    if parameters.members == 1:
        return {
            "ttl": 30,
            "loop_wait": 10,
            "retry_timeout": 10,
            "maximum_lag_on_failover": 1048576,
            # While the API server is away, the primary goes on as long as all members it knows agree.
            "failsafe_mode": True,
            "postgresql": {
                "use_pg_rewind": True,
                **({"parameters": {"max_connections": parameters.max_connections}} if has_settings(parameters) else {}),
            },
        }
    return {
        "ttl": 20,
        "loop_wait": 5,
        "retry_timeout": 5,
        "maximum_lag_on_failover": 1048576,
        "failsafe_mode": True,
        "synchronous_mode": "quorum" if parameters.synchronous else False,
        "synchronous_mode_strict": False,
        "synchronous_node_count": 1,
        "primary_start_timeout": 0 if parameters.synchronous else 300,
        "postgresql": {
            "use_pg_rewind": True,
            "parameters": {"max_connections": parameters.max_connections, "wal_sender_timeout": "20s"},
        },
    }


def render_patroni(ask: Ask, names: Names) -> str:
    """Patroni's configuration, as JSON, which is YAML. Secrets and addresses reach it by environment."""
    callback = " ".join(MEMBER_COMMAND) if ask.parameters.members > 1 else ROLES_CALLBACK
    shared = max(parse(ask.parameters.memory) // 4, 32 << 20) >> 20
    config = {
        "scope": names.name,
        "restapi": {"listen": f"0.0.0.0:{REST_PORT}"},
        "kubernetes": {
            "namespace": names.claim.namespace,
            "labels": names.selector,
            "scope_label": SCOPE_LABEL,
            "role_label": ROLE_LABEL,
            "leader_label_value": "primary",
            "standby_leader_label_value": "primary",
            "follower_label_value": "replica",
            "use_endpoints": False,
        },
        "bootstrap": {
            "dcs": dynamic_settings(ask.parameters),
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": f"0.0.0.0:{PORT}",
            "data_dir": f"{DATA}/pgdata",
            "pgpass": "/tmp/pgpass",
            "use_unix_socket": True,
            "parameters": {
                "max_connections": ask.parameters.max_connections,
                "shared_buffers": f"{shared}MB",
                "unix_socket_directories": SOCKETS,
                "password_encryption": "scram-sha-256",
                "log_destination": "stderr",
                "logging_collector": "off",
            },
            "pg_hba": [
                "local all all trust",
                "host replication replicator all scram-sha-256",
                "host all all all scram-sha-256",
            ],
            "authentication": {
                "superuser": {"username": "postgres"},
                "replication": {"username": "replicator"},
            },
            "callbacks": {"on_start": callback, "on_role_change": callback},
            **(OF_THREE if ask.parameters.members > 1 else {}),
        },
        "watchdog": {"mode": "off"},
    }
    return render(config)


OF_THREE = {
    "basebackup": [{"checkpoint": "fast"}],
    # What an old primary has that the new one has not was never acknowledged, or asynchronous replication gave it up.
    "remove_data_directory_on_rewind_failure": True,
}
"""How a member becomes a copy of the primary: at once, and anew where its own data cannot be wound back."""


def build_member(ask: Ask, names: Names, credentials: str) -> Object:
    """The only member: Patroni with PostgreSQL below it."""
    content = naming.digest_of(render_patroni(ask, names), credentials)
    return objects.build_stateful_set(
        names.owned(),
        build_pod(ask, names, 0),
        selector=names.selector,
        service=names.named("members"),
        content=content,
    )


def build_one_of_three(ask: Ask, names: Names, credentials: str, number: int) -> Object:
    """One of three members. Its content says all that it runs with, so that it is known which members have it."""
    pod = build_pod(ask, names, number)
    metadata, own = names.owned(part_of(number)), {MEMBER_LABEL: str(number)}
    configuration = naming.digest_of(pod.build(), files_of(ask, names))
    return objects.build_stateful_set(
        metadata | {"labels": metadata["labels"] | own},
        pod,
        selector=names.selector | own,
        service=names.named("members"),
        content=content_of_member(configuration, naming.digest_of(credentials)),
    )


def build_pod(ask: Ask, names: Names, number: int) -> objects.Pod:
    """A member: Patroni with PostgreSQL below it."""
    claim, three = names.database, ask.parameters.members > 1
    alone = ALONE_COMMAND if has_settings(ask.parameters) else ()
    extensions = ",".join(sorted(claim.spec.parameters.extensions))
    field = {
        "PATRONI_NAME": "metadata.name",
        "PATRONI_KUBERNETES_POD_IP": "status.podIP",
    }
    container = objects.Container(
        name="postgresql",
        image=ask.settings.image("postgresql", claim.spec.parameters.version),
        command=(*MEMBER_COMMAND, "start") if three else alone,
        env={
            **{name: {"fieldRef": {"fieldPath": path}} for name, path in field.items()},
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"$(PATRONI_KUBERNETES_POD_IP):{PORT}",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"$(PATRONI_KUBERNETES_POD_IP):{REST_PORT}",
            "PATRONI_SUPERUSER_PASSWORD": objects.env_from_secret(names.named("credentials"), "superuser-password"),
            "PATRONI_REPLICATION_PASSWORD": objects.env_from_secret(names.named("credentials"), "replication-password"),
            "LIBRESH_LC_COLLATE": claim.spec.parameters.locale,
            "LIBRESH_LC_CTYPE": claim.spec.parameters.locale,
            "LIBRESH_EXTENSIONS": extensions,
        },
        ports={"postgresql": PORT, "patroni": REST_PORT},
        mounts=(
            objects.from_claim("data", DATA, names.named(volume_of(number))),
            objects.from_config("config", "/etc/patroni", names.named("patroni")),
            objects.from_secret(
                "credentials",
                "/etc/libresh/credentials",
                names.named("credentials"),
                ("username", "database", *PASSWORDS) if three else ("username", "password", "database"),
            ),
            objects.empty_dir("run", SOCKETS),
            objects.empty_dir("tmp", "/tmp"),
            objects.empty_dir("shm", "/dev/shm", size="64Mi", memory=True),
        ),
        resources=objects.Resources(cpu="50m", memory="96Mi", memory_limit=ask.parameters.memory),
        # The role and the database are made by a callback after the server is up: started means a client can use them.
        # Recovery after a crash may take long, a copy of a large primary longer. From then on Patroni is asked, which
        # costs no process each time: of a replica it says whether it follows closely.
        startup=objects.Probe(argv=READY, period=2, timeout=5, failures=43200 if three else 1800),
        readiness=objects.Probe(port=REST_PORT, path="/readiness?lag=16MB" if three else "/readiness", period=5),
        liveness=objects.Probe(port=REST_PORT, path="/liveness", period=10, timeout=5, failures=6),
        # A primary hands over once it has written all it holds in memory: most of it now, while it still answers.
        pre_stop=CHECKPOINT if three else (),
    )
    return objects.Pod(
        containers=(container,),
        service_account=names.name,
        grace=120 if three else 60,
        apart_from=names.selector if three else {},
    )


READY = (
    "psql",
    "--no-psqlrc",
    "--quiet",
    f"--dbname=host={SOCKETS} user={ROLE} dbname={ROLE} connect_timeout=3",
    "--command=SELECT 1",
    "--output=/dev/null",
)

CHECKPOINT = (
    "psql",
    "--no-psqlrc",
    "--quiet",
    f"--dbname=host={SOCKETS} user=postgres dbname=postgres connect_timeout=3",
    "--command=CHECKPOINT",
)

DRIVERS = (EmbeddedPostgreSQL(),)
