"""PostgreSQL by Patroni, one member of its own for each claim, on a volume in the claim's namespace.

Patroni keeps its state in ConfigMaps of its own (`<name>-pg-config`, `<name>-pg-leader`), so its ServiceAccount may
write just these. The application's role, database and extensions are made by the image's callback wherever the member
is primary.
"""

from typing import Annotated, Any

import msgspec

from libresh.api.claims import Quantity
from libresh.api.database import PostgreSQL
from libresh.api.quantity import parse
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

PORT, REST_PORT = 5432, 8008
ROLE = "app"
DATA = "/var/lib/postgresql/data"
SOCKETS = "/var/run/postgresql"
SCOPE_LABEL, ROLE_LABEL = "libre.sh/scope", "libre.sh/role"
PATRONI_NOTES = ("config", "leader", "failover", "sync")
PASSWORDS = ("password", "superuser-password", "replication-password")


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    storage_class: str | None = None
    """The StorageClass of the volumes. Absent: the cluster's default."""
    memory: Annotated[Quantity, msgspec.Meta(description="Memory for each member.")] = "256Mi"
    max_connections: Annotated[
        int, msgspec.Meta(ge=10, le=1000, description="How many connections a member takes.")
    ] = 100


class Names(Children):
    """Everything that stands for one claim, by name."""

    @property
    def labels(self) -> dict[str, str]:
        return super().labels | {SCOPE_LABEL: self.name}

    @property
    def kept_refs(self) -> tuple[Ref, ...]:
        """What holds data: the volume, the passwords, and Patroni's own notes on them."""
        return (
            self.ref("PersistentVolumeClaim", "data"),
            self.ref("Secret", "credentials"),
            *(self.ref("ConfigMap", part) for part in PATRONI_NOTES),
        )

    @property
    def database(self) -> PostgreSQL:
        assert isinstance(self.claim, PostgreSQL)
        return self.claim


class EmbeddedPostgreSQL:
    """Serves PostgreSQL claims with one Patroni member each."""

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
        Watched("Secret", writes=True),
        Watched("Pod", verbs=("patch", "update")),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """One member on one volume: it grows where the StorageClass lets it, and has its room for itself."""
        return ("expand", "quota")

    def refuse(self, ask: Ask) -> Stalled | None:
        """A PostgreSQL needs some room even when empty."""
        storage = ask.claim.spec.parameters.storage  # type: ignore[attr-defined]
        return refuse_volume("spec.parameters.storage", storage, least="256Mi")

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        names = names_of(ask)
        return (names.ref("StatefulSet"), *(ref for ref in names.kept_refs if ref.kind != "ConfigMap"))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        names = names_of(ask)
        credentials = seen.secret(names.ref("Secret", "credentials"))
        actions: tuple[Action, ...] = (
            plan_credentials(names),
            *plan_access(names),
            *plan_storage(ask, names),
        )
        if credentials is not None:
            actions += (Apply(build_members(ask, names, credentials.digest)),)
        volume = seen.get(names.ref("PersistentVolumeClaim", "data"))
        outcome = outcome_of_workload("PostgreSQL", seen.get(names.ref("StatefulSet")), seen.pods, volume=volume)
        return Provision(
            outcome=outcome,
            actions=actions,
            connection=connection_of(names),
            instance=f"{names.ref('StatefulSet')} (Patroni, one member)",
            kept=names.kept_refs,
        )


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
    """The volume and Patroni's configuration."""
    size = names.database.spec.parameters.storage
    metadata = names.owned("patroni")
    return (
        Apply(objects.build_volume_claim(names.kept("data"), size, ask.parameters.storage_class)),
        Apply(objects.build_config_map(metadata, {"patroni.yaml": render_patroni(ask, names)})),
    )


def render_patroni(ask: Ask, names: Names) -> str:
    """Patroni's configuration, as JSON, which is YAML. Secrets and addresses reach it by environment."""
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
            "dcs": {
                "ttl": 30,
                "loop_wait": 10,
                "retry_timeout": 10,
                "maximum_lag_on_failover": 1048576,
                # While the API server is away, the primary goes on as long as all members it knows agree.
                "failsafe_mode": True,
                "postgresql": {"use_pg_rewind": True},
            },
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
            "callbacks": {
                "on_start": "/usr/local/bin/libresh-postgresql-roles",
                "on_role_change": "/usr/local/bin/libresh-postgresql-roles",
            },
        },
        "watchdog": {"mode": "off"},
    }
    return msgspec.json.format(msgspec.json.encode(config, order="sorted")).decode() + "\n"


def build_members(ask: Ask, names: Names, credentials_digest: str) -> Object:
    """The member: Patroni with PostgreSQL below it."""
    claim = names.database
    config = render_patroni(ask, names)
    extensions = ",".join(sorted(claim.spec.parameters.extensions))
    field = {
        "PATRONI_NAME": "metadata.name",
        "PATRONI_KUBERNETES_POD_IP": "status.podIP",
    }
    container = objects.Container(
        name="postgresql",
        image=ask.settings.image("postgresql", claim.spec.parameters.version),
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
            objects.from_claim("data", DATA, names.named("data")),
            objects.from_config("config", "/etc/patroni", names.named("patroni")),
            objects.from_secret(
                "credentials",
                "/etc/libresh/credentials",
                names.named("credentials"),
                ("username", "password", "database"),
            ),
            objects.empty_dir("run", SOCKETS),
            objects.empty_dir("tmp", "/tmp"),
            objects.empty_dir("shm", "/dev/shm", size="64Mi", memory=True),
        ),
        resources=objects.Resources(cpu="50m", memory="96Mi", memory_limit=ask.parameters.memory),
        # The role and the database are made by a callback after the server is up: started means a client can use them.
        # Recovery after a crash may take long. From then on Patroni is asked, which costs no process each time.
        startup=objects.Probe(argv=READY, period=2, timeout=5, failures=1800),
        readiness=objects.Probe(port=REST_PORT, path="/readiness", period=5),
        liveness=objects.Probe(port=REST_PORT, path="/liveness", period=10, timeout=5, failures=6),
    )
    pod = objects.Pod(containers=(container,), service_account=names.name, grace=60)
    content = naming.digest_of(config, credentials_digest)
    return objects.build_stateful_set(
        names.owned(), pod, selector=names.selector, service=names.named("members"), content=content
    )


READY = (
    "psql",
    "--no-psqlrc",
    "--quiet",
    f"--dbname=host={SOCKETS} user={ROLE} dbname={ROLE} connect_timeout=3",
    "--command=SELECT 1",
    "--output=/dev/null",
)

DRIVERS = (EmbeddedPostgreSQL(),)
