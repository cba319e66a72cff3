"""A client that registers itself (RFC 7591) and is then read, changed and removed by its own token (RFC 7592).

The provider chooses the client's id, its secret and that token; they are given back at once, and nothing that can fail
comes between. Before the provider is asked it is tried whether they could be given back. Whatever comes to nothing in
between is removed again; only a program that is killed in that moment leaves a client nobody knows, of which
`software_id` (where the provider keeps it) says for which claim it was made.

A provider may give another token or secret with every answer (Keycloak does at every change): the last one counts.
"""

import contextlib
import json
import signal
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from libresh_errand import giving, web
from libresh_errand.errand import Refused, Trouble

PARTS = ("client-id", "client-secret", "registration-access-token", "registration-client-uri", "told")
NOTE = "libre.sh/renew"
"""The annotation that says of editions when another is due: `first=2027-01-01T00:00:00Z`, several with commas."""
NOT_SENT = ("registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at")
"""What an update must not have (RFC 7592, 2.2)."""
LIFE = 2 / 3
"""The part of a secret's life after which another is due."""
LEAST = 3600
"""Seconds between one secret and the next, however short they live."""


def provide(errand):
    about = look(errand)
    giving.give(errand, {}, trial=True)
    clients = known(errand)
    wanted = errand["editions"]
    missing = [edition for edition in wanted if edition not in clients]
    with undisturbed():
        if missing:
            for edition in missing:
                clients[edition] = register(errand, about)
        else:
            for edition in [each for each in clients if each not in wanted]:
                remove_one(errand, about, clients.pop(edition))
            update(errand, clients[wanted[-1]])
        give_back(errand, clients, missing)


def remove(errand):
    clients = known(errand)
    about = look(errand) if clients else {}
    for client in clients.values():
        remove_one(errand, about, client)


class Client:
    """One registration: what the provider chose, and when its secret ends."""

    def __init__(self, values):
        self.values = dict(values)
        self.ends = 0

    def __getitem__(self, part):
        return self.values[part]

    def take(self, errand, document):
        """Whatever an answer has that is other than before."""
        names = {part: part.replace("-", "_") for part in PARTS[:-1]}
        for part, name in names.items():
            if isinstance(document.get(name), str) and document[name]:
                self.values[part] = document[name]
                errand.hide(document[name] if part in PARTS[1:3] else "")
        ends = document.get("client_secret_expires_at")
        self.ends = int(ends) if isinstance(ends, int | float) and not isinstance(ends, bool) else 0


def known(errand):
    """The clients that were given back before."""
    found = {}
    for path in errand.folder.glob(f"*.{PARTS[0]}"):
        edition = path.name.removesuffix(f".{PARTS[0]}")
        found[edition] = Client({part: errand.secret(f"{edition}.{part}") for part in PARTS})
    return found


@contextlib.contextmanager
def undisturbed():
    """A request to end waits until what the provider said is given back."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def give_back(errand, clients, new):
    """All of it, and what is new is removed again if it cannot be."""
    values = {f"{edition}.{part}": client[part] for edition, client in clients.items() for part in PARTS}
    try:
        giving.give(errand, values, notes=renewals(errand, clients))
    except Trouble:
        for edition in new:
            forget(errand, clients[edition])
        raise


def renewals(errand, clients):
    """When each edition's secret should have a successor; what was said of one that was not asked about stays."""
    before = dict(each.split("=", 1) for each in (errand.known("notes") or "").split(",") if "=" in each)
    said = {edition: before[edition] for edition in clients if edition in before}
    for edition, client in clients.items():
        if client.ends:
            now = time.time()
            due = now + max((client.ends - now) * LIFE, LEAST)
            said[edition] = datetime.fromtimestamp(int(due), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {NOTE: ",".join(f"{edition}={due}" for edition, due in sorted(said.items()))} if said else {}


# --- the provider ------------------------------------------------------------------------------------------------


def look(errand):
    """What the provider says of itself."""
    about = web.metadata(errand, errand["issuer"])
    if about is None:
        raise Refused(
            f"{errand['issuer']} is no OpenID Connect provider: it has no /.well-known/openid-configuration; set "
            f"spec.parameters.issuer in a class like ServiceClass {errand['class']} to one that is"
        )
    return about


def endpoint(errand, about):
    """Where clients register."""
    address = errand["registration"] or about.get("registration_endpoint")
    if not isinstance(address, str):
        raise Refused(
            f"{errand['issuer']} does not say where clients register: allow registration there, or set "
            f"spec.parameters.registrationEndpoint in a class like ServiceClass {errand['class']}"
        )
    return checked(errand, address)


def checked(errand, address):
    """Our tokens go nowhere but encrypted, and the errand gets to no other port."""
    parts = urlsplit(address)
    if parts.scheme != "https" or (parts.port or 443) != errand["port"]:
        raise Refused(
            f"{errand['issuer']} names {parts.scheme}://{parts.netloc}: what clients are managed at must be https, at "
            f"the port {errand['port']} of the issuer"
        )
    return address


def wanted(errand):
    """What the claim says of the client, as RFC 7591 (2) has it."""
    document = {
        "client_name": errand["name"],
        "client_uri": errand["home"],
        "redirect_uris": errand["redirects"],
        "post_logout_redirect_uris": errand["afterLogout"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
        "software_id": errand["software"],
    }
    return {key: value for key, value in document.items() if value}


def text_of(document):
    return json.dumps(document, sort_keys=True)


# --- making ------------------------------------------------------------------------------------------------------


def register(errand, about):
    address, document = endpoint(errand, about), wanted(errand)
    token = (errand.known("initial-access-token") or "").strip()
    errand.hide(token)
    answer = web.ask(errand, "POST", address, token=token, document=document)
    if answer.status in (401, 403):
        way_out = (
            f"put another token into {errand['token']}"
            if errand["token"]
            else f"name one in spec.parameters.initialAccessTokenRef of a class like ServiceClass {errand['class']}"
        )
        raise Refused(f"{errand.server} does not let clients register with what it was shown: {answer.said}; {way_out}")
    judge(errand, answer, (200, 201))
    client = Client(dict.fromkeys(PARTS, ""))
    client.take(errand, answer.document)
    client.values["told"] = text_of(document)
    try:
        check(errand, client, answer.document)
    except Refused:
        forget(errand, client)
        raise
    return client


def judge(errand, answer, expected):
    if answer.status == 400:
        raise Refused(f"{errand.server} does not take the client as spec.parameters describe it: {answer.said}")
    if answer.status not in expected or not isinstance(answer.document, dict):
        raise Trouble(f"{errand.server} does not register clients as RFC 7591 has it: {answer.said}")


def check(errand, client, document):
    """A provider may answer with something else than was asked for (RFC 7591, 3.2.1)."""
    if not client["client-id"] or not client["client-secret"]:
        raise Refused(f"{errand.server} registers no client with a secret; it must allow client_secret_basic")
    redirects = document.get("redirect_uris", errand["redirects"])
    if set(redirects) != set(errand["redirects"]):
        raise Refused(
            f"spec.parameters.redirectUris: {errand.server} takes them for {', '.join(map(str, redirects))[:300]}; "
            f"name what it allows"
        )


def update(errand, client):
    """Brings a client to what the claim says, and learns what has become of its secret."""
    document = wanted(errand)
    if not client["registration-client-uri"]:
        if client["told"] != text_of(document):
            raise Refused(
                f"{errand.server} gave no address to change the client {client['client-id']} at (RFC 7592): set "
                f"spec.parameters back, or have another client registered: {errand['anew']}"
            )
        return
    answer = managed(errand, client, "GET")
    client.take(errand, answer.document)
    if not differs(answer.document, document):
        client.values["told"] = text_of(document)
        return
    # What has no value is left out: Canaille 0.3.6 names it, and does not take it back.
    others = {key: value for key, value in answer.document.items() if value not in (None, "", [])}
    kept = {key: value for key, value in others.items() if key not in (*NOT_SENT, *wanted_keys())}
    sent = {**kept, **document, "client_id": client["client-id"], "client_secret": client["client-secret"]}
    answer = managed(errand, client, "PUT", sent)
    client.take(errand, answer.document)
    client.values["told"] = text_of(document)
    check(errand, client, answer.document)


def wanted_keys():
    return ("client_name", "client_uri", "redirect_uris", "post_logout_redirect_uris")


def differs(has, document):
    """Whether the provider must be told. Where nothing is said of addresses after log-out, those after log-in may be
    meant (Keycloak says so)."""
    assumed = {"post_logout_redirect_uris": document["redirect_uris"]}
    has = {key: comparable(has.get(key)) for key in wanted_keys()}
    return any(
        has[key] != comparable(document.get(key)) and (key in document or has[key] != comparable(assumed.get(key)))
        for key in has
    )


def comparable(value):
    return sorted(map(str, value)) if isinstance(value, list) else value or []


def managed(errand, client, method, document=None):
    """One request with the client's own token, about itself."""
    address = checked(errand, client["registration-client-uri"])
    answer = web.ask(errand, method, address, token=client["registration-access-token"], document=document)
    if answer.status in (401, 403, 404, 405):
        raise Trouble(
            f"{errand.server} does not let the client {client['client-id']} be managed: {answer.said}. If it goes on "
            f"so, have another one registered: {errand['anew']}"
        )
    judge(errand, answer, (200,))
    return answer


# --- removing ----------------------------------------------------------------------------------------------------


def remove_one(errand, about, client):
    """A client's end. Providers say the same of a client that is gone and of a token that is not its own (RFC 7592,
    2.3), so it is seen whether it still lets anybody in."""
    said = "it gave no address to do that at (RFC 7592)"
    if client["registration-client-uri"]:
        address = checked(errand, client["registration-client-uri"])
        answer = web.ask(errand, "DELETE", address, token=client["registration-access-token"])
        if 200 <= answer.status < 300:
            return
        said = answer.said
    endpoint = checked(errand, str(about.get("token_endpoint")))
    if web.lets_in(errand, endpoint, client["client-id"], client["client-secret"]):
        raise Refused(
            f"{errand.server} does not remove the client {client['client-id']}: {said}; remove it there by hand"
        )


def forget(errand, client):
    """Removes, as well as can be, what was registered and cannot be used."""
    with contextlib.suppress(Refused, Trouble):
        if client["registration-client-uri"]:
            address = checked(errand, client["registration-client-uri"])
            web.ask(errand, "DELETE", address, token=client["registration-access-token"])
