"""A contract stub of Zalando's postgres-operator 1.14. No PostgreSQL runs.

For each `postgresql` it writes the Secret of every role that may log in, `<role>.<cluster>.credentials.postgresql.
acid.zalan.do` with `_` as `-` and the label application=spilo (docs/user.md "Manifest roles" and "Default LOGIN roles",
docs/reference/operator_parameters.md `secret_name_template`, `cluster_labels`), and the states Creating, then Running
(pkg/apis/acid.zalan.do/v1/const.go). When the object goes so do its Secrets.

A clone of a running cluster (docs/user.md "Clone directly") stays in Creating until that one's Secret of the role
standby is there, by which it is copied; on a real PostgreSQL by pg_basebackup. The stub keeps no archive: a clone with
a timestamp goes through the states without any data, and on a real PostgreSQL never gets beyond Creating.
"""

from typing import ClassVar

from support.definitions import BOOLEAN, INTEGER, STRING, definition, fields, list_of, map_of

from .model import Contract, Object, Verdict
from .standing import Server

GROUP = "acid.zalan.do"
STAMP = {
    "type": "string",
    "pattern": "^([0-9]+)-(0[1-9]|1[012])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9]|60)"
    "(\\.[0-9]+)?(([+-]([01][0-9]|2[0-3]):[0-5][0-9]))$",
}
"""As in pkg/apis/acid.zalan.do/v1/postgresql_type.go: the offset is a number."""

SPEC = fields(
    teamId=STRING,
    numberOfInstances=INTEGER,
    volume=fields(size=STRING, storageClass=STRING),
    postgresql=fields(version=STRING, parameters=map_of(STRING)),
    resources=fields(
        requests=fields(cpu=STRING, memory=STRING),
        limits=fields(cpu=STRING, memory=STRING),
    ),
    users=map_of(list_of(STRING)),
    databases=map_of(STRING),
    preparedDatabases=map_of(
        fields(
            defaultUsers=BOOLEAN,
            extensions=map_of(STRING),
            schemas=map_of(fields(defaultRoles=BOOLEAN, defaultUsers=BOOLEAN)),
        )
    ),
    patroni=fields(initdb=map_of(STRING), synchronous_mode=BOOLEAN, synchronous_mode_strict=BOOLEAN),
    enableLogicalBackup=BOOLEAN,
    logicalBackupSchedule=STRING,
    clone=fields(cluster=STRING, uid=STRING, timestamp=STAMP),
    spiloFSGroup=INTEGER,
    tls=fields(secretName=STRING, certificateFile=STRING, privateKeyFile=STRING, caFile=STRING, caSecretName=STRING),
)
RUNNING = {"PostgresClusterStatus": "Running"}
CRD = definition(GROUP, "v1", "postgresql", SPEC)


class Zalando(Contract):
    """The stub."""

    driver = "zalando"
    kinds = ((f"{GROUP}/v1", "postgresql"),)
    crds = (CRD,)
    mark: ClassVar[str] = "cluster-name"
    manager = "postgres-operator"

    def verdict(self, obj: Object) -> Verdict:
        before = obj.get("status", {}).get("PostgresClusterStatus", "")
        status = RUNNING if before and not self.waits(obj) else {"PostgresClusterStatus": "Creating"}
        return Verdict(status, tuple(self.of_role(obj, role) for role in roles_of(obj)))

    def waits(self, obj: Object) -> bool:
        """Whether the cluster that is to be cloned is not there. Once it is cloned nobody asks for that."""
        clone = obj["spec"].get("clone")
        if clone is None or "timestamp" in clone or obj.get("status") == RUNNING:
            return False
        secret = secret_name({"metadata": {"name": clone["cluster"]}}, "standby")
        return (obj["metadata"]["namespace"], secret) not in self.written

    def fallen(self, obj: Object) -> Verdict | None:
        """While pods are away it says what it said: it writes the status when it makes, changes or syncs a cluster
        (pkg/cluster/cluster.go, pkg/cluster/sync.go)."""
        secrets = tuple(self.of_role(obj, role) for role in roles_of(obj))
        return Verdict(obj["status"], secrets) if obj.get("status") else None

    def server(self, obj: Object) -> Server:
        """For the application's database alone: of the prepared one, or of the first there is."""
        spec = obj["spec"]
        prepared = next(iter(spec.get("preparedDatabases", {})), "")
        database, role = (prepared, f"{prepared}_owner_user") if prepared else next(iter(spec["databases"].items()))
        name = secret_name(obj, role)
        credentials = {"username": role, "password": f"password-of-{name}", "database": database}
        wish = spec.get("preparedDatabases", {}).get(prepared, {})
        locale = spec.get("patroni", {}).get("initdb", {}).get("locale", "C")
        return Server(
            obj,
            obj["metadata"]["name"],
            credentials,
            sorted(wish.get("extensions", {})),
            locale,
            spec["volume"]["size"],
            source=spec.get("clone", {}).get("cluster", ""),
            possible="timestamp" not in spec.get("clone", {}),
        )

    def of_role(self, obj: Object, role: str) -> Object:
        name = secret_name(obj, role)
        made = self.secret(obj, name, {"username": role, "password": f"password-of-{name}"})
        made["metadata"]["labels"] |= {"application": "spilo", "team": obj["spec"].get("teamId", "")}
        return made


def credentials(obj: Object) -> list[Object]:
    """The Secrets of a cluster's roles."""
    return list(Zalando().verdict(obj).secrets)


def secret_name(obj: Object, role: str) -> str:
    return f"{role.replace('_', '-')}.{obj['metadata']['name']}.credentials.postgresql.{GROUP}"


def roles_of(obj: Object) -> list[str]:
    """The roles that may log in."""
    found = ["postgres", "standby", *obj["spec"].get("users", {})]
    for database, prepared in obj["spec"].get("preparedDatabases", {}).items():
        if prepared.get("defaultUsers"):
            found += [f"{database}_{part}_user" for part in ("owner", "reader", "writer")]
    return found
