"""Backups of a Cluster of CloudNativePG, what can be restored from them, and Clusters that begin with data.

    backup:   the write-ahead log and base backups go to a folder of the Cluster's own in an object store
    recovery: a new Cluster begins with what is in such a folder, up to a moment
    copy:     a new Cluster begins with what a running one has, by pg_basebackup

Fields and their meaning: CloudNativePG 1.27, "Recovery" (PITR from an object store, application database), "Bootstrap"
(bootstrap from a live cluster, TLS certificate authentication), "API Reference" (ScheduledBackup; ClusterStatus:
firstRecoverabilityPoint and lastSuccessfulBackup, which are not set for plugins), "PostgreSQL Upgrades" (backup and WAL
archive considerations); plugin-barman-cloud 0.11, "Using the Barman Cloud Plugin" (restoring a cluster),
api/v1/objectstore_types.go (status.serverRecoveryWindow).
"""

import re
from datetime import UTC
from typing import Any

import msgspec

from libresh.api.claims import Claim
from libresh.api.database import PostgreSQL
from libresh.drivers import handed
from libresh.drivers.handed_postgresql import ObjectName, Schedule, Unfit
from libresh.drivers.model import Ask, Origin
from libresh.plan import naming
from libresh.plan.actions import Object, Theirs
from libresh.plan.observed import status_of

PLUGIN = "barman-cloud.cloudnative-pg.io"
STORE = naming.composed_kind("barmancloud.cnpg.io/v1", "ObjectStore")
DATABASE = "app"
"""The database and the role that owns it."""
REPLICATION = "streaming_replica"
"""The role by which members copy each other; its certificate is in the Secret `<cluster>-replication`."""
BEGINNING = ("bootstrap", "externalClusters")
"""The fields of a Cluster that say what its data begins with."""
OF_VERSION = re.compile(r"-\d+$")
"""How a folder in the object store ends: with the major version."""


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


def name_of(claim: Claim) -> str:
    """Three more than the claim's 46 letters at most: the operator takes 50."""
    return f"{claim.name}-pg"


# --- backups ---------------------------------------------------------------------------------------------------------


def build_backup(backup: Backup | None, server: str) -> Object:
    """Where the backups and the write-ahead log of a Cluster go. `server`: the folder."""
    if backup is None:
        return {}
    if backup.object_store is not None:
        return {"plugins": [{**build_plugin(backup.object_store, server), "isWALArchiver": True}]}
    store = backup.barman_object_store
    assert store is not None
    retention = {"retentionPolicy": store.retention} if store.retention else {}
    return {"backup": {"barmanObjectStore": build_store(store, server), **retention}}


def build_plugin(store: str, server: str) -> Object:
    return {"name": PLUGIN, "parameters": {"barmanObjectName": store, "serverName": server}}


def build_store(store: ObjectStore, server: str) -> Object:
    keys = store.credentials
    found: Object = {
        "destinationPath": store.destination_path,
        "serverName": server,
        "s3Credentials": {
            "accessKeyId": {"name": keys.name, "key": keys.access_key_id},
            "secretAccessKey": {"name": keys.name, "key": keys.secret_access_key},
        },
    }
    return {**found, "endpointURL": store.endpoint_url} if store.endpoint_url else found


def server_name(claim: PostgreSQL, parameters: Any, live: Object | None) -> str:
    """The folder of a cluster in the object store, which many share: never that of another cluster, not even of one
    that had the same name, as an archive that is not empty is refused. A cluster keeps the one it began with, until
    another major version runs: its archive begins anew, and must not lie among that of the one before."""
    version = claim.spec.parameters.version
    spec = (live or {}).get("spec") or {}
    plugins = spec.get("plugins") or [{}]
    for place in (plugins[0].get("parameters"), (spec.get("backup") or {}).get("barmanObjectStore")):
        if isinstance(place, dict) and isinstance(place.get("serverName"), str):
            name = str(place["serverName"])
            same = version_of(parameters, spec) in ("", version)
            return name if same else f"{OF_VERSION.sub('', name)}-{version}"
    return f"{claim.namespace}.{name_of(claim)}.{claim.metadata.uid[:8]}-{version}"


def version_of(parameters: Any, spec: Object) -> str:
    """The major version that a Cluster's spec asks for; "" where its image is none of the class's."""
    if isinstance(catalog := spec.get("imageCatalogRef"), dict):
        return str(catalog.get("major", ""))
    return next((version for version, image in parameters.images.items() if image == spec.get("imageName")), "")


def build_schedule(backup: Backup, cluster: str) -> Object:
    """Base backups: one at once, as the archive alone restores nothing, then as scheduled. Their schedules begin with
    the second."""
    plugin = backup.object_store is not None
    return {
        "cluster": {"name": cluster},
        "schedule": f"0 {backup.schedule}",
        "immediate": True,
        "backupOwnerReference": "cluster",
        "method": "plugin" if plugin else "barmanObjectStore",
        **({"pluginConfiguration": {"name": PLUGIN}} if plugin else {}),
    }


# --- what can be restored --------------------------------------------------------------------------------------------


def store_of(claim: Claim, backup: Backup | None) -> Theirs | None:
    """The ObjectStore that says what the plugin can restore: somebody else's, one for all claims of a namespace."""
    if backup is None or backup.object_store is None:
        return None
    return Theirs(STORE, backup.object_store, claim.namespace)


def recovery_window(cluster: Object | None, store: Object | None, server: str) -> dict[str, str]:
    """What can be restored. The plugin says so by its ObjectStore, the operator's own means by the Cluster."""
    if store is not None:
        servers = status_of(store).get("serverRecoveryWindow")
        found = servers.get(server) if isinstance(servers, dict) else None
        found = found if isinstance(found, dict) else {}
        return handed.window(found.get("firstRecoverabilityPoint"), found.get("lastSuccessfulBackupTime"))
    status = status_of(cluster or {})
    return handed.window(status.get("firstRecoverabilityPoint"), status.get("lastSuccessfulBackup"))


# --- what data begins with -------------------------------------------------------------------------------------------


def build_beginning(ask: Ask, live: Object | None, source: Object | None, locale: str) -> Object:
    """What the data of a Cluster begins with. `live`: the Cluster, `source`: the one whose data is copied.

    A Cluster that began as a copy keeps those fields, whatever has become of its source: they are read only once.
    """
    if live is not None and handed.is_copy(ask.claim, live):
        return {key: live["spec"][key] for key in BEGINNING if key in live["spec"]}
    application = {"database": DATABASE, "owner": DATABASE}
    wish = ask.claim.source
    if ask.origin is None or wish is None:
        return {"bootstrap": {"initdb": {**application, **build_encoding(locale)}}}
    name = name_of(ask.origin.claim)
    copy: Object = {"source": name, **application}
    if wish.at is None:
        return {"bootstrap": {"pg_basebackup": copy}, "externalClusters": [build_running(name, ask.claim.namespace)]}
    target = {"recoveryTarget": {"targetTime": wish.at.astimezone(UTC).isoformat()}}
    archive = {"name": name, **build_archive(ask.origin, source)}
    return {"bootstrap": {"recovery": {**copy, **target}}, "externalClusters": [archive]}


def build_encoding(locale: str) -> Object:
    return {"encoding": "UTF8", "localeCollate": locale, "localeCType": locale, "dataChecksums": True}


def build_running(name: str, namespace: str) -> Object:
    """A running Cluster of the same namespace as its members reach each other: by a certificate, without a password."""
    return {
        "name": name,
        "connectionParameters": {"host": f"{name}-rw.{namespace}.svc", "user": REPLICATION, "sslmode": "verify-full"},
        "sslKey": {"name": f"{name}-replication", "key": "tls.key"},
        "sslCert": {"name": f"{name}-replication", "key": "tls.crt"},
        "sslRootCert": {"name": f"{name}-ca", "key": "ca.crt"},
    }


def build_archive(origin: Origin, source: Object | None) -> Object:
    """Where the backups of a Cluster are, as its own class has it."""
    backup: Backup | None = origin.parameters.backup
    if backup is None:
        return {}
    assert isinstance(origin.claim, PostgreSQL)
    server = server_name(origin.claim, origin.parameters, source)
    if backup.object_store is not None:
        return {"plugin": build_plugin(backup.object_store, server)}
    assert backup.barman_object_store is not None
    return {"barmanObjectStore": build_store(backup.barman_object_store, server)}
