"""What the reconcilers of claims and of classes share: a class's parameters as its driver takes them, what a
driver asks to see, and what is said of drivers outside of libre.sh.
"""

import marshal
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from libresh.api.conditions import READY, find
from libresh.api.meta import Resource
from libresh.drivers.model import Driver, Seen
from libresh.plan.actions import Object, Ref, Theirs
from libresh.plan.decision import Delegated, Stalled
from libresh.ports import Reader, SecretView

DRIVER_UNKNOWN = "DriverUnknown"
OUTSIDE_DRIVER = "OutsideDriver"  # a controller outside of libre.sh serves it, and has not said anything yet
INVALID_PARAMETERS = "InvalidClassParameters"
WITHOUT_REFERENCES = 2
"""The version of marshal's format in which equal values give equal bytes."""


def read_parameters(driver: Driver, class_name: str, parameters: dict[str, Any]) -> Any | Stalled:
    """The class's parameters as the driver's type, or what is wrong with them."""
    try:
        return fitted(driver.parameters, parameters)
    except msgspec.ValidationError as error:
        return Stalled(
            INVALID_PARAMETERS,
            f"ServiceClass {class_name}: spec.parameters do not fit the driver {driver.name}: {error}; "
            f"it takes: {', '.join(driver.parameters.__struct_encode_fields__) or '(none)'}",
        )


def fitted(type: type[msgspec.Struct], parameters: dict[str, Any]) -> Any:
    """Parameters as the driver's type. Thousands of claims have those of one class, and some take long to check."""
    try:
        return fitted_once(type, marshal.dumps(parameters, WITHOUT_REFERENCES))
    except ValueError as error:
        if isinstance(error, msgspec.MsgspecError):
            raise
        return msgspec.convert(parameters, type)  # YAML's types that JSON does not have


@lru_cache(maxsize=256)
def fitted_once(type: type[msgspec.Struct], parameters: bytes) -> Any:
    return msgspec.convert(marshal.loads(parameters), type)


async def observe_refs(refs: Sequence[Ref], reader: Reader) -> Seen:
    """The objects and Secrets a driver asked for."""
    found: dict[Ref, Object | None] = {}
    secrets: dict[Ref, SecretView | None] = {}
    for ref in refs:
        if ref.kind == "Secret":
            theirs = isinstance(ref, Theirs)
            among = ref.among if isinstance(ref, Theirs) else ""
            secrets[ref] = await reader.secret(ref.namespace, ref.name, ours=not theirs, among=among)
        else:
            found[ref] = await reader.get(ref, foreign=isinstance(ref, Theirs))
    return Seen(found, secrets)


def delegated(driver: str, where: str, *, heard: bool) -> Delegated:
    """What is said while the controller outside has said nothing."""
    message = (
        f"{where} has the driver {driver}, which is not part of libre.sh: its own controller serves the claims and "
        f"says how they stand. It has said nothing yet; if it goes on so, see whether it runs"
    )
    return Delegated(OUTSIDE_DRIVER, message, heard)


def has_spoken(obj: Resource) -> bool:
    """Whether another controller than this one wrote the object's Ready."""
    ready = find(obj.status.conditions, READY)
    return ready is not None and ready.reason not in (OUTSIDE_DRIVER, DRIVER_UNKNOWN)
