"""Clients at providers somebody else runs: their names, what an errand is told, what classes and claims may say."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from laws import samples
from libresh.api.meta import ObjectMeta
from libresh.drivers import drivers
from libresh.drivers.keycloak.driver import client_of
from libresh.drivers.model import Ask, Seen
from libresh.drivers.registration.driver import PARTS, given_of, renewals_of
from libresh.plan.actions import From, Literal, Object
from libresh.ports import SecretView

KEYCLOAK, REGISTRATION = drivers()["OIDCClient", "keycloak"], drivers()["OIDCClient", "registration"]
PLACES = [("a-b", "c"), ("a", "b-c"), ("a-b-c", "d"), ("n" * 63, "x" * 46), ("n" * 63, "x" * 45 + "y"), ("a", "b")]
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def ask(driver: Any, *, namespace: str = "team", name: str = "sample", wish: Object | None = None, **given: Any) -> Ask:
    claim = samples.sample_claim(driver, name)
    claim.metadata = ObjectMeta(name=name, namespace=namespace, uid=f"uid-of-{name}")
    if wish:
        claim = msgspec.convert(msgspec.to_builtins(claim) | {"spec": {"parameters": wish}}, type(claim))
    parameters = msgspec.convert(samples.class_parameters(driver) | given, driver.parameters)
    return Ask(claim, "sample-class", parameters, True, samples.SETTINGS)


def seen(driver: Any, found: Ask) -> Seen:
    return samples.everything_seen(driver, driver.looks_at(found))


def order(driver: Any, found: Ask) -> Object:
    actions = driver.plan(found, seen(driver, found)).actions
    (job,) = [obj for obj in samples.applied(actions) if obj["kind"] == "Job"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told: Object = json.loads(container["env"][0]["value"])
    return told


def files(driver: Any, found: Ask, view: Seen) -> dict[str, Any]:
    actions = driver.plan(found, view).actions
    (mint,) = [each for each in samples.minted(actions) if each.ref.namespace == "libresh-system"]
    return dict(mint.values)


# --- keycloak ----------------------------------------------------------------------------------------------------


def test_no_two_claims_have_one_client() -> None:
    for one, other in itertools.permutations(PLACES, 2):
        asks = [ask(KEYCLOAK, namespace=place[0], name=place[1], namePrefix="coop_") for place in (one, other)]
        assert client_of(asks[0]) != client_of(asks[1])
        assert len(client_of(asks[0])) <= 255


@pytest.mark.parametrize(
    ("given", "issuer", "url"),
    [
        ({}, "https://login.example.org/realms/acme", "https://login.example.org"),
        ({"url": "https://a.test:8443/auth/"}, "https://a.test:8443/auth/realms/acme", "https://a.test:8443/auth"),
        (
            {"url": "https://keycloak.login.svc", "issuer": "https://login.test/realms/acme"},
            "https://login.test/realms/acme",
            "https://keycloak.login.svc",
        ),
    ],
)
def test_applications_are_told_the_issuer_and_the_errand_where_the_server_is(
    given: Object, issuer: str, url: str
) -> None:
    found = ask(KEYCLOAK, **given)
    connection = KEYCLOAK.plan(found, seen(KEYCLOAK, found)).connection
    assert connection is not None
    assert connection["issuer"] == connection["uri"] == Literal(issuer)
    told = order(KEYCLOAK, found)
    assert (told["issuer"], told["url"]) == (issuer, url)
    assert (told["realm"], told["adminRealm"]) == ("acme", "acme")


def test_an_administrator_is_a_person_or_a_client() -> None:
    found = ask(KEYCLOAK)
    all_seen = seen(KEYCLOAK, found)
    for keys in (("username", "password"), ("client-id", "client-secret")):
        secrets = {
            ref: samples.secret_view(ref, frozenset(keys)) if ref.name == "admin" else view
            for ref, view in all_seen.secrets.items()
        }
        given = files(KEYCLOAK, found, Seen(secrets=secrets))
        assert {name for name in given if name.startswith("admin-")} == {f"admin-{key}" for key in keys}
        assert all(isinstance(value, From) for value in given.values())
    half = {ref: samples.secret_view(ref, frozenset({"username", "client-id"})) for ref in all_seen.secrets}
    outcome = KEYCLOAK.plan(found, Seen(secrets=half)).outcome
    assert "with the keys username and password, or client-id and client-secret; make it" in outcome.message


@pytest.mark.parametrize("field", ["redirectUris", "clientUri"])
def test_an_address_that_keycloak_cannot_keep_is_refused_by_its_field(field: str) -> None:
    long, fits = f"https://a.test/{'x' * 241}", f"https://a.test/{'x' * 240}"
    for address, refused in ((long, True), (fits, False)):
        wish = {"redirectUris": ["https://a.test/cb"]} | {field: [address] if field == "redirectUris" else address}
        stop = KEYCLOAK.refuse(ask(KEYCLOAK, wish=wish))
        assert (stop is not None) == refused
        assert stop is None or f"spec.parameters.{field}: https://a.test/xxx" in stop.message


# --- registration ------------------------------------------------------------------------------------------------


def test_the_order_of_a_registration_has_no_secret() -> None:
    found = ask(REGISTRATION)
    assert order(REGISTRATION, found) == {
        "afterLogout": [],
        "anew": "kubectl -n team annotate oidcclients.identity.libre.sh sample --overwrite "
        "services.libre.sh/rotate=<another text>",
        "class": "sample-class",
        "editions": ["password"],
        "for": "OIDCClient team/sample",
        "home": "",
        "host": "login.example.org",
        "issuer": "https://login.example.org",
        "name": "sample",
        "port": 443,
        "redirects": ["https://app.example.org/callback"],
        "registration": "",
        "software": "uid-of-sample",
        "token": "the key token of the Secret libresh-system/initial",
    }


def test_the_initial_token_is_there_only_while_a_client_registers() -> None:
    found = ask(REGISTRATION)
    all_seen = seen(REGISTRATION, found)
    assert "initial-access-token" not in files(REGISTRATION, found, all_seen)
    place = given_of(found, all_seen).ref
    nothing = {**all_seen.secrets, place: samples.secret_view(place, frozenset())}
    assert set(files(REGISTRATION, found, Seen(secrets=nothing))) == {"initial-access-token"}


def view(text: str, *editions: str) -> SecretView:
    meta = ObjectMeta(name="sample-oidc-credentials", namespace="team", uid="u", annotations={"libre.sh/renew": text})
    return SecretView(meta, "Opaque", frozenset(f"{e}.{part}" for e in editions for part in PARTS), "digest")


@pytest.mark.parametrize("text", ["", "first", "first=", "first=soon", "first=2027-01-01T00:00:00", "=,,=="])
def test_what_is_said_of_an_end_and_cannot_be_read_says_nothing(text: str) -> None:
    assert renewals_of(view(text)).get("first") is None
    assert renewals_of(None) == {}


def test_what_ends_has_a_successor_when_it_is_due_and_not_before() -> None:
    found = ask(REGISTRATION)
    for due, asked in ((NOW + timedelta(seconds=1), 1), (NOW, 2)):
        known = view(f"first={due.isoformat()}", "first")
        known.metadata.annotations["libre.sh/done"] = "first/x.y"
        secrets = {ref: known if "oidc" in ref.name else samples.secret_view(ref, frozenset({"token"})) for ref in
                   REGISTRATION.looks_at(found)}  # fmt: skip
        actions = REGISTRATION.plan(found, Seen(secrets=secrets, now=NOW)).actions
        (job,) = [obj for obj in samples.applied(actions) if obj["kind"] == "Job"]
        (container,) = job["spec"]["template"]["spec"]["containers"]
        editions = json.loads(container["env"][0]["value"])["editions"]
        assert len(editions) == asked
        assert editions[0] == "first"
        assert all(edition.startswith("first") for edition in editions)


# --- classes -----------------------------------------------------------------------------------------------------

ADDRESSES = ("http://a.test", "https://", "https://a b", "https://a.test?x=1", "https://a.test#x", "https://u@a.test",
             "https://a.test\n", "https://a.test:99999", "ftp://a.test")  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_is_not_plain_https_is_refused(address: str) -> None:
    for driver, field in ((KEYCLOAK, "url"), (KEYCLOAK, "issuer"), (REGISTRATION, "issuer")):
        with pytest.raises(msgspec.ValidationError, match=field):
            ask(driver, **{field: address})


@pytest.mark.parametrize(
    ("driver", "parameters", "said"),
    [
        (KEYCLOAK, {"realm": "../master"}, "realm"),
        (KEYCLOAK, {"realm": ""}, "realm"),
        (KEYCLOAK, {"adminRealm": "a/b"}, "adminRealm"),
        (KEYCLOAK, {"host": "a.test"}, "host"),
        (REGISTRATION, {"registrationEndpoint": "https://login.example.org:8443/r"}, "at the port of the issuer"),
        (REGISTRATION, {"initialAccessTokenRef": {"name": "x", "key": "a b"}}, "key"),
        (REGISTRATION, {"token": "x"}, "token"),
    ],
)
def test_a_class_that_cannot_work_is_refused_by_its_field(driver: Any, parameters: Object, said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        ask(driver, **parameters)
