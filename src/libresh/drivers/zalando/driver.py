"""PostgreSQL by Zalando's postgres-operator: each claim is a `postgresql` of its own in the claim's namespace.

    claim ──> postgresql ──> members (Patroni), a Service, and a Secret for each role that may log in

The database is a prepared one, as the operator makes extensions only in these; the application logs in as the user of
its owner. Fields and their meaning: Zalando postgres-operator 1.14, "Cluster manifest reference", "User Guide"
(prepared databases with roles and default privileges, database extensions, how to clone an existing PostgreSQL
cluster, custom TLS certificates), "Configuration parameters" (`enable_team_id_clustername_prefix`,
`secret_name_template`), pkg/apis/acid.zalan.do/v1/postgresql_type.go (CloneDescription: the time needs an offset).
"""

from datetime import UTC
from typing import Annotated, Any, Literal

import msgspec

from libresh.api.changes import STORAGE, Change
from libresh.api.claims import Claim
from libresh.drivers import handed
from libresh.drivers.handed import Handed
from libresh.drivers.handed_postgresql import (
    INHERITED,
    Instances,
    ObjectName,
    Resources,
    Schedule,
    Settings,
    SslMode,
    Unfit,
    build_connection,
    claim_of,
)
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.zalando import states
from libresh.plan.actions import Object, Ref, SecretKey
from libresh.plan.decision import Settled, Stalled

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
    fs_group: Annotated[int, msgspec.Meta(ge=0)] = 103
    """The group that may read the key: PostgreSQL's in the operator's image."""


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
    archive: bool = False
    """Whether the operator is configured to keep base backups and the write-ahead log of its clusters, and to let new
    ones read them: nothing else tells."""
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
    watches = handed.WATCHES
    inherits = INHERITED
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
        """What the class's clusters can do."""
        found = ["clone", "expand", "quota"]
        if parameters.instances >= handed.HA_LEAST:
            found.append("ha")
        if parameters.archive:
            found.append("pitr")
        return tuple(found)

    def refuse(self, ask: Ask) -> Stalled | None:
        """The cluster's name is the team's and the claim's."""
        name = name_of(ask.claim, ask.parameters)
        if len(name) <= LONGEST_NAME:
            return None
        return Stalled(
            NAME_TOO_LONG,
            f"metadata.name: the cluster would be called {name}, and Zalando's postgres-operator takes names of "
            f"{LONGEST_NAME} characters at most; give the claim a shorter name, or the class a shorter teamId",
        )

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return hand_over(ask, Seen()).looks_at

    def began(self, ask: Ask, seen: Seen) -> bool | None:
        """By the record on the `postgresql`."""
        return handed.began(ask.claim, seen.get(ref_of(ask.claim, ask.parameters)))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        live = seen.get(ref_of(ask.claim, ask.parameters))
        bound = ask.claim.status.binding is not None
        return hand_over(ask, seen).plan(seen, states.standing_of(live, bound=bound) if live else Settled())


def name_of(claim: Claim, parameters: Parameters) -> str:
    return f"{parameters.team_id}-{claim.name}"


def ref_of(claim: Claim, parameters: Parameters) -> Ref:
    """The `postgresql` of a claim."""
    return handed.ref_of(handed.build(API_VERSION, "postgresql", name_of(claim, parameters), claim, {}))


def hand_over(ask: Ask, seen: Seen) -> Handed:
    """What is wished of the operator."""
    name, space, tls = name_of(ask.claim, ask.parameters), ask.claim.namespace, ask.parameters.tls
    live = seen.get(ref_of(ask.claim, ask.parameters))
    source = ref_of(ask.origin.claim, ask.origin.parameters) if ask.origin else None
    origin = handed.find_origin(ask, source, seen)
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
    return Handed(
        ask,
        Zalando.name,
        "Zalando's postgres-operator",
        (build_cluster(ask, live, origin),),
        connection,
        among={secret: SECRETS},
        reads=(source,) if source else (),
        awaits=handed.awaited(ask, live, origin, source),
    )


def build_cluster(ask: Ask, live: Object | None, origin: Object | None) -> Object:
    """The `postgresql`. `live`: as it is now; `origin`: the one that its data is copied from."""
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
        **build_clone(ask, live, origin),
    }
    made = handed.build(API_VERSION, "postgresql", name_of(ask.claim, parameters), ask.claim, spec)
    return handed.marked(made, ask.claim, live)


def build_clone(ask: Ask, live: Object | None, origin: Object | None) -> Object:
    """Of which cluster the data is a copy: of the running one, or of its archive up to a moment, which its uid tells
    from others that had its name. A cluster that began as a copy keeps the field, which is read only once."""
    if live is not None and handed.is_copy(ask.claim, live):
        return {"clone": live["spec"]["clone"]} if "clone" in live["spec"] else {}
    wish = ask.claim.source
    if origin is None or wish is None:
        return {}
    found = {"cluster": origin["metadata"]["name"]}
    if wish.at is None:
        return {"clone": found}
    return {"clone": {**found, "uid": origin["metadata"]["uid"], "timestamp": wish.at.astimezone(UTC).isoformat()}}


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
    return {"tls": {"secretName": tls.secret_name, "caFile": tls.ca_file, **own}, "spiloFSGroup": tls.fs_group}


DRIVERS = (Zalando(),)
