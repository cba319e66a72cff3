"""One sample of everything the laws are held against: every driver with a claim and a class of its own."""

from collections.abc import Iterator
from typing import Any

import msgspec

from libresh.api import CLAIMS
from libresh.api.claims import Claim
from libresh.api.meta import ObjectMeta
from libresh.api.services import ServiceClass, ServiceClassSpec
from libresh.catalog.settings import Settings
from libresh.drivers import drivers
from libresh.drivers.connection import USUAL
from libresh.drivers.model import Ask, Driver, Seen
from libresh.plan import naming
from libresh.plan.actions import Action, Apply, Mint, Object, Ref
from libresh.ports import SecretView

SETTINGS = Settings(image_prefix="images.example.org", domain="example.org")
LONGEST_NAME = "n" * 46
CLAIM_PARAMETERS: dict[str, dict[str, Any]] = {"OIDCClient": {"redirectUris": ["https://app.example.org/callback"]}}


VARIANTS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("PostgreSQL", "embedded"): [{"members": 3}],
    ("PostgreSQL", "zalando"): [{"archive": True, "tls": {"secretName": "tls"}}],
    ("Bucket", "embedded"): [{"members": 3}],
}
"""Parameters that make a driver do something else than without them: the laws hold for these, too."""


class Variant:
    """A driver whose sample class has other parameters."""

    def __init__(self, driver: Driver, parameters: dict[str, Any]) -> None:
        self.driver, self.of_class = driver, parameters

    def __getattr__(self, name: str) -> Any:
        return getattr(self.driver, name)


def class_parameters(driver: Driver) -> dict[str, Any]:
    """The parameters of a class, where a driver needs some."""
    if isinstance(driver, Variant):
        return driver.of_class
    if driver.name == "static":
        return {"secretRef": {"name": "given", "namespace": "libresh-system"}}
    if driver.name == "external":
        return {"host": "server.example.org", "tls": "require", "adminSecretRef": {"name": "admin"}}
    if driver.name == "keycloak":
        return {"url": "https://login.example.org", "realm": "acme", "adminSecretRef": {"name": "admin"}}
    if driver.name == "registration":
        return {"issuer": "https://login.example.org", "initialAccessTokenRef": {"name": "initial"}}
    if driver.name == "s3":
        return {"endpoint": "https://s3.example.org", "adminSecretRef": {"name": "admin"}}
    if driver.name == "composition":
        base = {
            "apiVersion": "example.org/v1",
            "kind": "Service",
            "spec": {"writeConnectionSecretToRef": {"name": "its"}},
        }
        keys = [key for key in USUAL[driver.claim_kind] if key not in ("type", "provider")]
        details = [{"name": key, "fromConnectionSecretKey": key} for key in keys]
        patch = {"fromFieldPath": "metadata.name", "toFieldPath": "spec.title"}
        return {"resources": [{"base": base, "patches": [patch], "connectionDetails": details}]}
    if driver.name == "cloudnative-pg":
        return {
            "images": {"17": "images.example.org/postgresql:17"},
            "backup": {"schedule": "0 3 * * *", "objectStore": "s"},
        }
    if driver.name == "crossplane":
        return {"apiVersion": "example.org/v1", "kind": "Service"}
    return {}


def all_drivers() -> Iterator[Driver]:
    """Every driver that can be found, some with several sets of parameters."""
    for key, driver in sorted(drivers().items()):
        yield driver
        yield from (Variant(driver, parameters) for parameters in VARIANTS.get(key, ()))


def driver_id(driver: Driver) -> str:
    words = [f"{key}={value}" for key, value in driver.of_class.items()] if isinstance(driver, Variant) else []
    return "-".join([driver.claim_kind, driver.name, *words])


def sample_claim(driver: Driver, name: str = "sample") -> Claim:
    """A claim of the driver's kind, as the API server would give it back."""
    kind = next(kind for kind in CLAIMS if kind.KIND.kind == driver.claim_kind)
    stored = {
        "apiVersion": kind.KIND.api_version,
        "kind": kind.KIND.kind,
        "metadata": {"name": name, "namespace": "team", "uid": "uid-of-claim", "generation": 1},
        "spec": {"parameters": CLAIM_PARAMETERS.get(driver.claim_kind, {})},
    }
    return msgspec.convert(stored, kind)


def sample_class(driver: Driver) -> ServiceClass:
    """A class of the driver."""
    spec = ServiceClassSpec(
        claim_kind=driver.claim_kind,  # type: ignore[arg-type]
        driver=driver.name,
        parameters=class_parameters(driver),
    )
    return ServiceClass(metadata=ObjectMeta(name="sample-class", uid="uid-of-class"), spec=spec)


def sample_ask(driver: Driver, name: str = "sample") -> Ask:
    parameters = msgspec.convert(class_parameters(driver), driver.parameters)
    return Ask(sample_claim(driver, name), "sample-class", parameters, True, SETTINGS)


def secret_view(ref: Ref, keys: frozenset[str]) -> SecretView:
    """A Secret with these keys; as credentials it has one on record that a server was told of by an earlier errand."""
    chosen = "first.access-key-id" in keys
    record = {naming.DONE_ANNOTATION: "first/earlier" if chosen else "password/earlier"}
    meta = ObjectMeta(name=ref.name, namespace=ref.namespace, uid="uid", annotations=record)
    return SecretView(meta, "Opaque", keys, "digest")


def everything_seen(driver: Driver, refs: tuple[Ref, ...]) -> Seen:
    """As if every Secret that is asked for were there with all keys, and nothing else yet."""
    given = {f"password.{part}" for part in getattr(driver, "parts", ())}
    others = {"accounts", "team.sample.json", "dbname", "ca.crt", "username", "password", "token"}
    keys = frozenset({*USUAL[driver.claim_kind], *others, *given})
    if driver.name == "s3":
        keys |= {"first.access-key-id", "first.secret-access-key", "can.versioning"}
    return Seen(secrets={ref: secret_view(ref, keys) for ref in refs if ref.kind == "Secret"})


def planned(driver: Driver, name: str = "sample") -> tuple[Action, ...]:
    """All actions for a claim of this driver, and for its class's server if it runs one."""
    ask = sample_ask(driver, name)
    actions = driver.plan(ask, everything_seen(driver, driver.looks_at(ask))).actions
    if hasattr(driver, "plan_server"):
        cls, claims = sample_class(driver), [ask.claim]
        refs = driver.server_looks_at(cls, ask.parameters, claims, SETTINGS)
        actions += driver.plan_server(cls, ask.parameters, claims, everything_seen(driver, refs), SETTINGS).actions
    return actions


def applied(actions: tuple[Action, ...]) -> list[Object]:
    return [action.object for action in actions if isinstance(action, Apply)]


def minted(actions: tuple[Action, ...]) -> list[Mint]:
    return [action for action in actions if isinstance(action, Mint)]


def pod_specs(found: list[Object]) -> Iterator[tuple[Object, Object]]:
    """Every workload with the pod it makes."""
    for obj in found:
        if obj["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield obj, obj["spec"]["template"]
        elif obj["kind"] == "CronJob":
            yield obj, obj["spec"]["jobTemplate"]["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
