"""Application packages: a folder each here, and what other distributions bring (entry points `libresh.apps`)."""

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from libresh.api import APP_CLAIMS
from libresh.api.appclaims import AppClaim
from libresh.api.apps import App
from libresh.catalog.model import AnyPackage
from libresh.catalog.model import Package as PackageType
from libresh.errors import LibreshError

ENTRY_POINTS = "libresh.apps"


@cache
def packages() -> dict[str, AnyPackage]:
    """Every application package that can be found, by the kind it brings, sorted."""
    found: dict[str, tuple[AnyPackage, str]] = {}
    for package, origin in (*built_in(), *brought()):
        if package.kind_name in found:
            raise LibreshError(
                "duplicate-package",
                f"{origin} and {found[package.kind_name][1]} both bring the application {package.kind_name}",
                "uninstall one of them",
            )
        found[package.kind_name] = (package, origin)
    return {kind: found[kind][0] for kind in sorted(found)}


def kinds() -> tuple[type[App], ...]:
    """The kind of every application, sorted."""
    return tuple(package.kind for package in packages().values())


def claims() -> tuple[type[AppClaim], ...]:
    """The kinds of claims that packages bring for what they serve, sorted; those of the API itself left out."""
    brought = {package.offer.kind for package in packages().values() if package.offer is not None}
    return tuple(sorted(brought - set(APP_CLAIMS), key=lambda kind: kind.KIND.kind))


def built_in() -> Iterator[tuple[AnyPackage, str]]:
    """The packages in the folders beside this file: `PACKAGE` in the module `package` of each."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        if module.ispkg:
            yield import_module(f"{module.name}.package").PACKAGE, module.name


def brought() -> Iterator[tuple[AnyPackage, str]]:
    """The packages other distributions declare as entry points: `name = "their.module:PACKAGE"`."""
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: (point.name, point.value)):
        yield loaded(point), f"{point.value} of {distribution(point)}"


def loaded(point: EntryPoint) -> AnyPackage:
    """The package behind an entry point. One that cannot be loaded is an error: its applications must not go unrun."""
    try:
        package = point.load()
        if not isinstance(package, PackageType):
            raise TypeError(f"{point.value} is not a libresh.catalog.model.Package")
    except Exception as error:
        raise LibreshError(
            "broken-package",
            f"the application package {point.name} of {distribution(point)} cannot be loaded: {error}",
            f"upgrade or uninstall {distribution(point)}",
        ) from error
    return package


def distribution(point: EntryPoint) -> str:
    """What a person would uninstall."""
    return point.dist.name if point.dist else point.value
