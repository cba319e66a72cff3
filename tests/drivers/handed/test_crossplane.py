"""The driver crossplane: what it makes of a claim, and what it makes of what Crossplane says."""

from typing import Any

import pytest
from asking import ask_of, complaint, driver_of, plan_with, ref, wished

from laws import samples
from libresh.drivers import drivers
from libresh.drivers.connection import REQUIRED
from libresh.drivers.model import Ask, Seen
from libresh.plan.actions import From, Literal, Object, SecretKey, Template
from libresh.plan.decision import Settled, Stalled

DRIVER = driver_of("crossplane")
KIND: Object = {"apiVersion": "platform.example.org/v1", "kind": "Database"}
SECRET = "my-db-postgresql-connection-details"
KEYS = frozenset({"host", "port", "database", "username", "password"})
GIGABYTES = {
    "fromFieldPath": "spec.parameters.storage",
    "toFieldPath": "spec.parameters.storageGB",
    "transforms": [
        {"type": "convert", "convert": {"toType": "float64", "format": "quantity"}},
        {"type": "convert", "convert": {"toType": "int64"}},
    ],
}


def test_every_kind_of_claim_can_be_handed_over() -> None:
    assert {kind for kind, name in drivers() if name == "crossplane"} == set(REQUIRED)


def test_a_composite_of_crossplane_2() -> None:
    parameters = {
        **KIND,
        "composition": "small",
        "compositionUpdatePolicy": "Manual",
        "spec": {"parameters": {"region": "eu"}},
        "patches": [GIGABYTES],
        "connection": {"secretField": "spec.secretName"},
    }
    (made,) = wished(DRIVER, ask_of(DRIVER, parameters, spec={"parameters": {"storage": "5G"}})).values()
    assert (made["apiVersion"], made["kind"]) == ("platform.example.org/v1", "Database")
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("my-db-postgresql", "team")
    assert made["spec"] == {
        "parameters": {"region": "eu", "storageGB": 5_000_000_000},
        "crossplane": {"compositionRef": {"name": "small"}, "compositionUpdatePolicy": "Manual"},
        "secretName": SECRET,
    }


def test_a_claim_of_crossplane_1() -> None:
    parameters = {**KIND, "mode": "Claim", "compositionSelector": {"tier": "small"}}
    (made,) = wished(DRIVER, ask_of(DRIVER, parameters)).values()
    assert made["spec"] == {
        "compositionSelector": {"matchLabels": {"tier": "small"}},
        "compositeDeletePolicy": "Foreground",
        "writeConnectionSecretToRef": {"name": SECRET},
    }


def test_the_keys_of_its_secret_are_renamed() -> None:
    connection = {"keys": {"host": "endpoint", "sslmode": "tls"}, "values": {"port": "6432"}}
    ask = ask_of(DRIVER, {**KIND, "connection": connection})
    given = plan_with(DRIVER, ask, conditions(), KEYS | {"endpoint", "tls"}).connection
    assert given is not None
    assert given["host"] == From(SecretKey("team", SECRET, "endpoint"))
    assert given["sslmode"] == From(SecretKey("team", SECRET, "tls"))
    assert given["port"] == Literal("6432")
    assert given["password"] == From(SecretKey("team", SECRET, "password"))
    assert isinstance(given["uri"], Template)
    given = plan_with(
        DRIVER, ask_of(DRIVER, {**KIND, "connection": {"keys": {"uri": "url"}}}), conditions(), KEYS | {"url"}
    ).connection
    assert given is not None
    assert given["uri"] == From(SecretKey("team", SECRET, "url"))


def conditions(**found: Any) -> Object:
    """The status of an object that is ready, but for what is said."""
    wanted = {"Synced": {"status": "True"}, "Ready": {"status": "True"}} | found
    return {"Database": {"conditions": [{"type": type, **each} for type, each in wanted.items() if each]}}


CASES: dict[str, tuple[Object, bool, str, str]] = {
    "ready": ({}, True, "Settled", "is ready"),
    "nothing said": ({"Synced": None, "Ready": None}, False, "ComposedNotReady", "has not said anything of it yet"),
    "being made": (
        {"Ready": {"status": "False", "reason": "Creating", "message": "Unready resources: server"}},
        False,
        "ComposedNotReady",
        "is not ready (Creating): Unready resources: server",
    ),
    "cannot be made": (
        {
            "Synced": {"status": "False", "reason": "ReconcileError", "message": "cannot select Composition"},
            "Ready": {"status": "False", "reason": "Creating"},
        },
        False,
        "NotSynced",
        "could not do all it should (ReconcileError): cannot select Composition",
    ),
    "works, but a change cannot be made": (
        {"Synced": {"status": "False", "reason": "ReconcileError"}},
        True,
        "NotSynced",
        "(ReconcileError)",
    ),
    "paused": ({"Synced": {"status": "False", "reason": "ReconcilePaused"}}, True, "NotSynced", "(ReconcilePaused)"),
}


@pytest.mark.parametrize("case", CASES)
def test_how_it_stands(case: str) -> None:
    said, ready, reason, words = CASES[case]
    found = plan_with(DRIVER, ask_of(DRIVER, KIND), conditions(**said), KEYS).outcome
    assert found.reason == reason
    assert words in found.message
    assert (isinstance(found, Settled) or found.ready) == ready


def test_conditions_of_another_shape_say_nothing() -> None:
    for status in ({"conditions": "none"}, {"conditions": [7]}, {"conditions": None}):
        found = plan_with(DRIVER, ask_of(DRIVER, KIND), {"Database": status}, KEYS).outcome
        assert found.reason == "ComposedNotReady"


def test_a_claim_that_does_not_fit_is_refused_and_what_is_there_is_kept() -> None:
    wish = {**KIND, "patches": [{**GIGABYTES, "transforms": [{"type": "convert", "convert": {"toType": "int64"}}]}]}
    stop = DRIVER.refuse(ask_of(DRIVER, wish))
    assert stop is not None
    assert "ServiceClass handed cannot serve this claim: patches[0]" in stop.message
    served = ask_of(DRIVER, wish, status={"driver": "crossplane"})
    assert DRIVER.refuse(served) is None
    provision = DRIVER.plan(served, ready_before(served))
    assert isinstance(provision.outcome, Stalled)
    assert provision.outcome.ready
    assert provision.actions == ()
    assert len(provision.kept) == 1


def ready_before(ask: Ask) -> Seen:
    """As if an object of an earlier wish were there and ready."""
    plain = ask_of(DRIVER, KIND)
    (made,) = wished(DRIVER, plain).values()
    secrets = {each: samples.secret_view(each, KEYS) for each in DRIVER.looks_at(ask) if each.kind == "Secret"}
    return Seen({ref(made): made | {"status": conditions()["Database"]}}, secrets)


def test_one_secret_is_not_written_by_two() -> None:
    spec = {"writeConnectionSecretToRef": {"name": SECRET}}
    stop = DRIVER.refuse(ask_of(DRIVER, KIND, spec=spec))
    assert stop is not None
    assert stop.message.startswith("spec.writeConnectionSecretToRef.name: Crossplane writes a Secret")


REFUSED: dict[str, tuple[Object, str]] = {
    "no kind": ({"apiVersion": "a.b/v1"}, "kind"),
    "a core kind": ({"apiVersion": "v1", "kind": "Secret"}, "$.apiVersion"),
    "two ways to a composition": (
        {**KIND, "composition": "a", "compositionSelector": {"b": "c"}},
        "composition: set one of",
    ),
    "machinery of 2 in the spec": ({**KIND, "spec": {"crossplane": {}}}, "spec.crossplane: is Crossplane's own"),
    "machinery of 1 in the spec": (
        {**KIND, "mode": "Claim", "spec": {"writeConnectionSecretToRef": {}}},
        "spec.writeConnectionSecretToRef: is Crossplane's own",
    ),
    "a patch of machinery": (
        {**KIND, "patches": [{"fromFieldPath": "metadata.name", "toFieldPath": "spec.crossplane.compositionRef.name"}]},
        "patches[0].toFieldPath: spec.crossplane",
    ),
    "a patch of the Secret's name": (
        {
            **KIND,
            "connection": {"secretField": "spec.secretName"},
            "patches": [{"fromFieldPath": "spec.parameters.locale", "toFieldPath": "spec.secretName"}],
        },
        "patches[0].toFieldPath: spec.secretName is Crossplane's own",
    ),
    "a patch of the metadata": (
        {**KIND, "patches": [{"fromFieldPath": "metadata.name", "toFieldPath": "metadata.labels.a"}]},
        "patches[0].toFieldPath: must be below spec",
    ),
    "a patch back": (
        {**KIND, "patches": [{"type": "ToCompositeFieldPath", "fromFieldPath": "status.a", "toFieldPath": "status.b"}]},
        "patches[0].type: ToCompositeFieldPath means nothing here",
    ),
    "a Secret of one name for all": (
        {**KIND, "connection": {"secretName": "shared"}},
        "connection.secretName: must have one %s",
    ),
    "a key nobody knows": ({**KIND, "connection": {"keys": {"hots": "h"}}}, "connection.keys.hots: the connection"),
    "a password in the class": (
        {**KIND, "connection": {"values": {"password": "x"}}},
        "connection.values.password: is secret",
    ),
    "a key twice": (
        {**KIND, "connection": {"values": {"port": "1"}, "keys": {"port": "p"}}},
        "connection.values.port: is in connection.keys, too",
    ),
    "a field for a claim's Secret": (
        {**KIND, "mode": "Claim", "connection": {"secretField": "spec.a"}},
        "connection.secretField: is for composites",
    ),
    "a field outside of the spec": (
        {**KIND, "connection": {"secretField": "metadata.name"}},
        "connection.secretField: must be the path of a field below spec",
    ),
    "a path that is none": ({**KIND, "connection": {"secretField": "spec..a"}}, "connection.secretField:"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parameters_that_are_refused(case: str) -> None:
    parameters, words = REFUSED[case]
    assert words in complaint(DRIVER, parameters)
