"""The driver `keycloak` for real: the errand's program on a Keycloak, and people who log in to the clients it makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from containers import Running
from errands import Errands

from support.keycloak import PASSWORD, ROOT, Keycloak, Refusal

pytestmark = pytest.mark.e2e

HOME, CALLBACK, OTHER = "https://wiki.acme.test", "https://wiki.acme.test/callback", "https://wiki.acme.test/other"
NOBODY = {"admin-username": "root", "admin-password": "not-it"}
Make = Callable[..., Errands]


@pytest.fixture
def errand(container: Any, keycloak: Keycloak) -> Make:
    """Errands to the realm acme as the administrator of master, unless told otherwise."""
    running: Running = container("errand")

    def make(name: str, **more: Any) -> Errands:
        order = {
            "port": keycloak.port,
            "url": keycloak.url,
            "realm": "acme",
            "adminRealm": "master",
            "issuer": f"{keycloak.url}/realms/acme",
            "client": f"team.{name}",
            "for": f"OIDCClient team/{name}",
            "cluster": "one",
            "name": name,
            "home": HOME,
            "redirects": [CALLBACK],
            "afterLogout": [],
        }
        return Errands(running, "keycloak", **order | more)

    return make


@pytest.fixture
def do(keycloak: Keycloak) -> Callable[..., int]:
    """Does an errand with the server's authority beside the other secrets."""

    def run(errands: Errands, task: str, password: str = "first", **order: Any) -> int:
        secrets = {"ca.crt": keycloak.authority, **order.pop("secrets", {})}
        return errands.do(task, password, secrets=secrets, **order)

    return run


def in_use(keycloak: Keycloak, client: str, secret: str, redirect: str = CALLBACK, realm: str = "acme") -> Any:
    """Alice logs in to an application with this client."""
    return keycloak.redeem(realm, client, secret, keycloak.log_in(realm, client, redirect), redirect)


def test_a_client_is_made_again_and_again_people_log_in_and_it_goes(errand: Make, do: Any, keycloak: Keycloak) -> None:
    errands = errand("a")
    for _ in range(2):
        assert do(errands, "provide") == 0, errands.words
    tokens = in_use(keycloak, "team.a", "first")
    assert {"access_token", "id_token", "refresh_token"} <= tokens.keys()
    code = keycloak.log_in("acme", "team.a", CALLBACK)
    with pytest.raises(Refusal, match="Invalid client or Invalid client credentials"):
        keycloak.redeem("acme", "team.a", "wrong", code, CALLBACK)
    with pytest.raises(Refusal, match="Invalid parameter: redirect_uri"):
        keycloak.log_in("acme", "team.a", OTHER)
    with pytest.raises(Refusal, match="Invalid username or password"):
        keycloak.log_in("acme", "team.a", CALLBACK, "wrong")
    for grant in ({"grant_type": "client_credentials"}, {"grant_type": "password", "username": "alice"}):
        with pytest.raises(Refusal, match="unauthorized_client"):
            keycloak.token("acme", client_id="team.a", client_secret="first", password="correct horse", **grant)
    for _ in range(2):
        assert do(errands, "remove", passwords=[]) == 0, errands.words
    assert keycloak.clients("acme") == {}
    with pytest.raises(Refusal, match="Client not found"):
        keycloak.log_in("acme", "team.a", CALLBACK)


def test_two_clients_are_apart(errand: Make, do: Any, keycloak: Keycloak) -> None:
    one, other = errand("a"), errand("b", redirects=[OTHER])
    assert do(one, "provide", "of-a") == do(other, "provide", "of-b") == 0
    with pytest.raises(Refusal, match="redirect_uri"):
        keycloak.log_in("acme", "team.a", OTHER)
    code = keycloak.log_in("acme", "team.a", CALLBACK)
    with pytest.raises(Refusal, match="invalid_grant"):
        keycloak.redeem("acme", "team.b", "of-b", code, CALLBACK)
    with pytest.raises(Refusal, match="Invalid client"):
        in_use(keycloak, "team.a", "of-b")
    assert do(one, "remove", passwords=[]) == 0
    assert in_use(keycloak, "team.b", "of-b", OTHER)
    assert do(other, "remove", passwords=[]) == 0


def test_a_new_secret_takes_the_old_ones_place(errand: Make, do: Any, keycloak: Keycloak) -> None:
    errands, keys = errand("a"), ["password", "password-2"]
    assert do(errands, "provide", "the-old-one") == 0
    assert do(errands, "provide", "the-old-one", secrets={"password-2": "the-new-one"}, passwords=keys) == 0
    with pytest.raises(Refusal, match="Invalid client"):
        in_use(keycloak, "team.a", "the-old-one")
    assert in_use(keycloak, "team.a", "the-new-one")
    assert do(errands, "remove", passwords=[]) == 0


def test_what_the_claim_says_is_mended_and_all_else_left_to_others(errand: Make, do: Any, keycloak: Keycloak) -> None:
    errands = errand("a")
    assert do(errands, "provide", afterLogout=[HOME]) == 0
    made = keycloak.clients("acme")["team.a"]
    assert (made["name"], made["baseUrl"], made["description"]) == ("a", HOME, "libre.sh: OIDCClient team/a")
    assert made["attributes"]["post.logout.redirect.uris"] == HOME
    by_hand = {
        **made,
        "redirectUris": ["https://elsewhere.test/*"],
        "implicitFlowEnabled": True,
        "consentRequired": True,
        "secret": "of-another-hand",
        "attributes": {**made["attributes"], "login_theme": "keycloak"},
    }
    keycloak.admin("PUT", f"/acme/clients/{made['id']}", by_hand)
    assert do(errands, "provide", redirects=[CALLBACK, OTHER], home="", name="Wiki") == 0, errands.words
    now = keycloak.clients("acme")["team.a"]
    assert sorted(now["redirectUris"]) == [CALLBACK, OTHER]
    assert (now["id"], now["name"], now["baseUrl"], now["implicitFlowEnabled"]) == (made["id"], "Wiki", "", False)
    assert now["attributes"]["post.logout.redirect.uris"] == "-", "nowhere, and not wherever people may log in"
    assert (now["consentRequired"], now["attributes"]["login_theme"]) == (True, "keycloak")
    assert now["secret"] == "first"
    assert do(errands, "remove", passwords=[]) == 0


def test_what_somebody_else_made_is_left_alone(errand: Make, do: Any, keycloak: Keycloak) -> None:
    errands = errand("a")
    keycloak.admin("POST", "/acme/clients", {"clientId": "team.a", "secret": "theirs"})
    made = keycloak.clients("acme")
    for task in ("provide", "remove"):
        assert do(errands, task) == 3
        assert "has a client team.a that libre.sh did not make for OIDCClient team/a" in errands.words
    assert do(errands, "provide", **{"for": "OIDCClient team/other"}) == 3
    assert keycloak.clients("acme") == made
    keycloak.admin("DELETE", f"/acme/clients/{made['team.a']['id']}")


def test_what_another_cluster_made_is_left_alone_until_it_is_handed_over(
    errand: Make, do: Any, keycloak: Keycloak
) -> None:
    errands = errand("a")
    assert do(errands, "provide") == 0, errands.words
    for task in ("provide", "remove"):
        assert do(errands, task, "of-two", cluster="two") == 3
        assert "another cluster made for its own OIDCClient team/a (one)" in errands.words
        assert "set namePrefix" in errands.words
    assert in_use(keycloak, "team.a", "first")
    made = keycloak.clients("acme")["team.a"]
    attribute, _, cluster = errands.words.rpartition("attribute ")[2].partition(" to ")
    handed = {**made, "attributes": {**made["attributes"], attribute: cluster}}
    keycloak.admin("PUT", f"/acme/clients/{made['id']}", handed)
    assert do(errands, "remove", passwords=[]) == 3
    assert do(errands, "remove", cluster="two", passwords=[]) == 0, errands.words


@pytest.mark.parametrize("kind", ["a client", "a person"])
def test_an_administrator_of_the_realm_alone_is_enough(errand: Make, do: Any, keycloak: Keycloak, kind: str) -> None:
    name = f"makes-clients-{kind[-1]}"
    keycloak.service_client("acme", name, "its-secret", "manage-clients")
    own = {"admin-client-id": name, "admin-client-secret": "its-secret"}
    if kind == "a person":
        keycloak.give_roles("acme", "alice", "manage-clients")
        own = {"admin-username": "alice", "admin-password": "correct horse"}
    errands = errand("a", adminRealm="acme")
    try:
        assert do(errands, "provide", secrets=own) == 0, errands.words
        assert in_use(keycloak, "team.a", "first")
        assert do(errands, "remove", secrets=own, passwords=[]) == 0, errands.words
        assert set(keycloak.clients("acme")) == {name}
    finally:
        keycloak.admin("DELETE", f"/acme/clients/{keycloak.clients('acme')[name]['id']}")


def test_missing_rights_are_told_with_the_role_that_is_missing(errand: Make, do: Any, keycloak: Keycloak) -> None:
    errands = errand("a", adminRealm="acme")
    for roles in ((), ("view-clients",), ("query-clients",)):
        keycloak.service_client("acme", "weak", "its-secret", *roles)
        own = {"admin-client-id": "weak", "admin-client-secret": "its-secret"}
        assert do(errands, "provide", secrets=own) == 3
        assert "give it the role manage-clients (of the client realm-management in the realm acme)" in errands.words
        keycloak.admin("DELETE", f"/acme/clients/{keycloak.clients('acme')['weak']['id']}")
    assert keycloak.clients("acme") == {}


def test_what_is_wrong_is_told_so_that_somebody_can_mend_it(errand: Make, do: Any, keycloak: Keycloak) -> None:
    errands, place = errand("a"), f"127.0.0.1:{keycloak.port}"
    assert do(errands, "provide", secrets=NOBODY) == 1
    assert f"{place} does not let the administrator in to the realm master: Invalid user credentials" in errands.words
    wrong_client = {"admin-client-id": "nobody", "admin-client-secret": "not-it"}
    assert do(errands, "provide", secrets=wrong_client) == 1
    assert "does not let the administrator's client in to the realm master: Invalid client" in errands.words
    assert do(errands, "provide", realm="nowhere", issuer=f"{keycloak.url}/realms/nowhere") == 3
    assert f"{keycloak.url} has no realm nowhere; make it there" in errands.words
    assert do(errands, "provide", adminRealm="nowhere") == 3
    assert f"{keycloak.url} has no realm nowhere; make it there" in errands.words
    assert do(errands, "provide", issuer="https://login.acme.test/realms/acme") == 3
    assert f"its issuer is {keycloak.url}/realms/acme, and not https://login.acme.test/realms/acme" in errands.words
    assert do(errands, "provide", redirects=["https://a.test/<x>"]) == 3
    assert "does not take the client as spec.parameters describe it: A redirect URI is not a valid URI" in errands.words
    assert do(errands, "provide", url="https://127.0.0.1:1", port=1) == 1
    assert "127.0.0.1:1 cannot be reached: Connection refused" in errands.words
    assert errands.do("provide") == 1
    assert f"{place}: its certificate is not trusted: unable to get local issuer certificate" in errands.words
    assert "caRef" in errands.words
    assert keycloak.clients("acme") == {}


def test_killed_at_any_moment_it_is_done_again(errand: Make, do: Any, keycloak: Keycloak) -> None:
    errands = errand("a")
    started = time.monotonic()
    assert do(errands, "provide") == 0
    whole = time.monotonic() - started
    assert do(errands, "remove", passwords=[]) == 0
    for task in ("provide", "remove"):
        for part in range(1, 7):
            process = errands.begin(task, {"password": "first", "ca.crt": keycloak.authority})
            time.sleep(whole * part / 7)
            process.kill()
            process.wait()
        assert do(errands, task) == 0, errands.words
        assert set(keycloak.clients("acme")) == ({"team.a"} if task == "provide" else set())


def test_no_secret_is_in_the_servers_log(errand: Make, do: Any, keycloak: Keycloak) -> None:
    errands = errand("a")
    assert do(errands, "provide", "a-secret-of-a-client") == 0
    assert do(errands, "remove", passwords=[]) == 0
    log = keycloak.log.read_text()
    assert "a-secret-of-a-client" not in log
    assert f"{ROOT}/{PASSWORD}" not in log
