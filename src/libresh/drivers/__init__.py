"""Drivers: who provides a service. One folder each; found here, never listed."""

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from libresh.drivers.model import Driver


@cache
def drivers() -> dict[tuple[str, str], Driver]:
    """Every driver, by kind of claim and name: the folders below this one and the entry points `libresh.drivers`."""
    found: list[Driver] = []
    for module in pkgutil.iter_modules(__path__):
        if module.ispkg:
            found.extend(importlib.import_module(f"{__name__}.{module.name}.driver").DRIVERS)
    for entry in entry_points(group="libresh.drivers"):
        found.extend(entry.load())
    return {(driver.claim_kind, driver.name): driver for driver in found}


def is_outside(driver: str) -> bool:
    """Whether a name such as example.org/hosted stands for a controller outside of libre.sh: a slash says so."""
    return "/" in driver


def names_for(claim_kind: str) -> tuple[str, ...]:
    """The drivers that serve a kind of claim, sorted."""
    return tuple(sorted(name for kind, name in drivers() if kind == claim_kind))
