"""Claims and classes for tests of drivers that hand claims to other operators."""

from typing import Any

import msgspec

from laws import samples
from libresh.drivers import drivers
from libresh.drivers.model import Ask, Driver, Provision, Seen
from libresh.plan import naming
from libresh.plan.actions import Apply, Object, Ref, Theirs

CLAIM_PARAMETERS: Object = {"storage": "5Gi"}


def driver_of(name: str, kind: str = "PostgreSQL") -> Driver:
    return drivers()[kind, name]


def ask_of(driver: Driver, parameters: Object, *, spec: Object | None = None, status: Object | None = None) -> Ask:
    """A claim my-db in team of a class with these parameters."""
    claim = samples.sample_claim(driver, "my-db")
    stored = {
        "apiVersion": claim.KIND.api_version,
        "kind": claim.KIND.kind,
        "metadata": {"name": "my-db", "namespace": "team", "uid": "12345678-of-claim"},
        "spec": spec or {"parameters": samples.CLAIM_PARAMETERS.get(driver.claim_kind, {})},
        "status": status or {},
    }
    converted = msgspec.convert(parameters, driver.parameters)
    return Ask(msgspec.convert(stored, type(claim)), "handed", converted, True, samples.SETTINGS)


def wished(driver: Driver, ask: Ask, seen: Seen | None = None) -> dict[str, Object]:
    """The objects a driver would apply, by their kind."""
    actions = driver.plan(ask, seen or Seen()).actions
    return {each.object["kind"]: each.object for each in actions if isinstance(each, Apply)}


def ref(obj: Object) -> Ref:
    kind = naming.composed_kind(obj["apiVersion"], obj["kind"])
    return Ref(kind, obj["metadata"]["name"], obj["metadata"]["namespace"])


def plan_with(driver: Driver, ask: Ask, statuses: dict[str, Any], keys: frozenset[str]) -> Provision:
    """What is concluded once all objects are there with these statuses, and every Secret with these keys."""
    found = {ref(obj): obj | {"status": statuses.get(kind, {})} for kind, obj in wished(driver, ask).items()}
    refs = [each for each in driver.looks_at(ask) if isinstance(each, Theirs)]
    return driver.plan(ask, Seen(found, {each: samples.secret_view(each, keys) for each in refs}))


def complaint(driver: Driver, parameters: Object) -> str:
    """What is said of parameters that cannot be used; "" where they can."""
    try:
        msgspec.convert(parameters, driver.parameters)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
