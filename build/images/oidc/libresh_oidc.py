"""Canaille's web application with what libre.sh adds: a registration token that may be used again, and first users.

Canaille's own initial access tokens register one client each. With REGISTRATION_TOKEN mounted, that token registers any
number of clients, as RFC 7591 has it and other providers do; without either, registration is refused.
"""

import hmac
import json
import os
from pathlib import Path

import canaille
from asgiref.wsgi import WsgiToAsgi
from canaille.app import models
from canaille.backends import Backend
from canaille.oidc.provider import ClientConfigurationEndpoint
from werkzeug.middleware.proxy_fix import ProxyFix

REGISTRATION_TOKEN = Path(os.environ.get("LIBRESH_REGISTRATION_TOKEN", "/etc/libresh/oidc/registration-token"))
USERS = Path(os.environ.get("LIBRESH_USERS", "/etc/libresh/oidc/users.json"))


def create_app():
    """The application for hypercorn. One hop in front, the edge, is trusted to say how people came."""
    app = canaille.create_app()
    if app.config["CANAILLE_OIDC"]["DYNAMIC_CLIENT_REGISTRATION_OPEN"]:
        raise SystemExit("DYNAMIC_CLIENT_REGISTRATION_OPEN is set: mount a registration token instead")
    app.config["CANAILLE_OIDC"]["DYNAMIC_CLIENT_REGISTRATION_OPEN"] = True
    with app.app_context(), Backend.instance.session():
        create_users()
    app.wsgi_app = ProxyFix(RegistrationGuard(app.wsgi_app), x_for=1, x_proto=1, x_host=1, x_port=1)
    return WsgiToAsgi(app)


def create_users() -> None:
    """Make the users of the file who are not there yet; those who are there are left as they are."""
    for wanted in json.loads(USERS.read_text()) if USERS.exists() else []:
        if Backend.instance.get(models.User, user_name=wanted["user_name"]) is None:
            names = ("user_name", "password", "given_name", "family_name", "display_name")
            attributes = {name: wanted[name] for name in names if name in wanted}
            attributes.setdefault("family_name", wanted["user_name"])
            attributes.setdefault("formatted_name", wanted.get("display_name", wanted["user_name"]))
            user = models.User(**attributes, emails=[wanted["email"]])
            Backend.instance.save(user)
            print(f"created user {wanted['user_name']}", flush=True)


class ManagementToken:
    """What Authlib 1.9 asks of a client's own token; this Canaille still answers it with a plain True."""

    def __init__(self, claims: dict) -> None:
        self.claims = claims

    def check_client(self, client) -> bool:
        return self.claims.get("sub") == client.client_id


def authenticate_management(endpoint, request):
    if CANAILLE_AUTHENTICATE(endpoint, request) is not True:
        return None
    return ManagementToken(request.jwt_claims)


CANAILLE_AUTHENTICATE = ClientConfigurationEndpoint.authenticate_token
ClientConfigurationEndpoint.authenticate_token = authenticate_management


class RegistrationGuard:
    """Lets a registration through only with the mounted token, or with one that Canaille itself signed."""

    def __init__(self, app) -> None:
        self.app = app

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"].rstrip("/") == "/oauth/register":
            scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
            expected = REGISTRATION_TOKEN.read_text().strip() if REGISTRATION_TOKEN.exists() else ""
            if scheme.lower() != "bearer" or not given.strip():
                return refuse(start_response)
            if expected and hmac.compare_digest(given.strip().encode(), expected.encode()):
                # Known to us: Canaille then registers without a token of its own.
                del environ["HTTP_AUTHORIZATION"]
        return self.app(environ, start_response)


def refuse(start_response):
    body = b'{"error": "invalid_token", "error_description": "An initial access token is needed"}'
    headers = [("Content-Type", "application/json"), ("WWW-Authenticate", "Bearer"), ("Content-Length", str(len(body)))]
    start_response("401 Unauthorized", headers)
    return [body]
