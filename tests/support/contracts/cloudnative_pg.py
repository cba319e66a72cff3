"""A contract stub of CloudNativePG 1.27. No PostgreSQL runs.

A Cluster goes through "Setting up primary" and "Creating a new replica" to "Cluster in healthy state" and the condition
Ready (api/v1/cluster_types.go); it gets the Secrets `<cluster>-app` of type kubernetes.io/basic-auth (docs "Connecting
from an application") and `<cluster>-ca` (docs "Certificates"). A Database is applied (docs "PostgreSQL Database
Management"). A cluster's name has 50 characters at most (internal/webhook/v1/cluster_webhook.go): a longer one never
becomes anything here. When a Cluster goes so do its Secrets.
"""

from typing import ClassVar

from support.fakeapi import FakeApi

from .model import (
    BOOLEAN,
    INTEGER,
    OPEN,
    STRING,
    Contract,
    Object,
    Place,
    Verdict,
    definition,
    fields,
    list_of,
    map_of,
    place_of,
)
from .standing import Server

GROUP = "postgresql.cnpg.io"
REFERENCE = fields(name=STRING)
KEY = fields(name=STRING, key=STRING)

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
        )
    ),
    resources=fields(requests=map_of(STRING), limits=map_of(STRING)),
    postgresql=fields(
        parameters=map_of(STRING),
        synchronous=fields(method=STRING, number=INTEGER, dataDurability=STRING),
    ),
    affinity=fields(enablePodAntiAffinity=BOOLEAN, topologyKey=STRING, podAntiAffinityType=STRING),
    enableSuperuserAccess=BOOLEAN,
    plugins=list_of(fields(name=STRING, isWALArchiver=BOOLEAN, parameters=map_of(STRING))),
    backup=fields(
        retentionPolicy=STRING,
        barmanObjectStore=fields(
            destinationPath=STRING,
            endpointURL=STRING,
            serverName=STRING,
            s3Credentials=fields(accessKeyId=KEY, secretAccessKey=KEY),
        ),
    ),
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
HEALTHY = "Cluster in healthy state"


class CloudNativePG(Contract):
    """The stub."""

    kinds = ((f"{GROUP}/v1", "Cluster"), (f"{GROUP}/v1", "Database"), (f"{GROUP}/v1", "ScheduledBackup"))
    crds = (
        definition(GROUP, "v1", "Cluster", "clusters", CLUSTER),
        definition(GROUP, "v1", "Database", "databases", DATABASE),
        definition(GROUP, "v1", "ScheduledBackup", "scheduledbackups", SCHEDULED_BACKUP),
    )
    mark: ClassVar[str] = "cnpg.io/cluster"
    manager = "cloudnative-pg"

    def __init__(self, api: FakeApi | None = None) -> None:
        super().__init__(api)
        self.extensions: dict[Place, tuple[str, ...]] = {}
        """What Databases ask for, by namespace and name of their Cluster."""

    def verdict(self, obj: Object) -> Verdict:
        match obj["kind"]:
            case "Cluster":
                return self.of_cluster(obj)
            case "Database":
                return self.of_database(obj)
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
        status = next_status(obj.get("status", {}), wanted)
        return Verdict(status, self.secrets_of(obj))

    def server(self, obj: Object) -> Server | None:
        """A Cluster's, with the extensions of its Database."""
        if obj["kind"] != "Cluster":
            return None
        name, space = obj["metadata"]["name"], obj["metadata"]["namespace"]
        initdb = obj["spec"]["bootstrap"]["initdb"]
        credentials = {
            "username": initdb["owner"],
            "password": f"password-of-{space}-{name}",
            "database": initdb["database"],
        }
        size = obj["spec"]["storage"]["size"]
        extensions = self.extensions.get((space, name), ())
        return Server(obj, f"{name}-rw", credentials, extensions, initdb["localeCollate"], size)

    def secrets_of(self, obj: Object) -> tuple[Object, ...]:
        name, space = obj["metadata"]["name"], obj["metadata"]["namespace"]
        initdb = obj["spec"].get("bootstrap", {}).get("initdb", {})
        owner, database = initdb.get("owner", "app"), initdb.get("database", "app")
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
        return (made, self.secret(obj, f"{name}-ca", authority))


def next_status(before: Object, wanted: int) -> Object:
    """One instance after the other."""
    ready = min(before.get("readyInstances", -1) + 1, wanted)
    found: Object = {"instances": max(ready, 1), "readyInstances": ready}
    if ready == 0:
        return {**found, "phase": "Setting up primary", "conditions": conditions("False", "ClusterIsNotReady")}
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
