"""The driver cloudnative-pg: what it makes of a claim, and what it makes of what the operator says."""

from typing import Any

import pytest
from asking import ask_of, complaint, driver_of, plan_with, wished

from libresh.drivers.cloudnative_pg import phases
from libresh.drivers.cloudnative_pg.driver import build_cluster
from libresh.drivers.connection import OPTIONAL, REQUIRED
from libresh.plan.actions import From, Literal, Object, SecretKey, Template
from libresh.plan.decision import Settled, Stalled, Waiting

DRIVER = driver_of("cloudnative-pg")
IMAGES = {"images": {"17": "images.example.org/postgresql:17"}}
KEYS = frozenset({"username", "password", "dbname", "port", "ca.crt", "ca.key"})
HEALTHY: Object = {"phase": phases.HEALTHY, "readyInstances": 3}
APPLIED: Object = {"applied": True, "observedGeneration": 1}


def outcome(status: Object, *, spec: Object | None = None, database: Object | None = None, **parameters: Any) -> Any:
    ask = ask_of(DRIVER, {**IMAGES, "instances": 3, **parameters}, spec=spec)
    return plan_with(DRIVER, ask, {"Cluster": status, "Database": database or APPLIED}, KEYS).outcome


def test_the_cluster_of_a_claim() -> None:
    ask = ask_of(DRIVER, {**IMAGES, "instances": 3, "storageClass": "fast", "synchronous": {"number": 1}})
    (cluster,) = wished(DRIVER, ask).values()
    assert cluster["apiVersion"] == "postgresql.cnpg.io/v1"
    assert (cluster["metadata"]["name"], cluster["metadata"]["namespace"]) == ("my-db-pg", "team")
    assert cluster["spec"] == {
        "instances": 3,
        "imageName": "images.example.org/postgresql:17",
        "storage": {"size": "5Gi", "resizeInUseVolumes": True, "storageClass": "fast"},
        "bootstrap": {
            "initdb": {
                "database": "app",
                "owner": "app",
                "encoding": "UTF8",
                "localeCollate": "C",
                "localeCType": "C",
                "dataChecksums": True,
            }
        },
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "postgresql": {
            "parameters": {},
            "synchronous": {"method": "any", "number": 1, "dataDurability": "required"},
        },
        "affinity": {
            "enablePodAntiAffinity": True,
            "topologyKey": "kubernetes.io/hostname",
            "podAntiAffinityType": "required",
        },
        "enableSuperuserAccess": False,
    }


def test_an_image_by_catalog() -> None:
    ask = ask_of(DRIVER, {"imageCatalog": {"name": "postgresql"}})
    (cluster,) = wished(DRIVER, ask).values()
    assert cluster["spec"]["imageCatalogRef"] == {
        "apiGroup": "postgresql.cnpg.io",
        "kind": "ClusterImageCatalog",
        "name": "postgresql",
        "major": 17,
    }
    assert "imageName" not in cluster["spec"]


def test_extensions_are_a_database_of_the_operators() -> None:
    ask = ask_of(DRIVER, IMAGES, spec={"parameters": {"extensions": ["pg_trgm", "citext"]}})
    database = wished(DRIVER, ask)["Database"]
    assert database["spec"] == {
        "cluster": {"name": "my-db-pg"},
        "name": "app",
        "owner": "app",
        "databaseReclaimPolicy": "retain",
        "extensions": [{"name": "pg_trgm", "ensure": "present"}, {"name": "citext", "ensure": "present"}],
    }


def test_backups_by_the_plugin() -> None:
    ask = ask_of(DRIVER, {**IMAGES, "backup": {"schedule": "0 3 * * *", "objectStore": "offsite"}})
    made = wished(DRIVER, ask)
    assert made["Cluster"]["spec"]["plugins"] == [
        {
            "name": "barman-cloud.cloudnative-pg.io",
            "isWALArchiver": True,
            "parameters": {"barmanObjectName": "offsite", "serverName": "team.my-db-pg.12345678-17"},
        }
    ]
    assert made["ScheduledBackup"]["spec"] == {
        "cluster": {"name": "my-db-pg"},
        "schedule": "0 0 3 * * *",
        "immediate": True,
        "backupOwnerReference": "cluster",
        "method": "plugin",
        "pluginConfiguration": {"name": "barman-cloud.cloudnative-pg.io"},
    }


def test_backups_by_its_own_means() -> None:
    store = {
        "destinationPath": "s3://backups/",
        "endpointURL": "https://s3.example.org",
        "credentials": {"name": "keys"},
        "retention": "30d",
    }
    ask = ask_of(DRIVER, {**IMAGES, "backup": {"schedule": "0 3 * * 0", "barmanObjectStore": store}})
    made = wished(DRIVER, ask)
    assert made["Cluster"]["spec"]["backup"] == {
        "retentionPolicy": "30d",
        "barmanObjectStore": {
            "destinationPath": "s3://backups/",
            "endpointURL": "https://s3.example.org",
            "serverName": "team.my-db-pg.12345678-17",
            "s3Credentials": {
                "accessKeyId": {"name": "keys", "key": "access-key-id"},
                "secretAccessKey": {"name": "keys", "key": "secret-access-key"},
            },
        },
    }
    assert made["ScheduledBackup"]["spec"]["method"] == "barmanObjectStore"


STORE = {"destinationPath": "s3://b/", "credentials": {"name": "keys"}}
BY_CATALOG = {"imageCatalog": {"name": "postgresql"}}
BOTH = {"images": {"17": "images.example.org/postgresql:17", "18": "images.example.org/postgresql:18"}}


@pytest.mark.parametrize("images", [BOTH, BY_CATALOG], ids=["images", "catalog"])
@pytest.mark.parametrize("where", [{"objectStore": "offsite"}, {"barmanObjectStore": STORE}], ids=["plugin", "own"])
def test_another_major_version_has_an_archive_of_its_own_and_the_way_back_is_the_same(
    images: Object, where: Object
) -> None:
    parameters = {**images, "backup": {"schedule": "0 3 * * *", **where}}
    live: Object | None = None
    names = []
    for version in ("17", "17", "18", "18", "17"):
        found = ask_of(DRIVER, parameters, spec={"parameters": {"version": version}})
        live = build_cluster(found, live)
        spec = live["spec"]
        place = spec["plugins"][0]["parameters"] if "plugins" in spec else spec["backup"]["barmanObjectStore"]
        names.append(place["serverName"].removeprefix("team.my-db-pg.12345678"))
    assert names == ["-17", "-17", "-18", "-18", "-17"]


def test_the_connection_has_the_authority_and_says_how_to_use_tls() -> None:
    ask = ask_of(DRIVER, {**IMAGES, "instances": 3, "sslMode": "verify-full"})
    given = plan_with(DRIVER, ask, {"Cluster": HEALTHY}, KEYS).connection
    assert given is not None
    assert set(given) == {*REQUIRED["PostgreSQL"], *OPTIONAL["PostgreSQL"]} - {"sslrootcert"}
    assert given["host"] == Literal("my-db-pg-rw.team.svc")
    assert given["database"] == From(SecretKey("team", "my-db-pg-app", "dbname"))
    assert given["ca.crt"] == From(SecretKey("team", "my-db-pg-ca", "ca.crt"))
    assert given["sslmode"] == Literal("verify-full")
    uri = given["uri"]
    assert isinstance(uri, Template)
    assert uri.text.endswith("?sslmode=verify-full")


def test_a_key_that_is_missing_is_named() -> None:
    ask = ask_of(DRIVER, {**IMAGES, "instances": 3})
    provision = plan_with(DRIVER, ask, {"Cluster": HEALTHY}, KEYS - {"dbname"})
    assert provision.connection is None
    assert provision.outcome == Waiting(
        "CredentialsMissing", "Waiting for dbname in the Secret team/my-db-pg-app, which CloudNativePG makes"
    )


@pytest.mark.parametrize("phase", sorted(phases.PHASES))
def test_every_phase_is_told_in_plain_words(phase: str) -> None:
    known = phases.PHASES[phase]
    found = outcome({"phase": phase, "phaseReason": "because", "readyInstances": 2})
    assert not isinstance(found, Settled)
    assert f': {known.meaning} ("{phase}"): because' in found.message
    assert isinstance(found, Stalled) == bool(known.way_out)
    assert found.ready == known.usable
    assert known.way_out in found.message
    assert not outcome({"phase": phase, "readyInstances": 0}).ready


CASES = {
    "healthy": (HEALTHY, True, "Settled", "is ready"),
    "nothing said": ({}, False, "ComposedNotReady", "has not said anything of it yet"),
    "a phase of tomorrow": ({"phase": "Levitating", "readyInstances": 3}, False, "ComposedNotReady", '"Levitating"'),
    "an instance lacks": ({**HEALTHY, "readyInstances": 2}, True, "ComposedNotReady", "2 of 3 instances are ready"),
    "none is ready": ({**HEALTHY, "readyInstances": 0}, False, "ComposedNotReady", "0 of 3 instances"),
    "volumes grow": ({**HEALTHY, "resizingPVC": ["my-db-pg-1"]}, True, "VolumePending", "my-db-pg-1 are still growing"),
    "archiving fails": (
        HEALTHY | {"conditions": [{"type": "ContinuousArchiving", "status": "False", "message": "no such bucket"}]},
        True,
        "ArchivingFails",
        "no moment can be restored: no such bucket",
    ),
    "a backup failed": (
        HEALTHY | {"conditions": [{"type": "LastBackupSucceeded", "status": "False", "reason": "LastBackupFailed"}]},
        True,
        "BackupFails",
        "its last backup failed: it does not say why",
    ),
    "a backup runs": (
        HEALTHY | {"conditions": [{"type": "LastBackupSucceeded", "status": "False", "reason": "BackupStarted"}]},
        True,
        "Settled",
        "is ready",
    ),
    "a status of another shape": ({"phase": 7, "readyInstances": "3"}, False, "ComposedNotReady", "has not said"),
}


@pytest.mark.parametrize("case", CASES)
def test_how_it_stands(case: str) -> None:
    status, ready, reason, words = CASES[case]
    found = outcome(status)
    assert found.reason == reason
    assert words in found.message
    assert (isinstance(found, Settled) or found.ready) == ready


DATABASES = {
    "applied": (APPLIED, "Settled"),
    "nothing said": ({"observedGeneration": 1}, "ComposedNotReady"),
    "refused": ({"applied": False, "message": "no such extension", "observedGeneration": 1}, "ComposedFailed"),
}


@pytest.mark.parametrize("case", DATABASES)
def test_the_extensions_stand_in_the_way_until_they_are_there(case: str) -> None:
    status, reason = DATABASES[case]
    found = outcome(HEALTHY, spec={"parameters": {"extensions": ["pg_trgm"]}}, database=status)
    assert found.reason == reason


CAPABILITIES = {
    "one instance": ({}, {"expand", "quota"}),
    "two": ({"instances": 2}, {"expand", "quota"}),
    "three": ({"instances": 3}, {"expand", "quota", "ha"}),
    "three that may share a node": ({"instances": 3, "spread": "Preferred"}, {"expand", "quota"}),
    "backups": ({"backup": {"schedule": "0 3 * * *", "objectStore": "o"}}, {"expand", "quota", "pitr"}),
}


@pytest.mark.parametrize("case", CAPABILITIES)
def test_what_it_can_do(case: str) -> None:
    parameters, wanted = CAPABILITIES[case]
    assert set(DRIVER.capabilities(ask_of(DRIVER, {**IMAGES, **parameters}).parameters)) == wanted


REFUSED = {
    "no image": ({}, "images: set one of images and imageCatalog"),
    "two ways to an image": ({**IMAGES, "imageCatalog": {"name": "c"}}, "images: set one of"),
    "too many synchronous": (
        {**IMAGES, "instances": 2, "synchronous": {"number": 2}},
        "synchronous.number: 2 of 2 instances cannot be replicas",
    ),
    "a backup to nowhere": ({**IMAGES, "backup": {"schedule": "0 3 * * *"}}, "backup: set one of objectStore"),
    "six fields of a schedule": (
        {**IMAGES, "backup": {"schedule": "0 0 3 * * *", "objectStore": "o"}},
        "$.backup.schedule",
    ),
    "no instance": ({**IMAGES, "instances": 0}, "$.instances"),
    "memory in words": ({**IMAGES, "resources": {"memory": "much"}}, "$.resources.memory"),
    "no TLS": ({**IMAGES, "sslMode": "disable"}, "$.sslMode"),
    "a misspelt parameter": ({**IMAGES, "instance": 3}, "unknown field `instance`"),
    "a setting that is no word": ({**IMAGES, "postgresql": {"a b": "1"}}, "postgresql"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parameters_that_are_refused(case: str) -> None:
    parameters, words = REFUSED[case]
    assert words in complaint(DRIVER, parameters)


def test_a_version_without_an_image_is_refused() -> None:
    ask = ask_of(DRIVER, {"images": {"18": "images.example.org/postgresql:18"}})
    stop = DRIVER.refuse(ask)
    assert stop is not None
    assert stop.message.startswith("spec.parameters.version: ServiceClass handed has no image of PostgreSQL 17")
    assert DRIVER.refuse(ask_of(DRIVER, IMAGES)) is None
