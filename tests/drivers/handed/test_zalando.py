"""The driver zalando: what it makes of a claim, and what it makes of what the operator says."""

from dataclasses import replace

import pytest
from asking import ask_of, complaint, copy_of, driver_of, plan_with, ref, there, wished

from libresh.drivers.connection import REQUIRED
from libresh.drivers.model import CopyingDriver, Seen
from libresh.drivers.zalando import states
from libresh.plan.actions import From, Literal, Object, SecretKey
from libresh.plan.decision import Settled, Stalled

DRIVER = driver_of("zalando")
SECRET = "app-owner-user.pg-my-db.credentials.postgresql.acid.zalan.do"
KEYS = frozenset({"username", "password"})
BOUND: Object = {"binding": {"name": "my-db-postgresql-connection"}, "driver": "zalando"}


def test_the_object_of_a_claim() -> None:
    ask = ask_of(
        DRIVER,
        {"instances": 3, "synchronous": "Strict", "logicalBackup": "30 0 * * *", "storageClass": "fast"},
        spec={"parameters": {"storage": "5Gi", "extensions": ["pg_trgm"], "locale": "C.UTF-8"}},
    )
    (made,) = wished(DRIVER, ask).values()
    assert (made["apiVersion"], made["kind"]) == ("acid.zalan.do/v1", "postgresql")
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("pg-my-db", "team")
    assert made["spec"] == {
        "teamId": "pg",
        "numberOfInstances": 3,
        "volume": {"size": "5Gi", "storageClass": "fast"},
        "postgresql": {"version": "17", "parameters": {}},
        "resources": {
            "requests": {"cpu": "100m", "memory": "512Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
        "preparedDatabases": {
            "app": {
                "defaultUsers": True,
                "schemas": {"public": {"defaultRoles": False}},
                "extensions": {"pg_trgm": "public"},
            }
        },
        "patroni": {
            "initdb": {"encoding": "UTF8", "locale": "C.UTF-8", "data-checksums": "true"},
            "synchronous_mode": True,
            "synchronous_mode_strict": True,
        },
        "enableLogicalBackup": True,
        "logicalBackupSchedule": "30 0 * * *",
    }


def test_the_connection_is_that_of_the_owners_user() -> None:
    ask = ask_of(DRIVER, {})
    given = plan_with(DRIVER, ask, {"postgresql": {"PostgresClusterStatus": "Running"}}, KEYS).connection
    assert given is not None
    assert set(given) == {*REQUIRED["PostgreSQL"], "sslmode"}
    assert given["host"] == Literal("pg-my-db.team.svc")
    assert given["database"] == Literal("app")
    assert given["username"] == From(SecretKey("team", SECRET, "username"))
    assert given["sslmode"] == Literal("require")


def test_a_certificate_of_ones_own_can_be_verified() -> None:
    tls = {"secretName": "db-tls", "caSecretName": "db-ca"}
    ask = ask_of(DRIVER, {"tls": tls, "sslMode": "verify-full"})
    (made,) = wished(DRIVER, ask).values()
    assert made["spec"]["tls"] == {"secretName": "db-tls", "caFile": "ca.crt", "caSecretName": "db-ca"}
    assert made["spec"]["spiloFSGroup"] == 103, "else PostgreSQL may not read the key"
    running = {"postgresql": {"PostgresClusterStatus": "Running"}}
    given = plan_with(DRIVER, ask, running, KEYS | {"ca.crt"}).connection
    assert given is not None
    assert given["ca.crt"] == From(SecretKey("team", "db-ca", "ca.crt"))
    lacking = plan_with(DRIVER, ask, running, KEYS).outcome
    assert "Waiting for ca.crt in the Secret team/db-ca" in lacking.message


@pytest.mark.parametrize("word", sorted(states.STATES))
@pytest.mark.parametrize("bound", [False, True])
def test_every_state_is_told_in_plain_words(word: str, bound: bool) -> None:
    known = states.STATES[word]
    ask = ask_of(DRIVER, {}, status=BOUND if bound else {})
    found = plan_with(DRIVER, ask, {"postgresql": {"PostgresClusterStatus": word}}, KEYS).outcome
    assert not isinstance(found, Settled)
    assert known.meaning in found.message
    assert f"({word})" in found.message or not word
    assert isinstance(found, Stalled) == bool(known.way_out)
    assert found.ready == (bound and known.usable)


def test_a_state_of_tomorrow_is_repeated() -> None:
    ask = ask_of(DRIVER, {}, status=BOUND)
    found = plan_with(DRIVER, ask, {"postgresql": {"PostgresClusterStatus": "Levitating"}}, KEYS).outcome
    assert not isinstance(found, Settled)
    assert "not known to libre.sh (Levitating)" in found.message
    assert not found.ready


def test_an_upgrade_that_failed_is_told_although_it_runs() -> None:
    live: Object = {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "postgresql",
        "metadata": {
            "name": "pg-my-db",
            "namespace": "team",
            "annotations": {"last-major-upgrade-failure": "2026-11-01T10:00:00Z"},
        },
        "spec": {"postgresql": {"version": "18"}},
        "status": {"PostgresClusterStatus": "Running"},
    }
    found = states.standing_of(live, bound=True)
    assert isinstance(found, Stalled)
    assert found.ready
    assert "is running, but could not be brought to PostgreSQL 18" in found.message
    assert "set spec.parameters.version back" in found.message


def test_a_name_that_is_too_long_is_refused() -> None:
    ask = ask_of(DRIVER, {"teamId": "a-team-with-quite-a-long-name"})
    assert DRIVER.refuse(ask) is None
    ask.claim.metadata.name = "n" * 46
    stop = DRIVER.refuse(ask)
    assert stop is not None
    assert stop.message.startswith("metadata.name: the cluster would be called a-team-")
    assert DRIVER.refuse(ask_of(DRIVER, {})) is None


REFUSED = {
    "verified without a certificate": ({"sslMode": "verify-full"}, "sslMode: verify-full needs tls"),
    "synchronous alone": ({"synchronous": "On"}, "synchronous: there is no replica with one instance"),
    "a team that is no name": ({"teamId": "Team"}, "$.teamId"),
    "a schedule in words": ({"logicalBackup": "nightly"}, "$.logicalBackup"),
    "a misspelt parameter": ({"team": "pg"}, "unknown field `team`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parameters_that_are_refused(case: str) -> None:
    parameters, words = REFUSED[case]
    assert words in complaint(DRIVER, parameters)


CAPABILITIES: dict[str, tuple[Object, set[str]]] = {
    "two members": ({"instances": 2}, {"clone", "expand", "quota"}),
    "three": ({"instances": 3}, {"clone", "expand", "ha", "quota"}),
    "an archive": ({"archive": True}, {"clone", "expand", "pitr", "quota"}),
}


@pytest.mark.parametrize("case", CAPABILITIES)
def test_what_it_can_do(case: str) -> None:
    parameters, wanted = CAPABILITIES[case]
    assert set(DRIVER.capabilities(ask_of(DRIVER, parameters).parameters)) == wanted


WHEN = "2026-01-31T13:30:00+01:00"
CLONES: dict[str, tuple[str | None, Object, str]] = {
    "of now": (None, {"cluster": "web-old"}, "old"),
    "of a moment": (
        WHEN,
        {"cluster": "web-old", "uid": "uid-of-old", "timestamp": "2026-01-31T12:30:00+00:00"},
        "old@2026-01-31T12:30:00+00:00",
    ),
}


@pytest.mark.parametrize("case", CLONES)
def test_a_clone(case: str) -> None:
    at, clone, record = CLONES[case]
    ask = copy_of(DRIVER, {}, {"teamId": "web"}, at=at)
    assert ask.origin is not None
    source = there(DRIVER, {"teamId": "web"}, ask.origin.claim)
    (made,) = wished(DRIVER, ask, Seen({ref(source): source})).values()
    assert made["spec"]["clone"] == clone
    assert made["metadata"]["annotations"] == {"libre.sh/began-with": record}
    for later in (replace(ask, origin=None), ask_of(DRIVER, {})):
        assert list(wished(DRIVER, later, Seen({ref(made): made})).values()) == [made]
    running = plan_with(DRIVER, ask, {"postgresql": {"PostgresClusterStatus": "Running"}}, KEYS, [made])
    assert running.connection is not None
    assert running.connection["password"] == From(SecretKey("team", SECRET, "password"))
    creating = plan_with(DRIVER, ask, {"postgresql": {"PostgresClusterStatus": "Creating"}}, KEYS, [made])
    assert (
        "is being copied; if that lasts, see kubectl logs -n team -l cluster-name=pg-my-db" in creating.outcome.message
    )


def test_nothing_is_made_while_there_is_nothing_to_clone() -> None:
    ask = copy_of(DRIVER, {}, {})
    for asked in (ask, replace(ask, origin=None)):
        provision = DRIVER.plan(asked, Seen())
        assert provision.actions == ()
        assert "is not there: there is nothing to copy yet" in provision.outcome.message
        assert [each.name for each in provision.kept] == ["pg-my-db"]


def test_what_data_began_with_is_on_record() -> None:
    driver: CopyingDriver = DRIVER  # type: ignore[assignment]
    ask = copy_of(DRIVER, {}, {})
    empty = there(DRIVER, {}, ask_of(DRIVER, {}).claim)
    assert driver.began(ask, Seen()) is None
    assert driver.began(ask, Seen({ref(empty): empty})) is False


@pytest.mark.parametrize(("asked", "most"), [("100m", "1"), ("1", "1"), ("1500m", "1500m"), ("2", "2"), ("0.5", "1")])
def test_the_most_of_the_processor(asked: str, most: str) -> None:
    (made,) = wished(DRIVER, ask_of(DRIVER, {"resources": {"cpu": asked}})).values()
    assert made["spec"]["resources"]["limits"]["cpu"] == most
