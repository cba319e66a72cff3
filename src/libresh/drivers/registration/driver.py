"""OIDCClient by dynamic client registration (RFC 7591), changed and removed by the client's own token (RFC 7592).

The provider chooses the client's id and secret; an errand gives them back (`drivers/given.py`). Another secret is
another client: the one before is removed after the new one is published, so that one of them always works. What is done
on the server is in `build/images/errand/libresh_errand/registration.py`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from libresh.api.identity import OIDCClient
from libresh.drivers import authorities, given
from libresh.drivers.accounts import ROTATE
from libresh.drivers.addresses import Address, place_of
from libresh.drivers.authorities import Authority, Key, Name
from libresh.drivers.children import Children
from libresh.drivers.connection import TYPES
from libresh.drivers.errands import GIVING_WATCHES, Errand
from libresh.drivers.given import Given
from libresh.drivers.model import Ask, Provision, Seen, Withdrawal, told_otherwise
from libresh.plan import naming
from libresh.plan.actions import From, Literal, Ref, SecretKey, Theirs, Value
from libresh.plan.decision import Outcome, Stalled, Waiting
from libresh.ports import SecretView, Watched

TOKEN_MISSING = "TokenMissing"
PARTS = ("client-id", "client-secret", "registration-access-token", "registration-client-uri", "told")


class InitialAccessToken(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A Secret with the token that lets clients register."""

    name: Name
    namespace: Name = naming.SYSTEM_NAMESPACE
    key: Key = "token"


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Parameters of a class with this driver."""

    issuer: Address
    """The provider, just as its tokens name it. The rest is found in its metadata."""
    registration_endpoint: Address | None = None
    """Where clients register, if the metadata do not say: at the issuer's port."""
    initial_access_token_ref: InitialAccessToken | None = None
    """The token that lets clients register. Absent: the provider lets anybody."""
    ca_ref: Authority | None = None
    """The authorities of the provider's certificate. Absent: the public ones."""

    def __post_init__(self) -> None:
        places = {}
        for field, address in (("issuer", self.issuer), ("registrationEndpoint", self.registration_endpoint)):
            try:
                places[field] = place_of(address or self.issuer)
            except ValueError as error:
                raise ValueError(f"{field}: {error}") from None
        if places["issuer"][1] != places["registrationEndpoint"][1]:
            raise ValueError("registrationEndpoint must be at the port of the issuer")


class Registration:
    """Serves OIDCClient claims with clients that register themselves at an OpenID Connect provider."""

    name = "registration"
    claim_kind = "OIDCClient"
    parameters = Parameters
    parts = PARTS
    changes = told_otherwise(
        "OIDCClient",
        "a Job tells the provider within seconds, if it gave an address for that (RFC 7592); people stay logged in",
    )
    watches = (*GIVING_WATCHES, Watched("ConfigMap"))

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Another client can always be registered. What else the provider can do is not known."""
        return ("rotate",)

    def refuse(self, ask: Ask) -> Stalled | None:
        """What the provider allows is known when it was asked."""
        return None

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        token = place_of_token(ask)
        own = (children_of(ask).ref("Secret", "credentials"), *((token,) if token else ()))
        return (*own, *authorities.refs_of(ask.parameters.ca_ref))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        return given.provide(given_of(ask, seen), seen, lambda ready: missing_part(ask, seen, ready=ready))

    def withdraw(self, ask: Ask, seen: Seen) -> Withdrawal:
        return given.withdraw(given_of(ask, seen), seen, lambda ready: missing_authority(ask, seen, ready=ready))


def children_of(ask: Ask) -> Children:
    return Children(ask.claim, "oidc", "registration")


def place_of_token(ask: Ask) -> Theirs | None:
    reference = ask.parameters.initial_access_token_ref
    return Theirs("Secret", reference.name, reference.namespace) if reference else None


def missing_part(ask: Ask, seen: Seen, *, ready: bool) -> Outcome | None:
    """What the cluster's operator has not provided. A client that is there needs no initial access token."""
    reference, ref = ask.parameters.initial_access_token_ref, place_of_token(ask)
    if not ready and reference is not None and ref is not None:
        view = seen.secret(ref)
        if view is None or reference.key not in view.keys:
            return Waiting(
                TOKEN_MISSING,
                f"ServiceClass {ask.class_name}: spec.parameters.initialAccessTokenRef: there is no {ref} with the key "
                f"{reference.key}; make it",
            )
    return missing_authority(ask, seen, ready=ready)


def missing_authority(ask: Ask, seen: Seen, *, ready: bool) -> Outcome | None:
    return authorities.missing(ask.parameters.ca_ref, ask.class_name, seen, ready=ready)


def given_of(ask: Ask, seen: Seen) -> Given:
    names = children_of(ask)
    view = seen.secret(names.ref("Secret", "credentials"))
    host, port = place_of(ask.parameters.issuer)
    return Given(
        ask,
        names,
        PARTS,
        lambda task, editions, files: errand_of(ask, seen, task, editions),
        lambda key: connection_of(ask, seen, key),
        f"{host}:{port}",
        renewals_of(view),
        seen.now,
    )


def renewals_of(view: SecretView | None) -> Mapping[str, datetime]:
    """When editions should have a successor. What is not to be read is as if nothing had been said."""
    said = view.metadata.annotations.get(naming.RENEW_ANNOTATION, "") if view else ""
    found = {}
    for edition, separator, due in (each.partition("=") for each in said.split(",")):
        try:
            moment = datetime.fromisoformat(due) if separator else None
        except ValueError:
            continue
        if moment is not None and moment.tzinfo is not None:
            found[edition] = moment
    return found


def errand_of(ask: Ask, seen: Seen, task: str, editions: tuple[str, ...]) -> Errand:
    """What is done at the provider. It has all that was ever given back, to remove what is not wanted any more."""
    claim, parameters = ask.claim, ask.parameters
    assert isinstance(claim, OIDCClient)
    asked, token = claim.spec.parameters, parameters.initial_access_token_ref
    host, port = place_of(parameters.issuer)
    kind = f"{claim.KIND.plural}.{claim.KIND.group}"
    order = {
        "issuer": parameters.issuer,
        "registration": parameters.registration_endpoint or "",
        "host": host,
        "port": port,
        "editions": list(editions),
        "name": asked.client_name or claim.name,
        "home": asked.client_uri or "",
        "redirects": sorted(asked.redirect_uris),
        "afterLogout": sorted(asked.post_logout_redirect_uris),
        "software": claim.metadata.uid,
        "token": f"the key {token.key} of the Secret {token.namespace}/{token.name}" if token else "",
        "class": ask.class_name,
        "for": f"{claim.KIND.kind} {claim.namespace}/{claim.name}",
        "anew": f"kubectl -n {claim.namespace} annotate {kind} {claim.name} --overwrite {ROTATE}=<another text>",
    }
    gives = children_of(ask).ref("Secret", "credentials") if editions else None
    return Errand(ask, "registration", task, host, port, order, secrets_of(ask, seen, editions), gives=gives)


def secrets_of(ask: Ask, seen: Seen, editions: tuple[str, ...]) -> dict[str, Value]:
    """What was given back, as files of the same names, when its parts end, and what lets clients register."""
    place = children_of(ask).ref("Secret", "credentials")
    view, token = seen.secret(place), place_of_token(ask)
    keys = view.keys if view else frozenset()
    whole = [edition for edition in {key.partition(".")[0] for key in keys} if keys.issuperset(keys_of(edition))]
    files: dict[str, Value] = {
        key: From(SecretKey(place.namespace, place.name, key)) for edition in sorted(whole) for key in keys_of(edition)
    }
    notes = view.metadata.annotations.get(naming.RENEW_ANNOTATION, "") if view else ""
    if notes:
        files["notes"] = Literal(notes)
    if authority := authorities.value_of(ask.parameters.ca_ref, seen):
        files["ca.crt"] = authority
    if token is not None and any(edition not in whole for edition in editions):
        reference = ask.parameters.initial_access_token_ref
        files["initial-access-token"] = From(SecretKey(token.namespace, token.name, reference.key))
    return files


def keys_of(edition: str) -> list[str]:
    return [f"{edition}.{part}" for part in PARTS]


def connection_of(ask: Ask, seen: Seen, key: Callable[[str], SecretKey]) -> dict[str, Value]:
    """The connection secret, as published for every OIDCClient."""
    issuer: str = ask.parameters.issuer
    host, port = place_of(issuer)
    values: dict[str, Value] = {
        "type": Literal(TYPES["OIDCClient"]),
        "provider": Literal("registration"),
        "host": Literal(host),
        "port": Literal(str(port)),
        "issuer": Literal(issuer),
        "client-id": From(key("client-id")),
        "client-secret": From(key("client-secret")),
        "uri": Literal(issuer),
    }
    authority = authorities.value_of(ask.parameters.ca_ref, seen)
    return values | {"ca.crt": authority} if authority else values


DRIVERS = (Registration(),)
