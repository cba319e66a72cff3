"""Claims and classes for tests of drivers that hand claims to other operators."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from laws import samples
from libresh.api.claims import Claim
from libresh.drivers import drivers
from libresh.drivers.model import Ask, Driver, Origin, Provision, Seen
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


def copy_of(driver: Driver, parameters: Object, theirs: Object, *, at: str | None = None, **more: Any) -> Ask:
    """A claim my-db that is to begin with the data of the claim old, whose class has the parameters `theirs`."""
    source = {"claim": {"name": "old"}, **({"at": at} if at else {})}
    ask = ask_of(driver, parameters, spec={"parameters": {"storage": "5Gi"}, "source": source}, **more)
    stored = {"metadata": {"name": "old", "namespace": "team", "uid": "abcdefgh-of-old"}}
    claim = msgspec.convert(stored, type(ask.claim))
    return replace(ask, origin=Origin(claim, msgspec.convert(theirs, driver.parameters)))


def there(driver: Driver, parameters: Object, claim: Claim, **spec: Any) -> Object:
    """The object that holds the data of a claim, as it is in the cluster. `spec`: what is in it besides."""
    ask = Ask(claim, "handed", msgspec.convert(parameters, driver.parameters), True, samples.SETTINGS)
    made = next(each for each in wished(driver, ask).values() if each["kind"] in ("Cluster", "postgresql"))
    return {**made, "metadata": {**made["metadata"], "uid": f"uid-of-{claim.name}"}, "spec": made["spec"] | spec}


def wished(driver: Driver, ask: Ask, seen: Seen | None = None) -> dict[str, Object]:
    """The objects a driver would apply, by their kind."""
    actions = driver.plan(ask, seen or Seen()).actions
    return {each.object["kind"]: each.object for each in actions if isinstance(each, Apply)}


def ref(obj: Object) -> Ref:
    kind = naming.composed_kind(obj["apiVersion"], obj["kind"])
    return Ref(kind, obj["metadata"]["name"], obj["metadata"]["namespace"])


def plan_with(
    driver: Driver, ask: Ask, statuses: dict[str, Any], keys: frozenset[str], made: Sequence[Object] = ()
) -> Provision:
    """What is concluded once all objects are there with these statuses, and every Secret with these keys.

    `made`: the objects, if they are not those that would be made now.
    """
    objects = made or wished(driver, ask).values()
    found = {ref(obj): obj | {"status": statuses.get(obj["kind"], {})} for obj in objects}
    refs = [each for each in driver.looks_at(ask) if isinstance(each, Theirs)]
    return driver.plan(ask, Seen(found, {each: samples.secret_view(each, keys) for each in refs}))


def complaint(driver: Driver, parameters: Object) -> str:
    """What is said of parameters that cannot be used; "" where they can."""
    try:
        msgspec.convert(parameters, driver.parameters)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
