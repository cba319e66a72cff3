"""PostgreSQL by Zalando's postgres-operator: each claim is a `postgresql` of its own in the claim's namespace.

    claim ──> postgresql ──> members (Patroni), a Service, and a Secret for each role that may log in

The database is a prepared one, as the operator makes extensions only in these; the application logs in as the user of
its owner. Fields and their meaning: Zalando postgres-operator 1.14, "Cluster manifest reference", "User Guide"
(prepared databases with roles and default privileges, database extensions), "Configuration parameters"
(`enable_team_id_clustername_prefix`, `secret_name_template`).
"""

from typing import Annotated, Any, Literal

import msgspec

from libresh.api.changes import STORAGE, Change
from libresh.api.database import PostgreSQL
from libresh.drivers import handed
from libresh.drivers.handed import Handed
from libresh.drivers.handed_postgresql import (
    Instances,
    ObjectName,
    Resources,
    Schedule,
    Settings,
    SslMode,
    Unfit,
    build_connection,
)
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.zalando import states
from libresh.plan.actions import Object, Ref, SecretKey
from libresh.plan.decision import Settled, Stalled
from libresh.ports import COMPOSED, Watched

API_VERSION = "acid.zalan.do/v1"
DATABASE = "app"
ROLE = f"{DATABASE}_owner_user"
PORT = "5432"
SECRETS = "application=spilo"
"""The label of its Secrets, unless it is configured otherwise ("Configuration parameters", `cluster_labels`)."""
LONGEST_NAME = 53
"""The operator names a StatefulSet after the cluster, whose revision makes a label of 63 letters at most."""
NAME_TOO_LONG = "NameTooLong"


class Tls(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A certificate of one's own: Secrets in the namespace of each claim."""

    secret_name: ObjectName
    ca_secret_name: ObjectName | None = None
    """Where `caFile` is, if not in the same Secret."""
    ca_file: str = "ca.crt"


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    team_id: Annotated[str, msgspec.Meta(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=32)] = "pg"
    """The team that owns the clusters. Their names begin with it, as the operator can be told to demand."""
    instances: Instances = 1
    storage_class: str | None = None
    resources: Resources = msgspec.field(default_factory=Resources)
    postgresql: Settings = {}
    synchronous: Literal["Off", "On", "Strict"] = "Off"
    """On: as long as a replica is there. Strict: writes wait until there is one."""
    logical_backup: Schedule | None = None
    """When the operator dumps the cluster, to where it is configured to."""
    tls: Tls | None = None
    ssl_mode: SslMode = "require"

    def __post_init__(self) -> None:
        if self.ssl_mode != "require" and self.tls is None:
            raise Unfit(
                "sslMode",
                f"{self.ssl_mode} needs tls: without it the members sign their certificates themselves, and nobody can "
                "verify them; set tls, or sslMode to require",
            )
        if self.synchronous != "Off" and self.instances == 1:
            raise Unfit("synchronous", "there is no replica with one instance: set instances to two at least")


class Zalando:
    """Serves PostgreSQL claims with one `postgresql` each."""

    name = "zalando"
    claim_kind = "PostgreSQL"
    parameters = Parameters
    watches = (Watched("Secret", writes=True), Watched(COMPOSED, writes=True))
    changes = (
        STORAGE.told_otherwise("the operator makes the volumes of all members larger, where their StorageClass can"),
        Change(
            "version",
            "allowed",
            "where the operator's major_version_upgrade_mode is manual or full the members restart, and it converts "
            "the data of a healthy cluster within minutes, in which nobody can connect; with off the old version runs "
            "on. If it failed, set the version back: it tries again only then. There is no way down, a lower version "
            "is ignored",
        ),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """What the class's clusters can do. Whether the write-ahead log is archived is the operator's configuration."""
        return ("expand", "ha", "quota") if parameters.instances >= handed.HA_LEAST else ("expand", "quota")

    def refuse(self, ask: Ask) -> Stalled | None:
        """The cluster's name is the team's and the claim's."""
        name = name_of(ask)
        if len(name) <= LONGEST_NAME:
            return None
        return Stalled(
            NAME_TOO_LONG,
            f"metadata.name: the cluster would be called {name}, and Zalando's postgres-operator takes names of "
            f"{LONGEST_NAME} characters at most; give the claim a shorter name, or the class a shorter teamId",
        )

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return hand_over(ask).looks_at

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        handing = hand_over(ask)
        live = seen.get(handing.refs[0])
        bound = ask.claim.status.binding is not None
        return handing.plan(seen, states.standing_of(live, bound=bound) if live else Settled())


def claim_of(ask: Ask) -> PostgreSQL:
    assert isinstance(ask.claim, PostgreSQL)
    return ask.claim


def name_of(ask: Ask) -> str:
    return f"{ask.parameters.team_id}-{ask.claim.name}"


def hand_over(ask: Ask) -> Handed:
    """What is wished of the operator."""
    name, space, tls = name_of(ask), ask.claim.namespace, ask.parameters.tls
    secret = f"{ROLE.replace('_', '-')}.{name}.credentials.postgresql.acid.zalan.do"
    authority = SecretKey(space, tls.ca_secret_name or tls.secret_name, tls.ca_file) if tls else None
    connection = build_connection(
        "zalando",
        f"{name}.{space}.svc",
        {key: SecretKey(space, secret, key) for key in ("username", "password")},
        {"port": PORT, "database": DATABASE},
        ask.parameters.ssl_mode,
        authority,
    )
    among = {secret: SECRETS}
    return Handed(ask, Zalando.name, "Zalando's postgres-operator", (build_cluster(ask),), connection, among)


def build_cluster(ask: Ask) -> Object:
    """The `postgresql`."""
    wish, parameters = claim_of(ask).spec.parameters, ask.parameters
    volume: Object = {"size": wish.storage}
    if parameters.storage_class:
        volume["storageClass"] = parameters.storage_class
    found = {"cpu": parameters.resources.cpu, "memory": parameters.resources.memory}
    spec: Object = {
        "teamId": parameters.team_id,
        "numberOfInstances": parameters.instances,
        "volume": volume,
        "postgresql": {"version": wish.version, "parameters": dict(parameters.postgresql)},
        # Where limits are left out the operator takes those it is configured with, whatever is requested.
        "resources": {"requests": found, "limits": {"cpu": limit_of(found["cpu"]), "memory": found["memory"]}},
        "preparedDatabases": {
            DATABASE: {
                "defaultUsers": True,
                # Of the schema that is there anyhow; without any the operator would make one called data.
                "schemas": {"public": {"defaultRoles": False}},
                "extensions": dict.fromkeys(wish.extensions, "public"),
            }
        },
        "patroni": {
            "initdb": {"encoding": "UTF8", "locale": wish.locale, "data-checksums": "true"},
            "synchronous_mode": parameters.synchronous != "Off",
            "synchronous_mode_strict": parameters.synchronous == "Strict",
        },
        **build_dumps(parameters),
        **build_tls(parameters.tls),
    }
    return handed.build(API_VERSION, "postgresql", name_of(ask), ask.claim, spec)


def limit_of(cpu: str) -> str:
    """The most a member may use of the processor: a whole one, or what is asked for if that is more."""
    millis = int(cpu[:-1]) if cpu.endswith("m") else int(float(cpu) * 1000)
    return cpu if millis > 1000 else "1"


def build_dumps(parameters: Parameters) -> Object:
    if parameters.logical_backup is None:
        return {"enableLogicalBackup": False}
    return {"enableLogicalBackup": True, "logicalBackupSchedule": parameters.logical_backup}


def build_tls(tls: Tls | None) -> Object:
    if tls is None:
        return {}
    own = {"caSecretName": tls.ca_secret_name} if tls.ca_secret_name else {}
    return {"tls": {"secretName": tls.secret_name, "caFile": tls.ca_file, **own}}


DRIVERS = (Zalando(),)
