"""PostgreSQL by CloudNativePG: each claim is a Cluster of its own in the claim's namespace.

    claim ──> Cluster ──────────> instances, Services, `<cluster>-app` with the credentials, `<cluster>-ca`
         ├──> Database            the extensions, where some are asked for
         └──> ScheduledBackup     where the class says how to back up

What is backed up, what can be restored, and Clusters that begin with data are in `backups.py`.

Fields and their meaning: CloudNativePG 1.27, "API Reference" (Cluster, Database, ScheduledBackup), "Connecting from an
application" (keys of the Secret), "Certificates" (`<cluster>-ca`, names in the server's certificate), "PostgreSQL
Database Management" (extensions), "PostgreSQL Upgrades" (offline in-place major upgrades; what is refused:
internal/webhook/v1/cluster_webhook.go, `validateImageChange`).
"""

from dataclasses import replace
from typing import Any, Literal

import msgspec

from libresh.api.changes import STORAGE, Change
from libresh.api.claims import Claim
from libresh.drivers import handed
from libresh.drivers.cloudnative_pg import backups, phases
from libresh.drivers.cloudnative_pg.backups import DATABASE, Backup, name_of
from libresh.drivers.handed import Handed
from libresh.drivers.handed_postgresql import (
    INHERITED,
    Instances,
    ObjectName,
    Resources,
    Settings,
    SslMode,
    Unfit,
    build_connection,
    claim_of,
)
from libresh.drivers.model import Ask, Provision, Seen
from libresh.plan.actions import Object, Ref, SecretKey
from libresh.plan.decision import Outcome, Settled, Stalled

API_VERSION = "postgresql.cnpg.io/v1"
SECRETS = "cnpg.io/userType=app"
"""The label of Secrets with the credentials of applications ("Labels and Annotations")."""
IMAGE_MISSING = "ImageMissing"


class Catalog(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A catalog of images by major version. An ImageCatalog must be in the namespace of each claim."""

    name: ObjectName
    kind: Literal["ClusterImageCatalog", "ImageCatalog"] = "ClusterImageCatalog"


class Synchronous(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Replicas that must have a transaction before it is acknowledged."""

    number: Instances = 1
    durability: Literal["Required", "Preferred"] = "Required"
    """Preferred: goes on without them when none is there."""


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
    watches = handed.WATCHES
    inherits = INHERITED
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
        found = ["clone", "expand", "quota"]
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
        return hand_over(ask, Seen()).looks_at

    def began(self, ask: Ask, seen: Seen) -> bool | None:
        """By the record on the Cluster."""
        return handed.began(ask.claim, seen.get(refs_of(ask.claim)["Cluster"]))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        provision = hand_over(ask, seen).plan(seen, standing_of(ask, seen))
        return replace(provision, recovery_window=window_of(ask, seen))


def refs_of(claim: Claim) -> dict[str, Ref]:
    """The objects that may stand for a claim, by their kind."""
    name = name_of(claim)
    return {
        kind: handed.ref_of(handed.build(API_VERSION, kind, name, claim, {}))
        for kind in ("Cluster", "Database", "ScheduledBackup")
    }


def standing_of(ask: Ask, seen: Seen) -> Outcome:
    """How the Cluster stands, then its extensions."""
    refs = refs_of(ask.claim)
    cluster = seen.get(refs["Cluster"])
    standing = phases.standing_of(cluster) if cluster else Settled()
    waits = isinstance(standing, Settled) and claim_of(ask).spec.parameters.extensions
    return (phases.database_standing(seen.get(refs["Database"])) or standing) if waits else standing


def window_of(ask: Ask, seen: Seen) -> dict[str, str]:
    """What can be restored of the claim's data, as CloudNativePG says."""
    cluster = seen.get(refs_of(ask.claim)["Cluster"])
    if ask.parameters.backup is None or cluster is None:
        return {}
    store = backups.store_of(ask.claim, ask.parameters.backup)
    return backups.recovery_window(
        cluster, seen.get(store) if store else None, backups.server_name(claim_of(ask), ask.parameters, cluster)
    )


def hand_over(ask: Ask, seen: Seen) -> Handed:
    """What is wished of the operator."""
    name, space, refs = name_of(ask.claim), ask.claim.namespace, refs_of(ask.claim)
    cluster, backup = seen.get(refs["Cluster"]), ask.parameters.backup
    source = refs_of(ask.origin.claim)["Cluster"] if ask.origin else None
    wished = [build_cluster(ask, cluster, handed.find_origin(ask, source, seen))]
    if claim_of(ask).spec.parameters.extensions or seen.get(refs["Database"]) is not None:
        wished.append(build_database(ask))
    if backup is not None:
        schedule = backups.build_schedule(backup, name)
        wished.append(handed.build(API_VERSION, "ScheduledBackup", name, ask.claim, schedule))
    keys = {"username": "username", "password": "password", "database": "dbname", "port": "port"}
    connection = build_connection(
        "cloudnative-pg",
        f"{name}-rw.{space}.svc",
        {key: SecretKey(space, f"{name}-app", theirs) for key, theirs in keys.items()},
        {},
        ask.parameters.ssl_mode,
        SecretKey(space, f"{name}-ca", "ca.crt"),
    )
    return Handed(
        ask,
        CloudNativePG.name,
        "CloudNativePG",
        tuple(wished),
        connection,
        among={f"{name}-app": SECRETS},
        others=(refs["Database"],),
        reads=tuple(ref for ref in (source, backups.store_of(ask.claim, backup)) if ref is not None),
        awaits=handed.awaited(ask, cluster, handed.find_origin(ask, source, seen), source),
    )


# --- objects -------------------------------------------------------------------------------------------------------


def build_cluster(ask: Ask, live: Object | None, source: Object | None = None) -> Object:
    """The Cluster. `live`: as it is now; `source`: the one that its data is copied from."""
    wish, parameters = claim_of(ask).spec.parameters, ask.parameters
    storage: Object = {"size": wish.storage, "resizeInUseVolumes": True}
    if parameters.storage_class:
        storage["storageClass"] = parameters.storage_class
    resources = parameters.resources
    spec: Object = {
        "instances": parameters.instances,
        "storage": storage,
        **backups.build_beginning(ask, live, source, wish.locale),
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
        **backups.build_backup(parameters.backup, backups.server_name(claim_of(ask), ask.parameters, live)),
    }
    return handed.marked(handed.build(API_VERSION, "Cluster", name_of(ask.claim), ask.claim, spec), ask.claim, live)


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


def build_database(ask: Ask) -> Object:
    """The extensions of the database. It says nothing of the database itself, which the Cluster makes."""
    extensions = [{"name": name, "ensure": "present"} for name in claim_of(ask).spec.parameters.extensions]
    spec: Object = {
        "cluster": {"name": name_of(ask.claim)},
        "name": DATABASE,
        "owner": DATABASE,
        "databaseReclaimPolicy": "retain",
        "extensions": extensions,
    }
    return handed.build(API_VERSION, "Database", name_of(ask.claim), ask.claim, spec)


DRIVERS = (CloudNativePG(),)
