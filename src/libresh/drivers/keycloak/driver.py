"""OIDCClient by a Keycloak that somebody else runs: a client for each claim, made through its admin API.

For realms where nobody may register clients; where one may, the driver `registration` needs no administrator. What is
done on the server is in `build/images/errand/libresh_errand/keycloak.py`.
"""

from typing import Annotated, Any

import msgspec

from libresh.api.identity import OIDCClient
from libresh.drivers.accounts import ADMIN_KEYS, Account, AccountDriver, Administered
from libresh.drivers.addresses import Address, place_of
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.model import Ask, told_otherwise
from libresh.plan.actions import From, Literal, SecretKey, Value
from libresh.plan.decision import Stalled

CLIENT_KEYS = ("client-id", "client-secret")
LONGEST = 255
"""What a column of Keycloak's database takes of an address (26.4: REDIRECT_URIS.VALUE, CLIENT.BASE_URL)."""
TOO_LONG = "AddressTooLong"

Realm = Annotated[str, msgspec.Meta(min_length=1, max_length=36, pattern=r"^[A-Za-z0-9][-A-Za-z0-9._]*\Z")]


class Parameters(Administered, kw_only=True):
    """Parameters of a class with this driver."""

    url: Address
    """Where pods reach Keycloak: https, with the path it is served below, if there is one."""
    realm: Realm
    """The realm that people log in to."""
    issuer: Address | None = None
    """The realm's issuer, as its tokens name it. Absent: the realm's address below `url`."""
    admin_realm: Realm | None = None
    """The realm that the administrator logs in to. Absent: the same."""

    def __post_init__(self) -> None:
        for field, address in (("url", self.url), ("issuer", self.issuer or self.url)):
            try:
                place_of(address)
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from None


class Keycloak(AccountDriver):
    """Serves OIDCClient claims with clients in a realm of a Keycloak that somebody else runs."""

    name = "keycloak"
    claim_kind = "OIDCClient"
    parameters = Parameters
    changes = told_otherwise("OIDCClient", "a Job sets it in the realm within seconds; people are not logged out")

    def account_of(self, ask: Ask) -> Account:
        parameters = ask.parameters
        return Account(
            ask,
            Children(ask.claim, "oidc", "keycloak"),
            "keycloak",
            *place_of(parameters.url),
            order_of(ask),
            lambda secret: connection_of(ask, secret),
            published="client-secret",
            logins=(ADMIN_KEYS, CLIENT_KEYS),
        )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Realms have users, of their own or of a directory."""
        return (*super().capabilities(parameters), "users")

    def refuse(self, ask: Ask) -> Stalled | None:
        """Keycloak answers an address that does not fit its database with an internal error."""
        asked = ask.claim.asked
        fields = {"redirectUris": asked.redirect_uris, "clientUri": [asked.client_uri or ""]}
        for field, addresses in fields.items():
            if long := next((each for each in addresses if len(each) > LONGEST), None):
                return Stalled(
                    TOO_LONG,
                    f"spec.parameters.{field}: {long[:40]}… has {len(long)} characters, and Keycloak keeps {LONGEST} "
                    f"at most; name a shorter one",
                )
        return None


def client_of(ask: Ask) -> str:
    """The id of a claim's client. Neither namespaces nor names of claims have dots: no two are the same."""
    return f"{ask.parameters.name_prefix}{ask.claim.namespace}.{ask.claim.name}"


def issuer_of(parameters: Parameters) -> str:
    """Keycloak's own layout of addresses, where the class does not say otherwise. The errand sees whether it is so."""
    return parameters.issuer or f"{parameters.url.rstrip('/')}/realms/{parameters.realm}"


def order_of(ask: Ask) -> dict[str, Any]:
    claim, parameters = ask.claim, ask.parameters
    assert isinstance(claim, OIDCClient)
    asked = claim.spec.parameters
    return {
        "url": parameters.url.rstrip("/"),
        "realm": parameters.realm,
        "adminRealm": parameters.admin_realm or parameters.realm,
        "issuer": issuer_of(parameters),
        "client": client_of(ask),
        "name": asked.client_name or claim.name,
        "home": asked.client_uri or "",
        "redirects": sorted(asked.redirect_uris),
        "afterLogout": sorted(asked.post_logout_redirect_uris),
        "class": ask.class_name,
    }


def connection_of(ask: Ask, secret: SecretKey) -> dict[str, Value]:
    """The connection secret, as published for every OIDCClient."""
    issuer = issuer_of(ask.parameters)
    host, port = place_of(issuer)
    return {
        "type": Literal(TYPES["OIDCClient"]),
        "provider": Literal("keycloak"),
        "host": Literal(host),
        "port": Literal(str(port)),
        "issuer": Literal(issuer),
        "client-id": Literal(client_of(ask)),
        "client-secret": From(secret),
        "uri": Literal(issuer),
    }


DRIVERS = (Keycloak(),)
