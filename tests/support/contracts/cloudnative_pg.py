"""A contract stub of CloudNativePG 1.27. No PostgreSQL runs.

A Cluster goes through "Setting up primary" and "Creating a new replica" to "Cluster in healthy state" and the condition
Ready (api/v1/cluster_types.go); it gets the Secrets `<cluster>-app` of type kubernetes.io/basic-auth (docs "Connecting
from an application"), `<cluster>-ca` and `<cluster>-replication` (docs "Certificates"). A Database is applied (docs
"PostgreSQL Database Management"). A cluster's name has 50 characters at most
(internal/webhook/v1/cluster_webhook.go): a longer one never becomes anything here. When a Cluster goes so do its
Secrets.

A Cluster that is to begin with the data of a running one (docs "Bootstrap from a live cluster") stays in "Setting up
primary" until the Secrets that it names are there; on a real PostgreSQL it is then copied by pg_basebackup. The stub
keeps no backups: one that is to be recovered goes through the states without any data (docs "Recovery"), and on a real
PostgreSQL never gets beyond the first. With `backed_up` it says when there was a backup, as the operator does
(ClusterStatus), or the plugin in its ObjectStore (plugin-barman-cloud 0.11, api/v1/objectstore_types.go).
"""

from typing import ClassVar

from support.definitions import BOOLEAN, INTEGER, OPEN, STRING, definition, fields, list_of, map_of
from support.fakeapi import FakeApi

from .model import Contract, Object, Place, Verdict, place_of
from .standing import Server

GROUP = "postgresql.cnpg.io"
PLUGIN_GROUP = "barmancloud.cnpg.io"
REFERENCE = fields(name=STRING)
KEY = fields(name=STRING, key=STRING)
BARMAN = fields(
    destinationPath=STRING,
    endpointURL=STRING,
    serverName=STRING,
    s3Credentials=fields(accessKeyId=KEY, secretAccessKey=KEY),
)
EXTERNAL = fields(
    name=STRING,
    connectionParameters=map_of(STRING),
    sslKey=KEY,
    sslCert=KEY,
    sslRootCert=KEY,
    plugin=fields(name=STRING, parameters=map_of(STRING)),
    barmanObjectStore=BARMAN,
)

CLUSTER = fields(
    instances=INTEGER,
    imageName=STRING,
    imageCatalogRef=fields(apiGroup=STRING, kind=STRING, name=STRING, major=INTEGER),
    storage=fields(size=STRING, storageClass=STRING, resizeInUseVolumes=BOOLEAN),
    bootstrap=fields(
        initdb=fields(
            database=STRING,
            owner=STRING,
            encoding=STRING,
            localeCollate=STRING,
            localeCType=STRING,
            dataChecksums=BOOLEAN,
        ),
        pg_basebackup=fields(source=STRING, database=STRING, owner=STRING),
        recovery=fields(source=STRING, database=STRING, owner=STRING, recoveryTarget=fields(targetTime=STRING)),
    ),
    externalClusters=list_of(EXTERNAL),
    resources=fields(requests=map_of(STRING), limits=map_of(STRING)),
    postgresql=fields(
        parameters=map_of(STRING),
        synchronous=fields(method=STRING, number=INTEGER, dataDurability=STRING),
    ),
    affinity=fields(enablePodAntiAffinity=BOOLEAN, topologyKey=STRING, podAntiAffinityType=STRING),
    enableSuperuserAccess=BOOLEAN,
    plugins=list_of(fields(name=STRING, isWALArchiver=BOOLEAN, parameters=map_of(STRING))),
    backup=fields(retentionPolicy=STRING, barmanObjectStore=BARMAN),
)
DATABASE = fields(
    cluster=REFERENCE,
    name=STRING,
    owner=STRING,
    databaseReclaimPolicy=STRING,
    extensions=list_of(fields(name=STRING, ensure=STRING)),
)
SCHEDULED_BACKUP = fields(
    cluster=REFERENCE,
    schedule=STRING,
    immediate=BOOLEAN,
    backupOwnerReference=STRING,
    method=STRING,
    pluginConfiguration=OPEN,
)
OBJECT_STORE = fields(configuration=OPEN, retentionPolicy=STRING)
HEALTHY = "Cluster in healthy state"
FIRST = "Setting up primary"
WAITING = "Waiting for the instances to become active"


class CloudNativePG(Contract):
    """The stub."""

    driver = "cloudnative-pg"
    kinds = (
        (f"{GROUP}/v1", "Cluster"),
        (f"{GROUP}/v1", "Database"),
        (f"{GROUP}/v1", "ScheduledBackup"),
        (f"{PLUGIN_GROUP}/v1", "ObjectStore"),
    )
    crds = (
        definition(GROUP, "v1", "Cluster", CLUSTER),
        definition(GROUP, "v1", "Database", DATABASE),
        definition(GROUP, "v1", "ScheduledBackup", SCHEDULED_BACKUP),
        definition(PLUGIN_GROUP, "v1", "ObjectStore", OBJECT_STORE),
    )
    mark: ClassVar[str] = "cnpg.io/cluster"
    manager = "cloudnative-pg"

    def __init__(self, api: FakeApi | None = None) -> None:
        super().__init__(api)
        self.extensions: dict[Place, tuple[str, ...]] = {}
        """What Databases ask for, by namespace and name of their Cluster."""
        self.backed_up: dict[str, tuple[str, str]] = {}
        """By the folder of a cluster in the object store: the first moment to restore, and the last backup."""

    def verdict(self, obj: Object) -> Verdict:
        match obj["kind"]:
            case "Cluster":
                return self.of_cluster(obj)
            case "Database":
                return self.of_database(obj)
            case "ObjectStore":
                return Verdict(
                    {"serverRecoveryWindow": {name: said_by_store(*at) for name, at in self.backed_up.items()}}
                )
        return Verdict({"lastCheckTime": "2025-01-01T00:00:00Z"})

    def of_database(self, obj: Object) -> Verdict:
        """Applied, on a real server once that has the extensions."""
        place = (obj["metadata"]["namespace"], obj["spec"]["cluster"]["name"])
        wanted = tuple(sorted(each["name"] for each in obj["spec"].get("extensions", ())))
        self.extensions[place] = wanted
        if self.image and self.standing.get(place) != wanted:
            return Verdict(obj.get("status", {}))
        return Verdict({"applied": True, "observedGeneration": obj["metadata"]["generation"]})

    def of_cluster(self, obj: Object) -> Verdict:
        name, wanted = obj["metadata"]["name"], obj["spec"].get("instances", 1)
        if len(name) > 50:
            return Verdict({})
        if self.waits(obj):
            return Verdict(
                {"phase": FIRST, "readyInstances": 0, "conditions": conditions("False", "ClusterIsNotReady")}
            )
        status = next_status(obj.get("status", {}), wanted)
        folder = obj["spec"].get("backup", {}).get("barmanObjectStore", {}).get("serverName", "")
        return Verdict(status | said_by_cluster(*self.backed_up.get(folder, ())), self.secrets_of(obj))

    def waits(self, obj: Object) -> bool:
        """Whether what the data is to begin with is not there. Once it has begun nobody asks for that."""
        if obj.get("status", {}).get("readyInstances"):
            return False
        named = {
            (obj["metadata"]["namespace"], each[field]["name"])
            for each in obj["spec"].get("externalClusters", ())
            for field in ("sslKey", "sslCert", "sslRootCert")
            if field in each
        }
        return not named <= self.written

    def fallen(self, obj: Object) -> Verdict | None:
        """A Cluster that was healthy waits for its instances (internal/controller/cluster_controller.go)."""
        if obj["kind"] != "Cluster" or not obj.get("status"):
            return None
        status = {**obj["status"], "phase": WAITING, "readyInstances": 0}
        return Verdict({**status, "conditions": conditions("False", "ClusterIsNotReady")}, self.secrets_of(obj))

    def server(self, obj: Object) -> Server | None:
        """A Cluster's, with the extensions of its Database."""
        if obj["kind"] != "Cluster":
            return None
        name, space = obj["metadata"]["name"], obj["metadata"]["namespace"]
        ((method, start),) = obj["spec"]["bootstrap"].items()
        credentials = {
            "username": start["owner"],
            "password": f"password-of-{space}-{name}",
            "database": start["database"],
        }
        return Server(
            obj,
            f"{name}-rw",
            credentials,
            self.extensions.get((space, name), ()),
            start.get("localeCollate", "C"),
            obj["spec"]["storage"]["size"],
            source=start["source"] if method == "pg_basebackup" else "",
            possible=method != "recovery",
        )

    def secrets_of(self, obj: Object) -> tuple[Object, ...]:
        name, space = obj["metadata"]["name"], obj["metadata"]["namespace"]
        start: Object = next(iter(obj["spec"].get("bootstrap", {}).values()), {})
        owner, database = start.get("owner", "app"), start.get("database", "app")
        host, password = f"{name}-rw", f"password-of-{space}-{name}"
        app = {
            "username": owner,
            "user": owner,
            "password": password,
            "dbname": database,
            "host": host,
            "port": "5432",
            "uri": f"postgresql://{owner}:{password}@{host}.{space}:5432/{database}",
            "jdbc-uri": f"jdbc:postgresql://{host}.{space}:5432/{database}",
            "pgpass": f"{host}:5432:{database}:{owner}:{password}\n",
        }
        certificate = self.authorities.get(place_of(obj)) or f"certificate of {name}"
        authority = {"ca.crt": certificate, "ca.key": f"key of {name}"}
        made = self.secret(obj, f"{name}-app", app, "kubernetes.io/basic-auth")
        made["metadata"]["labels"]["cnpg.io/userType"] = "app"
        members = {"tls.crt": f"certificate of {name}'s members", "tls.key": f"key of {name}'s members"}
        replication = self.secret(obj, f"{name}-replication", members, "kubernetes.io/tls")
        return (made, self.secret(obj, f"{name}-ca", authority), replication)


def said_by_cluster(first: str = "", last: str = "") -> Object:
    """What the status of a Cluster says of backups by the operator's own means."""
    return {"firstRecoverabilityPoint": first, "lastSuccessfulBackup": last} if first else {}


def said_by_store(first: str, last: str) -> Object:
    return {"firstRecoverabilityPoint": first, "lastSuccessfulBackupTime": last}


def next_status(before: Object, wanted: int) -> Object:
    """One instance after the other."""
    ready = min(before.get("readyInstances", -1) + 1, wanted)
    found: Object = {"instances": max(ready, 1), "readyInstances": ready}
    if ready == 0:
        return {**found, "phase": FIRST, "conditions": conditions("False", "ClusterIsNotReady")}
    if ready < wanted:
        return {**found, "phase": "Creating a new replica", "conditions": conditions("False", "ClusterIsNotReady")}
    return {**found, "phase": HEALTHY, "conditions": conditions("True", "ClusterIsReady")}


def conditions(status: str, reason: str) -> list[Object]:
    return [
        {
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": "",
            "lastTransitionTime": "2025-01-01T00:00:00Z",
        }
    ]
