"""The driver `registration` for real: the errand's program at a Keycloak and at a Canaille, and what it gives back."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from containers import wait_for_port
from edges import Edge
from errands import Errands
from places import Place

from support.keycloak import Keycloak, Refusal

pytestmark = pytest.mark.e2e

CALLBACK, OTHER = "https://wiki.acme.test/callback", "https://wiki.acme.test/other"
CANAILLE = 18480
TOKEN = "initial-access-token"


class Registering:
    """A claim at one provider: errands with what was given back before, as the driver has them run."""

    def __init__(self, errands: Errands, authority: str, token: str) -> None:
        self.errands, self.authority, self.token = errands, authority, token
        self.place = Place()
        self.place.show(errands)

    def files(self) -> dict[str, str]:
        renew = self.place.annotations.get("libre.sh/renew")
        return {
            "ca.crt": self.authority,
            TOKEN: self.token,
            **self.place.data,
            **({"notes": renew} if renew else {}),
        }

    def do(self, task: str = "provide", *editions: str, files: dict[str, str] | None = None, **order: Any) -> int:
        given = self.files() if files is None else files
        wanted = list(editions or ("first",)) if task == "provide" else []
        secret = next((value for key, value in given.items() if key.endswith(".client-secret")), "nothing-yet")
        return self.errands.do(task, secret, secrets=given, editions=wanted, **order)

    def part(self, name: str, edition: str = "first") -> str:
        return self.place.data[f"{edition}.{name}"]

    @property
    def words(self) -> str:
        return self.errands.words


@pytest.fixture
def registering(container: Any) -> Iterator[Callable[..., Registering]]:
    made: list[Registering] = []

    def make(issuer: str, port: int, authority: str, token: str, name: str = "a") -> Registering:
        order = {
            "port": port,
            "issuer": issuer,
            "registration": "",
            "for": f"OIDCClient team/{name}",
            "name": name,
            "home": "https://wiki.acme.test",
            "redirects": [CALLBACK],
            "afterLogout": [],
            "software": f"uid-of-{name}",
            "token": "the key token of the Secret libresh-system/initial",
            "anew": "kubectl annotate",
        }
        made.append(Registering(Errands(container("errand"), "registration", **order), authority, token))
        return made[-1]

    yield make
    for each in made:
        each.place.stop()


# --- Keycloak ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def token(keycloak: Keycloak) -> str:
    return keycloak.initial_token("acme")


@pytest.fixture
def claim(registering: Any, keycloak: Keycloak, token: str) -> Iterator[Callable[..., Registering]]:
    """Claims in the realm acme, in which nobody's client is left afterwards."""

    def make(name: str = "a") -> Registering:
        found: Registering = registering(f"{keycloak.url}/realms/acme", keycloak.port, keycloak.authority, token, name)
        return found

    yield make
    for client in keycloak.clients("acme").values():
        keycloak.admin("DELETE", f"/acme/clients/{client['id']}")


def in_use(keycloak: Keycloak, one: Registering, edition: str = "first", redirect: str = CALLBACK) -> Any:
    """Alice logs in to an application with this client."""
    client, secret = one.part("client-id", edition), one.part("client-secret", edition)
    return keycloak.redeem("acme", client, secret, keycloak.log_in("acme", client, redirect), redirect)


def test_a_client_registers_once_is_changed_and_goes(claim: Any, keycloak: Keycloak) -> None:
    one = claim()
    assert one.do() == 0, one.words
    first = dict(one.place.data)
    assert in_use(keycloak, one)
    with pytest.raises(Refusal, match="redirect_uri"):
        keycloak.log_in("acme", one.part("client-id"), OTHER)
    assert one.do() == 0, one.words
    assert (one.place.data, len(keycloak.clients("acme"))) == (first, 1), "nothing is done twice"
    for redirects in ([CALLBACK, OTHER], [OTHER]):
        assert one.do(redirects=redirects, name="Wiki", home="") == 0, one.words
        (client,) = keycloak.clients("acme").values()
        assert (client["clientId"], client["name"]) == (first["first.client-id"], "Wiki")
        assert sorted(client["redirectUris"]) == redirects
    assert one.part("registration-access-token") != first["first.registration-access-token"], "it is another each time"
    assert one.part("client-secret") == first["first.client-secret"]
    assert in_use(keycloak, one, redirect=OTHER)
    for _ in range(2):
        assert one.do("remove") == 0, one.words
    assert keycloak.clients("acme") == {}


def test_two_registrations_are_apart(claim: Any, keycloak: Keycloak) -> None:
    one, other = claim("a"), claim("b")
    assert one.do() == other.do() == 0
    code = keycloak.log_in("acme", one.part("client-id"), CALLBACK)
    with pytest.raises(Refusal, match="invalid_grant"):
        keycloak.redeem("acme", other.part("client-id"), other.part("client-secret"), code, CALLBACK)
    theirs = {**one.place.data, "first.registration-access-token": other.part("registration-access-token")}
    assert one.do(files={**one.files(), **theirs}, redirects=[OTHER]) == 1
    assert "does not let the client" in one.words
    assert "kubectl annotate" in one.words
    assert one.do("remove") == 0
    assert in_use(keycloak, other)


def test_another_secret_is_another_client_and_both_work_until_the_first_one_goes(
    claim: Any, keycloak: Keycloak
) -> None:
    one = claim()
    assert one.do() == 0
    assert one.do("provide", "first", "next") == 0, one.words
    assert in_use(keycloak, one, "first")
    assert in_use(keycloak, one, "next")
    first = one.part("client-id")
    assert one.do("provide", "next") == 0, one.words
    assert {key.partition(".")[0] for key in one.place.data} == {"next"}
    assert set(keycloak.clients("acme")) == {one.part("client-id", "next")}
    with pytest.raises(Refusal, match="Client not found"):
        keycloak.log_in("acme", first, CALLBACK)
    assert one.do("remove") == 0
    assert keycloak.clients("acme") == {}


def test_what_cannot_be_given_back_is_not_registered_or_removed_again(claim: Any, keycloak: Keycloak) -> None:
    one = claim()
    one.errands.env["LIBRESH_GIVES"] = "team/another"
    assert one.do() == 1
    assert "the API server does not take the credentials: HTTP status 403" in one.words
    assert keycloak.clients("acme") == {}, "it was tried before the provider was asked"
    one.errands.env["LIBRESH_GIVES"] = "team/given"
    one.place.refuses = 503
    assert one.do() == 1
    assert keycloak.clients("acme") == {}
    one.place.refuses = None
    assert one.do() == 0
    assert in_use(keycloak, one)


def test_a_token_that_was_lost_is_told_and_another_client_takes_its_place(claim: Any, keycloak: Keycloak) -> None:
    """As when the program was killed between the provider's answer and giving it back."""
    one = claim()
    assert one.do() == 0
    before = one.files()
    assert one.do(redirects=[OTHER]) == 0
    assert one.do(files=before, redirects=[CALLBACK]) == 1
    assert "have another one registered: kubectl annotate" in one.words
    assert one.do("provide", "first", "next", files=before) == 0, one.words
    assert in_use(keycloak, one, "next")
    lost = one.part("client-id")
    for task in (("provide", "next"), ("remove",)):
        assert one.do(*task) == 3
        assert f"does not remove the client {lost}" in one.words
        assert "remove it there by hand" in one.words
    keycloak.admin("DELETE", f"/acme/clients/{keycloak.clients('acme')[lost]['id']}")
    assert one.do("provide", "next") == 0, one.words
    assert set(keycloak.clients("acme")) == {one.part("client-id", "next")}


def test_killed_at_any_moment_it_is_done_again_and_little_is_left(claim: Any, keycloak: Keycloak) -> None:
    one = claim()
    started = time.monotonic()
    assert one.do() == 0
    whole = time.monotonic() - started
    assert one.do("remove") == 0
    one.place.data.clear()
    parts = 6
    for part in range(1, parts + 1):
        process = one.errands.begin("provide", one.files(), editions=["first"])
        time.sleep(whole * part / (parts + 1))
        process.kill()
        process.wait()
    assert one.do() == 0, one.words
    assert in_use(keycloak, one)
    known = one.part("client-id")
    assert known in keycloak.clients("acme")
    assert len(keycloak.clients("acme")) <= 1 + parts
    assert one.do("remove") == 0
    assert known not in keycloak.clients("acme")


def test_a_provider_that_does_not_let_us_register_is_told(claim: Any, keycloak: Keycloak) -> None:
    one = claim()
    wrong = {**one.files(), TOKEN: "wrong"}
    assert one.do(files=wrong) == 3
    assert "does not let clients register with what it was shown: Failed decode token" in one.words
    assert "put another token into the key token of the Secret libresh-system/initial" in one.words
    without = {key: value for key, value in one.files().items() if key != TOKEN}
    assert one.do(files=without, token="") == 3
    assert "Host not trusted; name one in spec.parameters.initialAccessTokenRef" in one.words
    used_up = keycloak.initial_token("acme", count=1)
    assert one.do(files={**one.files(), TOKEN: used_up}) == 0
    one.place.data.clear()
    assert one.do(files={**one.files(), TOKEN: used_up}) == 3
    assert "No remaining count on initial access token" in one.words
    assert one.do(issuer=f"{keycloak.url}/realms/nowhere") == 3
    assert "is no OpenID Connect provider" in one.words
    assert one.do(registration=f"https://127.0.0.1:{keycloak.port + 1}/register") == 3
    assert f"must be https, at the port {keycloak.port} of the issuer" in one.words
    assert one.do(redirects=["https://a.test/<x>"]) == 3
    assert "does not take the client as spec.parameters describe it: A redirect URI is not a valid URI" in one.words
    assert one.do(files={TOKEN: one.token}) == 1
    assert "its certificate is not trusted" in one.words


# --- Canaille, and providers that do not do all of it ------------------------------------------------------------


@pytest.fixture
def edge(container: Any) -> Iterator[Edge]:
    """A Canaille behind an edge."""
    edge = Edge(CANAILLE)
    running = container("oidc")
    config = f'SERVER_NAME = "127.0.0.1:{edge.port}"\nPREFERRED_URL_SCHEME = "https"\n[CANAILLE]\nNAME = "Acme"\n'
    running.volume("/etc/canaille", {"config.toml": config})
    running.volume("/etc/libresh/oidc", {"registration-token": "of-canaille"})
    env = {
        "PATH": "/opt/canaille/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": "/opt/libresh",
        "CANAILLE_CONFIG": "/etc/canaille/config.toml",
        "CANAILLE__DATABASE": "sql",
        "LIBRESH_BIND": f"127.0.0.1:{CANAILLE}",
        "CANAILLE_SQL__DATABASE_URI": "sqlite:////var/lib/canaille/canaille.sqlite",
    }
    volumes = ["/etc/canaille", "/etc/libresh/oidc", "/etc/libresh/clients", "/var/lib/canaille"]
    running.start(["/usr/bin/tini", "--", "/usr/local/bin/libresh-oidc"], volumes, env)
    wait_for_port(CANAILLE)
    yield edge
    edge.stop()


@pytest.fixture
def light(registering: Any, edge: Edge) -> Registering:
    found: Registering = registering(f"https://127.0.0.1:{edge.port}", edge.port, edge.authority, "of-canaille")
    return found


def seen_by(one: Registering, edge: Edge) -> tuple[int, Any]:
    """What the provider tells a client of itself."""
    context = ssl.create_default_context(cadata=edge.authority)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    request = urllib.request.Request(one.part("registration-client-uri"))
    request.add_header("Authorization", f"Bearer {one.part('registration-access-token')}")
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, None


def test_another_product_is_told_by_the_same_standard(light: Registering, edge: Edge) -> None:
    assert light.do() == 0, light.words
    status, client = seen_by(light, edge)
    assert (status, client["client_id"], client["redirect_uris"]) == (200, light.part("client-id"), [CALLBACK])
    assert client["software_id"] == "uid-of-a"
    assert light.do(redirects=[OTHER], name="Wiki") == 0, light.words
    status, client = seen_by(light, edge)
    assert (status, client["redirect_uris"], client["client_name"]) == (200, [OTHER], "Wiki")
    assert light.do("provide", "first", "next", redirects=[OTHER]) == 0, light.words
    first = light.part("client-id")
    assert light.do("provide", "next", redirects=[OTHER]) == 0, light.words
    assert light.part("client-id", "next") != first
    assert light.do("remove") == 0, light.words
    assert light.do("remove") == 0, light.words


def answering(field: str, value: Any) -> Callable[..., tuple[int, bytes]]:
    """A provider whose answers to registrations and updates have something else, or (None) lack it."""

    def change(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if "/register" not in path or status not in (200, 201):
            return status, body
        document = json.loads(body)
        document.pop(field, None)
        return status, json.dumps({**document, **({} if value is None else {field: value})}).encode()

    return change


def test_where_nothing_can_be_managed_changes_are_refused_with_the_way_out(light: Registering, edge: Edge) -> None:
    edge.change = answering("registration_client_uri", None)
    assert light.do() == 0, light.words
    assert light.part("registration-client-uri") == ""
    assert light.do() == 0, light.words
    assert light.do(redirects=[OTHER]) == 3
    assert "gave no address to change the client" in light.words
    assert "have another client registered: kubectl annotate" in light.words
    assert light.do("remove") == 3
    assert f"does not remove the client {light.part('client-id')}: it gave no address" in light.words


def test_a_secret_that_ends_is_told_of_before_it_does(light: Registering, edge: Edge) -> None:
    month = 30 * 86400
    edge.change = answering("client_secret_expires_at", int(time.time()) + month)
    assert light.do() == 0, light.words
    edition, _, due = light.place.annotations["libre.sh/renew"].partition("=")
    assert edition == "first"
    left = time.mktime(time.strptime(due, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - time.time()
    assert month * 0.6 < left < month * 0.7
    edge.change = answering("client_secret_expires_at", 0)
    assert light.do("provide", "first", "first-next") == 0, light.words
    assert light.place.annotations["libre.sh/renew"] == f"first={due}"
    assert light.do("provide", "first-next") == 0, light.words
    assert light.place.annotations == {}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("client_secret", None, "registers no client with a secret"),
        ("redirect_uris", ["https://elsewhere.test"], "spec.parameters.redirectUris: 127.0.0.1:"),
    ],
)
def test_what_is_not_as_asked_for_is_removed_again_and_told(
    light: Registering, edge: Edge, field: str, value: Any, said: str
) -> None:
    removed: list[tuple[str, int]] = []
    other = answering(field, value)

    def change(method: str, path: str, status: int, body: bytes) -> tuple[int, bytes]:
        if method == "DELETE":
            removed.append((path, status))
        return other(method, path, status, body)

    edge.change = change
    assert light.do() == 3
    assert said in light.words
    assert [status for _, status in removed] == [204]
    assert light.place.data == {}


def test_a_management_address_elsewhere_gets_no_token(light: Registering, edge: Edge) -> None:
    edge.change = answering("registration_client_uri", "http://127.0.0.1:1/clients/x")
    assert light.do() == 0, light.words
    assert light.do() == 3
    assert "must be https, at the port" in light.words
