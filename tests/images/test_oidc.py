"""The identity provider image for real: register a client, log a person in, change and delete the client."""

from __future__ import annotations

import base64
import html.parser
import http.cookiejar
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest
from containers import Running, wait_for_port

pytestmark = pytest.mark.e2e

BASE = "http://127.0.0.1:18480"
HOST = "id.acme.test"
TOKEN = "initial-access-token"
REDIRECT = "https://app.acme.test/callback"
VOLUMES = ["/etc/canaille", "/etc/libresh/oidc", "/etc/libresh/clients", "/var/lib/canaille"]
COMMAND = ["/usr/bin/tini", "--", "/usr/local/bin/libresh-oidc"]
ENV = {
    "PATH": "/opt/canaille/bin:/usr/local/bin:/usr/bin:/bin",
    "PYTHONPATH": "/opt/libresh",
    "CANAILLE_CONFIG": "/etc/canaille/config.toml",
    "CANAILLE__DATABASE": "sql",
    "LIBRESH_BIND": "127.0.0.1:18480",
    "CANAILLE_SQL__DATABASE_URI": "sqlite:////var/lib/canaille/canaille.sqlite",
}
USERS = [{"user_name": "alice", "password": "correct horse", "email": "alice@acme.test", "display_name": "Alice"}]


def configure(running: Running) -> None:
    config = f'SERVER_NAME = "{HOST}"\nPREFERRED_URL_SCHEME = "https"\n[CANAILLE]\nNAME = "Acme"\n'
    running.volume("/etc/canaille", {"config.toml": config})
    running.volume("/etc/libresh/oidc", {"registration-token": TOKEN, "users.json": json.dumps(USERS)})


@pytest.fixture
def provider(container: Any) -> Any:
    running = container("oidc")
    configure(running)
    running.start(COMMAND, VOLUMES, ENV)
    wait_for_port(18480)
    return running


class Browser:
    """A client that looks like one behind the edge: the public host, and https in front."""

    def __init__(self) -> None:
        cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https")))
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies), NoRedirect)

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        form: dict[str, str] | None = None,
        document: Any = None,
    ) -> tuple[int, Any, str]:
        path = path.replace(f"https://{HOST}", "")
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(BASE + path, method=method, data=data)
        if document is not None:
            request.data = json.dumps(document).encode()
            request.add_header("Content-Type", "application/json")
        given = {
            "X-Forwarded-Host": HOST,
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Port": "443",
            "Referer": f"https://{HOST}/",
        }
        for name, value in (given | (headers or {})).items():
            request.add_header(name, value)
        try:
            answer = self.opener.open(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        text = answer.read().decode()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json and text else text, answer.headers.get("Location", "")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Inputs(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "input" and named.get("name"):
            self.found[str(named["name"])] = named.get("value") or ""


def register(browser: Browser, token: str = TOKEN, **metadata: Any) -> tuple[int, Any]:
    document = {
        "client_name": "App",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "scope": "openid profile email",
        "token_endpoint_auth_method": "client_secret_basic",
        **metadata,
    }
    code, answer, _ = browser.ask("/oauth/register", "POST", {"Authorization": f"Bearer {token}"}, document=document)
    return code, answer


def log_in(browser: Browser, client_id: str, password: str = "correct horse") -> str:
    """Go through the forms as a person would; the URL that the browser is finally sent to."""
    query = urllib.parse.urlencode(
        {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": REDIRECT,
            "scope": "openid profile email",
            "nonce": "n",
            "state": "s",
        }
    )
    _, page, location = browser.ask(f"/oauth/authorize?{query}")
    for _ in range(8):
        while location.startswith((f"https://{HOST}", "/")):
            where = location
            _, page, location = browser.ask(location)
        if location:
            return location
        form = Inputs(page).found
        form |= {"login": "alice"} if "login" in form else {}
        form |= {"password": password} if "password" in form else {}
        form |= {"answer": "accept"} if 'value="accept"' in page else {}
        assert "Login failed" not in page, "login failed"
        _, page, location = browser.ask(where, "POST", form=form)
    raise AssertionError(page)


def test_a_person_logs_in_to_a_client_that_registered_itself(provider: Any) -> None:
    browser = Browser()
    _, discovery, _ = browser.ask("/.well-known/openid-configuration")
    assert discovery["issuer"] == f"https://{HOST}"
    assert discovery["registration_endpoint"] == f"https://{HOST}/oauth/register"

    code, client = register(browser)
    assert code == 201, client
    landed = log_in(browser, client["client_id"])
    assert landed.startswith(REDIRECT)
    code_given = re.search(r"code=([^&]+)", landed)
    assert code_given
    basic = base64.b64encode(f"{client['client_id']}:{client['client_secret']}".encode()).decode()
    form = {"grant_type": "authorization_code", "code": code_given[1], "redirect_uri": REDIRECT}
    status, tokens, _ = browser.ask("/oauth/token", "POST", {"Authorization": f"Basic {basic}"}, form=form)
    assert status == 200, tokens
    _, person, _ = browser.ask("/oauth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert (person["sub"], person["email"]) == ("alice", "alice@acme.test")
    claims = json.loads(base64.urlsafe_b64decode(tokens["id_token"].split(".")[1] + "=="))
    assert (claims["iss"], claims["nonce"]) == (f"https://{HOST}", "n")


def test_a_wrong_password_is_refused(provider: Any) -> None:
    browser = Browser()
    _, client = register(browser)
    with pytest.raises(AssertionError, match="login failed"):
        log_in(browser, client["client_id"], password="wrong")


@pytest.mark.parametrize("token", ["", "wrong"])
def test_registration_needs_the_token(provider: Any, token: str) -> None:
    code, answer = register(Browser(), token=token)
    assert (code // 100, "client_id" in answer) == (4, False)


def test_one_token_registers_many_clients_that_are_managed_apart(provider: Any) -> None:
    browser = Browser()
    (_, one), (_, two) = register(browser), register(browser, client_name="Other")
    assert one["client_id"] != two["client_id"]
    own = {"Authorization": f"Bearer {one['registration_access_token']}"}
    path = one["registration_client_uri"]
    assert path.startswith(f"https://{HOST}/oauth/register/")

    changed = {
        "client_id": one["client_id"],
        "client_secret": one["client_secret"],
        "client_name": "Renamed",
        "redirect_uris": ["https://new.acme.test/cb"],
        "scope": "openid",
    }
    status, answer, _ = browser.ask(path, "PUT", own, document=changed)
    assert status == 200, answer
    assert (answer["client_name"], answer["redirect_uris"]) == ("Renamed", ["https://new.acme.test/cb"])
    status, answer, _ = browser.ask(path, "GET", own)
    assert (status, answer["client_name"]) == (200, "Renamed")
    status, _, _ = browser.ask(two["registration_client_uri"], "DELETE", own)
    assert status in (400, 401, 403)
    others = {"Authorization": f"Bearer {two['registration_access_token']}"}
    status, answer, _ = browser.ask(two["registration_client_uri"], "GET", others)
    assert (status, answer["client_name"]) == (200, "Other")
    status, _, _ = browser.ask(path, "DELETE", own)
    assert status == 204
    status, _, _ = browser.ask(path, "GET", own)
    assert status in (400, 401, 403)


def test_a_restart_keeps_clients_users_and_keys(provider: Any) -> None:
    browser = Browser()
    _, client = register(browser)
    _, keys, _ = browser.ask("/oauth/jwks.json")
    restart(provider)
    assert browser.ask("/oauth/jwks.json")[1] == keys
    assert log_in(Browser(), client["client_id"]).startswith(REDIRECT)


def test_users_are_made_by_command_too(provider: Any) -> None:
    command = [
        "libresh-oidc",
        "create",
        "user",
        "--user-name",
        "bob",
        "--emails",
        "bob@acme.test",
        "--family-name",
        "B",
    ]
    assert '"bob"' in provider.run(command, VOLUMES, ENV)


def test_declared_clients_are_known_and_go_when_no_longer_declared(provider: Any) -> None:
    _, own = register(Browser())
    declared = {
        "client_id": "acme.wiki",
        "client_secret": "s3cret",
        "client_name": "Wiki",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
    }
    provider.volume("/etc/libresh/clients", {"acme.wiki.json": json.dumps(declared)})
    restart(provider)
    assert log_in(Browser(), "acme.wiki").startswith(REDIRECT)
    (provider.volume("/etc/libresh/clients") / "acme.wiki.json").unlink()
    restart(provider)
    with pytest.raises(AssertionError):
        log_in(Browser(), "acme.wiki")
    assert log_in(Browser(), own["client_id"]).startswith(REDIRECT)


def restart(provider: Any) -> None:
    provider.stop()
    provider.start(COMMAND, VOLUMES, ENV)
    wait_for_port(18480)
