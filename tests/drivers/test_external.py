"""Accounts on servers somebody else runs: their names, what an errand is told and may reach, what classes may say."""

import itertools
import json
from typing import Any

import msgspec
import pytest

from laws import samples
from libresh.api.meta import ObjectMeta
from libresh.drivers import drivers
from libresh.drivers.external_postgresql.driver import name_of
from libresh.drivers.external_redis.driver import prefix_of, user_of
from libresh.drivers.model import Ask, Seen
from libresh.plan.actions import From, Mint, Object, Ref
from libresh.plan.decision import Stalled, Waiting
from libresh.plan.observed import last_words

POSTGRESQL, REDIS = drivers()["PostgreSQL", "external"], drivers()["Redis", "external"]
PLACES = [("a-b", "c"), ("a", "b-c"), ("a-b-c", "d"), ("n" * 63, "x" * 46), ("n" * 63, "x" * 45 + "y"), ("a", "b")]


def ask(driver: Any, namespace: str = "team", name: str = "sample", **parameters: Any) -> Ask:
    claim = samples.sample_claim(driver, name)
    claim.metadata = ObjectMeta(name=name, namespace=namespace, uid=f"uid-of-{name}")
    given = msgspec.convert(samples.class_parameters(driver) | parameters, driver.parameters)
    return Ask(claim, "sample-class", given, True, samples.SETTINGS)


def planned(found: Ask, driver: Any = POSTGRESQL, seen: Seen | None = None) -> tuple[Any, ...]:
    everything = samples.everything_seen(driver, driver.looks_at(found))
    provision = driver.plan(found, seen or everything)
    return (*provision.actions, provision.outcome)


def applied(found: tuple[Any, ...], kind: str) -> Object:
    (obj,) = [obj for obj in samples.applied(found) if obj["kind"] == kind]
    return obj


def job(found: Ask, driver: Any = POSTGRESQL) -> Object:
    return applied(planned(found, driver), "Job")


# --- names -------------------------------------------------------------------------------------------------------


def test_a_role_is_a_whole_name_for_postgresql_and_no_other_claims() -> None:
    for prefix in ("", "coop_", "p" * 20):
        names = [name_of(ask(POSTGRESQL, *place, namePrefix=prefix)) for place in PLACES]
        assert len(set(names)) == len(PLACES)
        for name in names:
            assert len(name.encode()) <= 63
            assert name.startswith(prefix)
            assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


def test_no_prefix_of_a_cache_begins_another() -> None:
    asks = [ask(REDIS, *place) for place in PLACES]
    for one, other in itertools.permutations(asks, 2):
        assert not prefix_of(one).startswith(prefix_of(other))
        assert user_of(one) != user_of(other)
    assert not any(letter in prefix_of(each) for each in asks for letter in "*?[]\\^ ")


def test_jobs_of_the_longest_names_have_names_of_their_own() -> None:
    names = {job(ask(POSTGRESQL, *place))["metadata"]["name"] for place in PLACES}
    names |= {job(ask(REDIS, *place), REDIS)["metadata"]["name"] for place in PLACES}
    assert len(names) == 2 * len(PLACES)
    assert max(map(len, names)) <= 63


# --- an errand ---------------------------------------------------------------------------------------------------


def test_an_errand_lies_beside_the_administrator_and_reaches_the_server_alone() -> None:
    found = planned(ask(POSTGRESQL, port=6432))
    policy = applied(found, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 6432]
    for obj in samples.applied(found):
        assert obj["metadata"]["namespace"] == "libresh-system"
        assert obj["metadata"]["labels"]["libre.sh/owner-uid"] == "uid-of-sample"
    pod = applied(found, "Job")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "OnFailure"


def test_an_order_has_no_secret_and_secrets_come_as_files() -> None:
    found = planned(ask(POSTGRESQL, extensions=["postgis"]))
    (container,) = applied(found, "Job")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["postgresql", "provide"]
    (order,) = container["env"]
    assert json.loads(order["value"]) == {
        "allowed": ["postgis"],
        "class": "sample-class",
        "cluster": "",
        "database": name_of(ask(POSTGRESQL)),
        "extensions": [],
        "for": "PostgreSQL team/sample",
        "host": "server.example.org",
        "locale": "C",
        "maintenance": "postgres",
        "passwords": ["password"],
        "port": 5432,
        "role": name_of(ask(POSTGRESQL)),
        "tls": "require",
        "version": "17",
    }
    (files,) = [each for each in samples.minted(found) if each.ref.namespace == "libresh-system"]
    assert set(files.values) == {"admin-username", "admin-password", "password"}
    assert all(isinstance(value, From) for value in files.values.values())
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/etc/libresh/errand"]


def test_another_wish_is_another_job_and_a_new_claim_of_the_name_too() -> None:
    one = job(ask(POSTGRESQL))["metadata"]["name"]
    assert job(ask(POSTGRESQL))["metadata"]["name"] == one
    assert job(ask(POSTGRESQL, extensions=["postgis"]))["metadata"]["name"] != one
    again = ask(POSTGRESQL)
    again.claim.metadata.uid = "another"
    assert job(again)["metadata"]["name"] != one


def failed(name: str, **state: Any) -> Object:
    labels = {"batch.kubernetes.io/job-name": name}
    status = {"phase": "Running", "containerStatuses": [{"name": "errand", **state}]}
    return {"metadata": {"name": f"{name}-x", "labels": labels}, "status": status}


@pytest.mark.parametrize(
    "state",
    [
        {"state": {"terminated": {"exitCode": 1, "message": "away"}}},
        {
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "message": "away"}},
        },
        {"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1, "message": "away\n"}}},
    ],
    ids=["ended", "resting", "tried again"],
)
def test_a_failure_is_told_in_the_same_words_whatever_the_next_try_does(state: Object) -> None:
    assert last_words([failed("any", **state)]) == (1, "away")
    found = ask(POSTGRESQL)
    live = job(found)
    everything = samples.everything_seen(POSTGRESQL, POSTGRESQL.looks_at(found))
    seen = Seen(everything.objects, everything.secrets, [failed(live["metadata"]["name"], **state)], [live])
    assert planned(found, POSTGRESQL, seen)[-1] == Waiting("ErrandFailing", "away; it is tried again")


def test_a_program_that_was_killed_said_nothing_but_why_is_known() -> None:
    state = {"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    assert last_words([failed("any", **state)]) == (137, "OOMKilled")
    assert last_words([failed("any", state={"terminated": {"exitCode": 0, "message": "fine"}})]) is None
    assert last_words([failed("any", state={"waiting": {"reason": "ContainerCreating"}})]) is None


def test_a_job_that_gave_up_is_left_to_go_by_itself() -> None:
    found = ask(POSTGRESQL)
    live = job(found) | {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    assert live["spec"]["ttlSecondsAfterFinished"] == 600
    everything = samples.everything_seen(POSTGRESQL, POSTGRESQL.looks_at(found))
    outcome = planned(found, POSTGRESQL, Seen(everything.objects, everything.secrets, [], [live]))[-1]
    assert isinstance(outcome, Waiting)
    assert "begun anew within 10 minutes" in outcome.message


def test_a_password_of_another_hand_is_told_to_the_server() -> None:
    """The credentials have another digest than on record: the errand is run, and the claim's own Secret is kept."""
    found = planned(ask(REDIS), REDIS)
    (credentials,) = [
        each for each in samples.minted(found) if each.ref == Ref("Secret", "sample-redis-credentials", "team")
    ]
    assert isinstance(credentials, Mint)
    assert list(credentials.values) == ["password"]
    assert applied(found, "Job")


# --- classes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"host": "a b"}, "host"),
        ({"host": "x${password}"}, "host"),
        ({"host": ""}, "host"),
        ({"port": 0}, "port"),
        ({"tls": "prefer"}, "tls"),
        ({"caRef": {"name": "a"}}, "caRef is only looked at with tls: verify-full"),
        ({"namePrefix": "Coop-"}, "namePrefix"),
        ({"namePrefix": "p" * 21}, "namePrefix"),
        ({"adminSecretRef": {"name": "../x"}}, "name"),
        ({"password": "x"}, "password"),
    ],
)
def test_a_class_that_cannot_work_is_refused_by_its_field(parameters: Object, said: str) -> None:
    for driver in (POSTGRESQL, REDIS):
        with pytest.raises(msgspec.ValidationError, match=said):
            ask(driver, **parameters)


@pytest.mark.parametrize(
    ("driver", "tls", "authority", "expected"),
    [
        (POSTGRESQL, "disable", False, {"sslmode": "disable"}),
        (POSTGRESQL, "require", False, {"sslmode": "require"}),
        (POSTGRESQL, "verify-full", False, {"sslmode": "verify-full", "sslrootcert": "system"}),
        (POSTGRESQL, "verify-full", True, {"sslmode": "verify-full", "ca.crt": "of-the-server"}),
        (REDIS, "disable", False, {}),
        (REDIS, "require", False, {"tls": "true"}),
        (REDIS, "verify-full", False, {"tls": "true", "tls-verify": "true"}),
        (REDIS, "verify-full", True, {"tls": "true", "tls-verify": "true", "ca.crt": "of-the-server"}),
    ],
)
def test_a_connection_says_how_to_be_sure_of_the_server(
    driver: Any, tls: str, authority: bool, expected: dict[str, str]
) -> None:
    found = ask(driver, tls=tls, **({"caRef": {"name": "authority"}} if authority else {}))
    seen = samples.everything_seen(driver, driver.looks_at(found))
    given = {ref: {"data": {"ca.crt": "of-the-server"}} for ref in driver.looks_at(found)}
    seen = Seen(given, seen.secrets, seen.pods, seen.jobs)
    connection = driver.plan(found, seen).connection
    assert connection is not None
    keys = ("sslmode", "sslrootcert", "tls", "tls-verify", "ca.crt")
    assert {key: connection[key].value for key in keys if key in connection} == expected


def test_an_address_of_ipv6_is_written_as_one() -> None:
    found = ask(REDIS, host="fd00::1", tls="disable")
    connection = REDIS.plan(found, samples.everything_seen(REDIS, REDIS.looks_at(found))).connection
    assert connection is not None
    assert "@[fd00::1]:6379/0" in connection["uri"].text  # type: ignore[union-attr]


def test_a_refusal_names_what_a_person_must_change() -> None:
    found = ask(POSTGRESQL)
    live = job(found)
    pod = failed(
        live["metadata"]["name"], state={"terminated": {"exitCode": 3, "message": "spec.parameters.locale: no"}}
    )
    everything = samples.everything_seen(POSTGRESQL, POSTGRESQL.looks_at(found))
    outcome = planned(found, POSTGRESQL, Seen(everything.objects, everything.secrets, [pod], [live]))[-1]
    assert outcome == Stalled("ServerRefuses", "spec.parameters.locale: no")


@pytest.mark.parametrize(
    ("phase", "begins"), [("Running", False), ("Pending", False), ("Succeeded", True), ("Failed", True)]
)
def test_no_errand_begins_while_a_pod_of_an_earlier_one_may_still_act(phase: str, begins: bool) -> None:
    found = ask(POSTGRESQL)
    pod = failed("earlier", state={"running": {}})
    pod["status"]["phase"] = phase
    everything = samples.everything_seen(POSTGRESQL, POSTGRESQL.looks_at(found))
    actions = planned(found, POSTGRESQL, Seen(everything.objects, everything.secrets, [pod], []))
    assert bool([obj for obj in samples.applied(actions) if obj["kind"] == "Job"]) == begins
    assert actions[-1].message.endswith("is being told" if begins else "an earlier errand is ended first")
