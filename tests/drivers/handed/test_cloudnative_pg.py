"""The driver cloudnative-pg: what it makes of a claim, and what it makes of what the operator says."""

from dataclasses import replace
from typing import Any

import pytest
from asking import ask_of, complaint, copy_of, driver_of, plan_with, ref, there, wished

from libresh.drivers.cloudnative_pg import backups, phases
from libresh.drivers.cloudnative_pg.driver import build_cluster
from libresh.drivers.connection import OPTIONAL, REQUIRED
from libresh.drivers.model import Ask, CopyingDriver, Seen
from libresh.plan.actions import From, Literal, Object, Ref, SecretKey, Template, Theirs
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


# --- data that is another claim's at first ----------------------------------------------------------------------------

STORE = {
    "destinationPath": "s3://backups/",
    "endpointURL": "https://s3.example.org",
    "credentials": {"name": "keys"},
}
BY_PLUGIN: Object = {**IMAGES, "backup": {"schedule": "0 3 * * *", "objectStore": "offsite"}}
BY_ITSELF: Object = {**IMAGES, "backup": {"schedule": "0 3 * * *", "barmanObjectStore": STORE}}
APPLICATION = {"database": "app", "owner": "app"}
WHEN = "2026-01-31T13:30:00+01:00"


def with_source(ask: Ask, parameters: Object = IMAGES, **spec: Any) -> Seen:
    """As if the Cluster of the source were there."""
    assert ask.origin is not None
    found = there(DRIVER, parameters, ask.origin.claim, **spec)
    return Seen({ref(found): found})


def beginning(ask: Ask, seen: Seen) -> Object:
    spec = wished(DRIVER, ask, seen)["Cluster"]["spec"]
    return {key: spec[key] for key in ("bootstrap", "externalClusters") if key in spec}


def test_a_copy_of_a_running_database_is_made_by_its_members_own_certificate() -> None:
    ask = copy_of(DRIVER, IMAGES, IMAGES)
    made = wished(DRIVER, ask, with_source(ask))["Cluster"]
    assert beginning(ask, with_source(ask)) == {
        "bootstrap": {"pg_basebackup": {"source": "old-pg", **APPLICATION}},
        "externalClusters": [
            {
                "name": "old-pg",
                "connectionParameters": {
                    "host": "old-pg-rw.team.svc",
                    "user": "streaming_replica",
                    "sslmode": "verify-full",
                },
                "sslKey": {"name": "old-pg-replication", "key": "tls.key"},
                "sslCert": {"name": "old-pg-replication", "key": "tls.crt"},
                "sslRootCert": {"name": "old-pg-ca", "key": "ca.crt"},
            }
        ],
    }
    assert made["metadata"]["annotations"] == {"libre.sh/began-with": "old"}
    given = plan_with_source(ask).connection
    assert given is not None
    assert given["password"] == From(SecretKey("team", "my-db-pg-app", "password"))


def plan_with_source(ask: Ask) -> Any:
    """What is concluded once the copy is there and healthy."""
    (cluster,) = wished(DRIVER, ask, with_source(ask)).values()
    return plan_with(DRIVER, replace(ask, origin=None), {"Cluster": HEALTHY}, KEYS, [cluster])


ARCHIVES: dict[str, tuple[Object, Object]] = {
    "by the plugin": (
        BY_PLUGIN,
        {
            "plugin": {
                "name": "barman-cloud.cloudnative-pg.io",
                "parameters": {"barmanObjectName": "offsite", "serverName": "team.old-pg.abcdefgh-17"},
            }
        },
    ),
    "by the operator's own means": (
        BY_ITSELF,
        {
            "barmanObjectStore": {
                "destinationPath": "s3://backups/",
                "endpointURL": "https://s3.example.org",
                "serverName": "team.old-pg.abcdefgh-17",
                "s3Credentials": {
                    "accessKeyId": {"name": "keys", "key": "access-key-id"},
                    "secretAccessKey": {"name": "keys", "key": "secret-access-key"},
                },
            }
        },
    ),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_moment_is_restored_from_the_sources_archive(case: str) -> None:
    theirs, place = ARCHIVES[case]
    ask = copy_of(DRIVER, BY_PLUGIN, theirs, at=WHEN)
    seen = with_source(ask, theirs)
    moment = {"recoveryTarget": {"targetTime": "2026-01-31T12:30:00+00:00"}}
    assert beginning(ask, seen) == {
        "bootstrap": {"recovery": {"source": "old-pg", **APPLICATION, **moment}},
        "externalClusters": [{"name": "old-pg", **place}],
    }
    made = wished(DRIVER, ask, seen)["Cluster"]
    assert made["metadata"]["annotations"] == {"libre.sh/began-with": "old@2026-01-31T12:30:00+00:00"}
    own = made["spec"]["plugins"][0]["parameters"]
    assert own["serverName"] == "team.my-db-pg.12345678-17", "an archive that is not empty is refused"


def test_a_source_that_keeps_another_folder_is_looked_for_there() -> None:
    ask = copy_of(DRIVER, IMAGES, BY_PLUGIN, at=WHEN)
    folder = [{"name": backups.PLUGIN, "parameters": {"barmanObjectName": "offsite", "serverName": "of-long-ago"}}]
    (archive,) = beginning(ask, with_source(ask, BY_PLUGIN, plugins=folder))["externalClusters"]
    assert archive["plugin"]["parameters"]["serverName"] == "of-long-ago"


def test_a_copy_stays_what_it_is_whatever_becomes_of_its_source() -> None:
    ask = copy_of(DRIVER, IMAGES, IMAGES)
    made = wished(DRIVER, ask, with_source(ask))["Cluster"]
    for later in (replace(ask, origin=None), ask, ask_of(DRIVER, IMAGES)):
        assert wished(DRIVER, later, Seen({ref(made): made}))["Cluster"] == made


def test_a_record_that_somebody_takes_away_comes_back() -> None:
    ask = copy_of(DRIVER, IMAGES, IMAGES, status={"driver": "cloudnative-pg"})
    made = wished(DRIVER, ask, with_source(ask))["Cluster"]
    bare = {**made, "metadata": {**made["metadata"], "annotations": {}}}
    driver: CopyingDriver = DRIVER  # type: ignore[assignment]
    assert driver.began(ask, Seen({ref(made): bare})) is True
    assert wished(DRIVER, replace(ask, origin=None), Seen({ref(made): bare}))["Cluster"] == {
        **bare,
        "metadata": {**bare["metadata"], "annotations": {"libre.sh/began-with": "old"}},
    }


def test_nothing_is_made_while_there_is_nothing_to_copy() -> None:
    ask = copy_of(DRIVER, BY_PLUGIN, IMAGES)
    somebody = with_source(ask)
    for obj in somebody.objects.values():
        assert obj is not None
        obj["metadata"]["labels"]["libre.sh/kept-for"] = "PostgreSQL.other"
    for asked, seen in ((ask, Seen()), (ask, somebody), (replace(ask, origin=None), Seen())):
        provision = DRIVER.plan(asked, seen)
        assert provision.actions == ()
        assert "is not there: there is nothing to copy yet" in provision.outcome.message
        assert {each.kind.partition(".")[0] for each in provision.kept} == {"Cluster", "Database", "ScheduledBackup"}


def test_what_data_began_with_is_on_record() -> None:
    driver: CopyingDriver = DRIVER  # type: ignore[assignment]
    ask = copy_of(DRIVER, IMAGES, IMAGES)
    made = wished(DRIVER, ask, with_source(ask))["Cluster"]
    empty = there(DRIVER, IMAGES, ask_of(DRIVER, IMAGES).claim)
    assert driver.began(ask, Seen()) is None
    assert driver.began(ask, Seen({ref(made): made})) is True
    assert driver.began(ask, Seen({ref(empty): empty})) is False
    assert driver.began(copy_of(DRIVER, IMAGES, BY_PLUGIN, at=WHEN), Seen({ref(made): made})) is False


WINDOWS: dict[str, tuple[Object, Object, Object, dict[str, str]]] = {
    "by the Cluster": (
        BY_ITSELF,
        {"firstRecoverabilityPoint": "2026-01-01T04:00:00+01:00", "lastSuccessfulBackup": "2026-01-31T03:00:00Z"},
        {},
        {"earliest": "2026-01-01T03:00:00Z", "latest": "2026-01-31T03:00:00Z"},
    ),
    "by the plugin": (
        BY_PLUGIN,
        {"firstRecoverabilityPoint": "2020-01-01T00:00:00Z"},
        {
            "serverRecoveryWindow": {
                "team.my-db-pg.12345678-17": {
                    "firstRecoverabilityPoint": "2026-01-01T03:00:00Z",
                    "lastSuccessfulBackupTime": "2026-01-31T03:00:00Z",
                }
            }
        },
        {"earliest": "2026-01-01T03:00:00Z", "latest": "2026-01-31T03:00:00Z"},
    ),
    "of another server": (BY_PLUGIN, {}, {"serverRecoveryWindow": {"team.old-pg.x": {}}}, {}),
    "nothing yet": (BY_ITSELF, {}, {}, {}),
    "no time": (BY_ITSELF, {"firstRecoverabilityPoint": "soon", "lastSuccessfulBackup": 7}, {}, {}),
    "a time before all time": (BY_ITSELF, {"firstRecoverabilityPoint": "0001-01-01T00:00:00+05:00"}, {}, {}),
    "a time of no place": (BY_ITSELF, {"firstRecoverabilityPoint": "2026-01-01T03:00:00"}, {}, {}),
    "another shape": (BY_PLUGIN, {}, {"serverRecoveryWindow": []}, {}),
    "no backups": (IMAGES, {"firstRecoverabilityPoint": "2026-01-01T03:00:00Z"}, {}, {}),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_what_can_be_restored(case: str) -> None:
    parameters, cluster, store, wanted = WINDOWS[case]
    ask = ask_of(DRIVER, parameters)
    made = there(DRIVER, parameters, ask.claim) | {"status": cluster}
    objects: dict[Ref, Object | None] = {ref(made): made}
    place = next((each for each in DRIVER.looks_at(ask) if each.kind == backups.STORE), None)
    assert (place is not None) == (parameters is BY_PLUGIN)
    if place is not None:
        assert place == Theirs(backups.STORE, "offsite", "team")
        assert isinstance(place, Theirs)
        objects[place] = {"metadata": {"name": "offsite"}, "status": store}
    assert DRIVER.plan(ask, Seen(objects)).recovery_window == wanted


def annotated(status: Object, annotations: Object) -> Any:
    ask = ask_of(DRIVER, {**IMAGES, "instances": 3})
    made = there(DRIVER, {**IMAGES, "instances": 3}, ask.claim)
    found = {**made, "metadata": {**made["metadata"], "annotations": annotations}, "status": status}
    return phases.standing_of(found)


def test_what_people_do_by_annotations_is_told() -> None:
    asleep = annotated({**HEALTHY, "readyInstances": 0}, {"cnpg.io/hibernation": "on"})
    assert isinstance(asleep, Stalled)
    assert "is hibernated" in asleep.message
    assert "take the annotation cnpg.io/hibernation from it" in asleep.message
    assert isinstance(annotated(HEALTHY, {"cnpg.io/hibernation": "off"}), Settled)
    fenced = annotated({**HEALTHY, "readyInstances": 2}, {"cnpg.io/fencedInstances": '["my-db-pg-3"]'})
    assert fenced.ready
    assert '2 of 3 instances are ready; somebody stopped ["my-db-pg-3"]: kubectl cnpg fencing off' in fenced.message


def test_where_to_look_while_data_is_copied() -> None:
    first = {"phase": phases.FIRST}
    told = annotated(first, {"libre.sh/began-with": "old"}).message
    assert "its data is being copied; if that lasts, see kubectl logs -n team -l cnpg.io/cluster=my-db-pg" in told
    assert "copied" not in annotated(first, {}).message


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
    "instances differ": (
        HEALTHY | {"conditions": [{"type": "ConsistentSystemID", "status": "False", "reason": "Mismatch"}]},
        True,
        "InstancesDiffer",
        "its instances do not have the same data",
    ),
    "an instance has not yet said": (
        HEALTHY | {"conditions": [{"type": "ConsistentSystemID", "status": "False", "reason": "NotFound"}]},
        True,
        "Settled",
        "is ready",
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
    "one instance": ({}, {"clone", "expand", "quota"}),
    "two": ({"instances": 2}, {"clone", "expand", "quota"}),
    "three": ({"instances": 3}, {"clone", "expand", "quota", "ha"}),
    "three that may share a node": ({"instances": 3, "spread": "Preferred"}, {"clone", "expand", "quota"}),
    "backups": ({"backup": {"schedule": "0 3 * * *", "objectStore": "o"}}, {"clone", "expand", "quota", "pitr"}),
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
