"""A client in a realm of Keycloak, made as declared or removed, through the admin API. Everything may be done again.

The client bears our mark (attributes that say for which claim of which cluster it is) from the moment it exists; one
without it is somebody else's and left alone. The administrator is a user, or a client with a service account; either
needs the role manage-clients for the realm.

Keycloak 26.4: an update leaves alone what it does not name, so mappers, scopes and themes are free for others to set. A
client has one secret. (Its client-secret-rotation, a preview, keeps the one before for a while, but only where Keycloak
itself makes the new one: see ClientSecretRotationExecutor in its sources.)
"""

from urllib.parse import quote

from libresh_errand import web
from libresh_errand.errand import Refused, Trouble

MARK, OF_CLUSTER = "libre.sh/for", "libre.sh/cluster"
WAY_OUT = "set namePrefix in a class of its own for each cluster"
NOWHERE = "-"
"""What Keycloak takes for: to none at all. Left empty it would be: wherever people may be sent after they logged in."""


def provide(errand):
    check_realm(errand)
    token = log_in(errand)
    found = find(errand, token)
    if found is None:
        make(errand, token)
    else:
        check_ours(errand, found)
        change(errand, token, found["id"])
    check_login(errand)


def remove(errand):
    token = log_in(errand)
    found = find(errand, token)
    if found is None:
        return
    check_ours(errand, found)
    answer = admin(errand, token, "DELETE", f"/{quote(found['id'], safe='')}")
    if answer.status not in (204, 404):
        raise Trouble(f"{errand.server} does not remove the client {errand['client']}: {answer.said}")


# --- looking -----------------------------------------------------------------------------------------------------


def check_realm(errand):
    """That the realm is there, and says of itself what applications will be told of it."""
    if web.metadata(errand, f"{errand['url']}/realms/{errand['realm']}") is None:
        raise no_realm(errand, errand["realm"], "realm")


def no_realm(errand, realm, field):
    return Refused(
        f"{errand['url']} has no realm {realm}; make it there, or set spec.parameters.url and {field} in a class like "
        f"ServiceClass {errand['class']} to what is there"
    )


def log_in(errand):
    """The administrator's token, good for a minute."""
    if (errand.folder / "admin-client-id").exists():
        form = {
            "grant_type": "client_credentials",
            "client_id": errand.secret("admin-client-id"),
            "client_secret": errand.secret("admin-client-secret"),
        }
        who = "the administrator's client"
    else:
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": errand.secret("admin-username"),
            "password": errand.secret("admin-password"),
        }
        who = "the administrator"
    answer = web.ask(errand, "POST", token_endpoint(errand, errand["adminRealm"]), form=form)
    if answer.status == 404:
        raise no_realm(errand, errand["adminRealm"], "adminRealm")
    token = answer.document.get("access_token") if isinstance(answer.document, dict) else None
    if answer.status != 200 or not isinstance(token, str):
        raise Trouble(f"{errand.server} does not let {who} in to the realm {errand['adminRealm']}: {answer.said}")
    return token


def token_endpoint(errand, realm):
    return f"{errand['url']}/realms/{realm}/protocol/openid-connect/token"


def find(errand, token):
    """The client of the claim's id, whoever made it."""
    answer = admin(errand, token, "GET", f"?clientId={quote(errand['client'], safe='')}")
    if answer.status != 200 or not isinstance(answer.document, list):
        raise Trouble(f"{errand.server} does not show the clients of the realm {errand['realm']}: {answer.said}")
    return next((each for each in answer.document if each.get("clientId") == errand["client"]), None)


def admin(errand, token, method, path="", document=None):
    """One request to the admin API for the realm's clients, and what it says where rights are missing."""
    address = f"{errand['url']}/admin/realms/{errand['realm']}/clients{path}"
    answer = web.ask(errand, method, address, token=token, document=document)
    if answer.status == 401:
        raise Trouble(f"{errand.server} does not take the administrator's token: {answer.said}")
    if answer.status == 403:
        owner = f"{errand['realm']}-realm" if errand["adminRealm"] != errand["realm"] else "realm-management"
        raise Refused(
            f"{errand.server}: the administrator may not manage the clients of the realm {errand['realm']}; give it "
            f"the role manage-clients (of the client {owner} in the realm {errand['adminRealm']})"
        )
    return answer


def check_ours(errand, found):
    marks = found.get("attributes") or {}
    told = f"the realm {errand['realm']} of {errand.server} has a client {errand['client']} that "
    if marks.get(MARK) != errand["for"]:
        raise Refused(f"{told}libre.sh did not make for {errand['for']}: it is left alone; {WAY_OUT}")
    if marks.get(OF_CLUSTER) != errand["cluster"]:
        raise Refused(
            f"{told}another cluster made for its own {errand['for']} ({marks.get(OF_CLUSTER)}): it is left alone; "
            f"{WAY_OUT}. If that cluster is no more, this one may have it: set the client's attribute {OF_CLUSTER} to "
            f"{errand['cluster']}"
        )


# --- making ------------------------------------------------------------------------------------------------------


def make(errand, token):
    """The client with its mark, both or neither."""
    answer = admin(errand, token, "POST", document=wanted(errand))
    if answer.status == 409:
        raise Trouble(f"{errand.server} has got a client {errand['client']} at this moment from another hand")
    judge(errand, answer, 201)


def change(errand, token, identity):
    judge(errand, admin(errand, token, "PUT", f"/{quote(identity, safe='')}", wanted(errand)), 204)


def judge(errand, answer, expected):
    if answer.status == 400:
        raise Refused(f"{errand.server} does not take the client as spec.parameters describe it: {answer.said}")
    if answer.status != expected:
        raise Trouble(f"{errand.server} does not take the client {errand['client']}: {answer.said}")


def wanted(errand):
    """What the claim says of the client; nothing else of it is ours."""
    return {
        "clientId": errand["client"],
        "name": errand["name"],
        "description": f"libre.sh: {errand['for']}",
        "protocol": "openid-connect",
        "enabled": True,
        "publicClient": False,
        "clientAuthenticatorType": "client-secret",
        "secret": errand.secret(errand["passwords"][-1]),
        "standardFlowEnabled": True,
        "implicitFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": False,
        "redirectUris": errand["redirects"],
        "baseUrl": errand["home"],
        "attributes": {
            MARK: errand["for"],
            OF_CLUSTER: errand["cluster"],
            "post.logout.redirect.uris": "##".join(errand["afterLogout"]) or NOWHERE,
        },
    }


def check_login(errand):
    """The secret that is to be published works."""
    endpoint = token_endpoint(errand, errand["realm"])
    if not web.lets_in(errand, endpoint, errand["client"], errand.secret(errand["passwords"][-1])):
        raise Trouble(
            f"{errand.server} does not take the secret it was given for the client {errand['client']}: see whether "
            f"a client policy of the realm {errand['realm']} (secret-rotation) changes it, and except this client"
        )
