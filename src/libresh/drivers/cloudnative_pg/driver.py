"""PostgreSQL by CloudNativePG: each claim is a Cluster of its own in the claim's namespace.

    claim ──> Cluster ──────────> instances, Services, `<cluster>-app` with the credentials, `<cluster>-ca`
         ├──> Database            the extensions, where some are asked for
         └──> ScheduledBackup     where the class says how to back up

Fields and their meaning: CloudNativePG 1.27, "API Reference" (Cluster, Database, ScheduledBackup), "Connecting from an
application" (keys of the Secret), "Certificates" (`<cluster>-ca`, names in the server's certificate), "PostgreSQL
Database Management" (extensions), "PostgreSQL Upgrades" (offline in-place major upgrades, backup and WAL archive
considerations; what is refused: internal/webhook/v1/cluster_webhook.go, `validateImageChange`), "Backup";
plugin-barman-cloud 0.11, "Using the Barman Cloud Plugin".
"""

import re
from typing import Any, Literal

import msgspec

from libresh.api.changes import STORAGE, Change
from libresh.api.database import PostgreSQL
from libresh.drivers import handed
from libresh.drivers.cloudnative_pg import phases
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
from libresh.plan.actions import Object, Ref, SecretKey
from libresh.plan.decision import Outcome, Settled, Stalled
from libresh.ports import COMPOSED, Watched

API_VERSION = "postgresql.cnpg.io/v1"
PLUGIN = "barman-cloud.cloudnative-pg.io"
DATABASE = "app"
"""The database and the role that owns it."""
SECRETS = "cnpg.io/userType=app"
"""The label of Secrets with the credentials of applications ("Labels and Annotations")."""
IMAGE_MISSING = "ImageMissing"
OF_VERSION = re.compile(r"-\d+$")
"""How a folder in the object store ends: with the major version."""


class Catalog(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A catalog of images by major version. An ImageCatalog must be in the namespace of each claim."""

    name: ObjectName
    kind: Literal["ClusterImageCatalog", "ImageCatalog"] = "ClusterImageCatalog"


class Synchronous(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Replicas that must have a transaction before it is acknowledged."""

    number: Instances = 1
    durability: Literal["Required", "Preferred"] = "Required"
    """Preferred: goes on without them when none is there."""


class Credentials(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A Secret in the namespace of each claim with the keys of the object store."""

    name: ObjectName
    access_key_id: str = "access-key-id"
    secret_access_key: str = "secret-access-key"


class ObjectStore(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Where backups go by the operator's own means, which it calls deprecated since 1.26."""

    destination_path: str
    """As in s3://backups/."""
    credentials: Credentials
    endpoint_url: str | None = msgspec.field(default=None, name="endpointURL")
    retention: str | None = None
    """How long backups are kept, as in 30d."""


class Backup(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Backups and the archive of the write-ahead log: exactly one of `objectStore` and `barmanObjectStore`."""

    schedule: Schedule
    object_store: ObjectName | None = None
    """The name of an ObjectStore of the Barman Cloud plugin. It must be in the namespace of each claim."""
    barman_object_store: ObjectStore | None = None

    def __post_init__(self) -> None:
        if (self.object_store is None) == (self.barman_object_store is None):
            raise Unfit("backup", "set one of objectStore and barmanObjectStore")


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver: exactly one of `images` and `imageCatalog`."""

    images: dict[str, str] = {}
    """The image of each major version of PostgreSQL that the class serves."""
    image_catalog: Catalog | None = None
    instances: Instances = 1
    storage_class: str | None = None
    resources: Resources = msgspec.field(default_factory=Resources)
    postgresql: Settings = {}
    synchronous: Synchronous | None = None
    spread: Literal["Required", "Preferred"] = "Required"
    """Whether two instances of a cluster may share a node when there are too few."""
    backup: Backup | None = None
    ssl_mode: SslMode = "require"

    def __post_init__(self) -> None:
        if bool(self.images) == (self.image_catalog is not None):
            raise Unfit("images", "set one of images and imageCatalog: a claim says which major version it wants")
        if self.synchronous and self.synchronous.number >= self.instances:
            raise Unfit(
                "synchronous.number",
                f"{self.synchronous.number} of {self.instances} instances cannot be replicas: it must be less than "
                "instances",
            )


class CloudNativePG:
    """Serves PostgreSQL claims with one Cluster each."""

    name = "cloudnative-pg"
    claim_kind = "PostgreSQL"
    parameters = Parameters
    watches = (Watched("Secret", writes=True), Watched(COMPOSED, writes=True))
    changes = (
        STORAGE.told_otherwise("the volumes of all instances grow, where their StorageClass can"),
        Change(
            "version",
            "allowed",
            "all instances stop, the data is converted, and replicas are copied anew: nobody can connect meanwhile. "
            "Only up, to 16 or later, and with images of one distribution; if it fails, set the version back. Moments "
            "before it cannot be restored into what runs after it, and new ones only from the next backup on",
        ),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """What the class's clusters can do. Instances that may share a node do not survive its loss."""
        found = ["expand", "quota"]
        if parameters.instances >= handed.HA_LEAST and parameters.spread == "Required":
            found.append("ha")
        if parameters.backup is not None:
            found.append("pitr")
        return tuple(found)

    def refuse(self, ask: Ask) -> Stalled | None:
        """A class knows images of certain versions only."""
        version = claim_of(ask).spec.parameters.version
        if not ask.parameters.images or version in ask.parameters.images:
            return None
        return Stalled(
            IMAGE_MISSING,
            f"spec.parameters.version: ServiceClass {ask.class_name} has no image of PostgreSQL {version} in its "
            f"parameter images, only of {', '.join(sorted(ask.parameters.images))}; name another class",
        )

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return hand_over(ask, None).looks_at

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        refs = refs_of(ask)
        handing = hand_over(ask, seen.get(refs["Cluster"]), seen.get(refs["Database"]))
        return handing.plan(seen, standing_of(ask, seen))


def claim_of(ask: Ask) -> PostgreSQL:
    assert isinstance(ask.claim, PostgreSQL)
    return ask.claim


def name_of(ask: Ask) -> str:
    """Three more than the claim's 46 letters at most: the operator takes 50."""
    return f"{ask.claim.name}-pg"


def refs_of(ask: Ask) -> dict[str, Ref]:
    """The objects that may stand for a claim, by their kind."""
    name = name_of(ask)
    return {
        kind: handed.ref_of(handed.build(API_VERSION, kind, name, ask.claim, {}))
        for kind in ("Cluster", "Database", "ScheduledBackup")
    }


def standing_of(ask: Ask, seen: Seen) -> Outcome:
    """How the Cluster stands, then its extensions."""
    refs = refs_of(ask)
    cluster = seen.get(refs["Cluster"])
    standing = phases.standing_of(cluster) if cluster else Settled()
    waits = isinstance(standing, Settled) and claim_of(ask).spec.parameters.extensions
    return (phases.database_standing(seen.get(refs["Database"])) or standing) if waits else standing


def hand_over(ask: Ask, cluster: Object | None, database: Object | None = None) -> Handed:
    """What is wished of the operator. `cluster`, `database`: as they are now."""
    name, wished = name_of(ask), [build_cluster(ask, cluster)]
    if claim_of(ask).spec.parameters.extensions or database is not None:
        wished.append(build_database(ask))
    if ask.parameters.backup is not None:
        wished.append(build_scheduled_backup(ask))
    space = ask.claim.namespace
    keys = {"username": "username", "password": "password", "database": "dbname", "port": "port"}
    connection = build_connection(
        "cloudnative-pg",
        f"{name}-rw.{space}.svc",
        {key: SecretKey(space, f"{name}-app", theirs) for key, theirs in keys.items()},
        {},
        ask.parameters.ssl_mode,
        SecretKey(space, f"{name}-ca", "ca.crt"),
    )
    among = {f"{name}-app": SECRETS}
    others = (refs_of(ask)["Database"],)
    return Handed(ask, CloudNativePG.name, "CloudNativePG", tuple(wished), connection, among, others)


# --- objects -------------------------------------------------------------------------------------------------------


def build_cluster(ask: Ask, live: Object | None) -> Object:
    """The Cluster."""
    wish, parameters = claim_of(ask).spec.parameters, ask.parameters
    storage: Object = {"size": wish.storage, "resizeInUseVolumes": True}
    if parameters.storage_class:
        storage["storageClass"] = parameters.storage_class
    resources = parameters.resources
    spec: Object = {
        "instances": parameters.instances,
        "storage": storage,
        "bootstrap": {
            "initdb": {
                "database": DATABASE,
                "owner": DATABASE,
                "encoding": "UTF8",
                "localeCollate": wish.locale,
                "localeCType": wish.locale,
                "dataChecksums": True,
            }
        },
        "resources": {
            "requests": {"cpu": resources.cpu, "memory": resources.memory},
            "limits": {"memory": resources.memory},
        },
        "postgresql": build_settings(parameters),
        "affinity": {
            "enablePodAntiAffinity": True,
            "topologyKey": "kubernetes.io/hostname",
            "podAntiAffinityType": parameters.spread.lower(),
        },
        "enableSuperuserAccess": False,
        **build_image(wish.version, parameters),
        **build_backup(ask, live),
    }
    return handed.build(API_VERSION, "Cluster", name_of(ask), ask.claim, spec)


def build_image(version: str, parameters: Parameters) -> Object:
    """Which PostgreSQL runs."""
    if parameters.image_catalog is None:
        return {"imageName": parameters.images.get(version, "")}
    catalog = parameters.image_catalog
    group = API_VERSION.partition("/")[0]
    return {
        "imageCatalogRef": {"apiGroup": group, "kind": catalog.kind, "name": catalog.name, "major": int(version)},
    }


def build_settings(parameters: Parameters) -> Object:
    found: Object = {"parameters": dict(parameters.postgresql)}
    if parameters.synchronous is not None:
        found["synchronous"] = {
            "method": "any",
            "number": parameters.synchronous.number,
            "dataDurability": parameters.synchronous.durability.lower(),
        }
    return found


def build_backup(ask: Ask, live: Object | None) -> Object:
    """Where backups and the write-ahead log go."""
    backup = ask.parameters.backup
    if backup is None:
        return {}
    server = server_name(ask, live)
    if backup.object_store is not None:
        found = {"barmanObjectName": backup.object_store, "serverName": server}
        return {"plugins": [{"name": PLUGIN, "isWALArchiver": True, "parameters": found}]}
    store = backup.barman_object_store
    keys = store.credentials
    barman: Object = {
        "destinationPath": store.destination_path,
        "serverName": server,
        "s3Credentials": {
            "accessKeyId": {"name": keys.name, "key": keys.access_key_id},
            "secretAccessKey": {"name": keys.name, "key": keys.secret_access_key},
        },
    }
    if store.endpoint_url:
        barman["endpointURL"] = store.endpoint_url
    return {
        "backup": {
            "barmanObjectStore": barman,
            **({"retentionPolicy": store.retention} if store.retention else {}),
        }
    }


def server_name(ask: Ask, live: Object | None) -> str:
    """The folder of a cluster in the object store, which many share: never that of another cluster, not even of one
    that had the same name, as an archive that is not empty is refused. A cluster keeps the one it began with, until
    another major version runs: its archive begins anew, and must not lie among that of the one before."""
    version = claim_of(ask).spec.parameters.version
    spec = (live or {}).get("spec") or {}
    plugins = spec.get("plugins") or [{}]
    for place in (plugins[0].get("parameters"), (spec.get("backup") or {}).get("barmanObjectStore")):
        if isinstance(place, dict) and isinstance(place.get("serverName"), str):
            name = str(place["serverName"])
            same = version_of(ask.parameters, spec) in ("", version)
            return name if same else f"{OF_VERSION.sub('', name)}-{version}"
    return f"{ask.claim.namespace}.{name_of(ask)}.{ask.claim.metadata.uid[:8]}-{version}"


def version_of(parameters: Parameters, spec: Object) -> str:
    """The major version that a Cluster's spec asks for; "" where its image is none of the class's."""
    if isinstance(catalog := spec.get("imageCatalogRef"), dict):
        return str(catalog.get("major", ""))
    return next((version for version, image in parameters.images.items() if image == spec.get("imageName")), "")


def build_database(ask: Ask) -> Object:
    """The extensions of the database. It says nothing of the database itself, which the Cluster makes."""
    extensions = [{"name": name, "ensure": "present"} for name in claim_of(ask).spec.parameters.extensions]
    spec: Object = {
        "cluster": {"name": name_of(ask)},
        "name": DATABASE,
        "owner": DATABASE,
        "databaseReclaimPolicy": "retain",
        "extensions": extensions,
    }
    return handed.build(API_VERSION, "Database", name_of(ask), ask.claim, spec)


def build_scheduled_backup(ask: Ask) -> Object:
    """Base backups: one at once, as the archive alone restores nothing, then as scheduled. Their schedules begin with
    the second."""
    backup = ask.parameters.backup
    plugin = backup.object_store is not None
    spec: Object = {
        "cluster": {"name": name_of(ask)},
        "schedule": f"0 {backup.schedule}",
        "immediate": True,
        "backupOwnerReference": "cluster",
        "method": "plugin" if plugin else "barmanObjectStore",
        **({"pluginConfiguration": {"name": PLUGIN}} if plugin else {}),
    }
    return handed.build(API_VERSION, "ScheduledBackup", name_of(ask), ask.claim, spec)


DRIVERS = (CloudNativePG(),)
