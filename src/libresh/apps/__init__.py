"""Application packages: a folder each here, and what other distributions bring (entry points `libresh.apps`)."""

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from libresh.api.apps import App
from libresh.errors import LibreshError

ENTRY_POINTS = "libresh.apps"


class Package(Protocol):
    """What discovery needs to know of a package: `PACKAGE` in the `package` module of an app's folder."""

    @property
    def type(self) -> type[App]:
        """The kind it brings."""


@cache
def packages() -> tuple[Package, ...]:
    """Every application package that can be found, sorted by kind."""
    found: dict[str, tuple[Package, str]] = {}
    for package, origin in (*built_in(), *brought()):
        kind = package.type.KIND.kind
        if kind in found:
            raise LibreshError(
                "duplicate-package",
                f"{origin} and {found[kind][1]} both bring the application {kind}",
                "uninstall one of them",
            )
        found[kind] = (package, origin)
    return tuple(found[kind][0] for kind in sorted(found))


def kinds() -> tuple[type[App], ...]:
    """The kind of every application, sorted."""
    return tuple(package.type for package in packages())


def built_in() -> Iterator[tuple[Package, str]]:
    """The packages in the folders beside this file."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if module.ispkg:
            yield import_module(f"{module.name}.package").PACKAGE, module.name


def brought() -> Iterator[tuple[Package, str]]:
    """The packages other distributions declare as entry points: `name = "their.module:PACKAGE"`."""
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        yield loaded(point), f"{point.value} ({point.dist.name if point.dist else 'no distribution'})"


def loaded(point: EntryPoint) -> Package:
    """The package behind an entry point. One that cannot be loaded is an error: its applications must not go unrun."""
    try:
        package: Package = point.load()
        package.type.KIND  # noqa: B018 - a package without a kind shall fail here, where it can be named
    except Exception as error:
        name = point.dist.name if point.dist else point.value
        raise LibreshError(
            "broken-package",
            f"the application package {point.name} of {name} cannot be loaded: {error}",
            f"upgrade or uninstall {name}",
        ) from error
    return package
