"""Discovery of application packages: the folders here, entry points of others, and what is wrong with them."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import libresh.apps
from libresh import apps
from libresh.catalog.model import Package
from libresh.errors import LibreshError

Offer = Callable[..., None]


def package(kind: str) -> Any:
    """A package of a kind that has a name and nothing else."""
    made = object.__new__(Package)
    object.__setattr__(made, "kind", SimpleNamespace(KIND=SimpleNamespace(kind=kind)))
    return made


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Offer]:
    """Lets other distributions offer packages, beside one that is built in."""

    def offered(**packages: Any) -> None:
        module = ModuleType("offered_by_others")
        vars(module).update(packages)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        points = [EntryPoint(name, f"offered_by_others:{name}", apps.ENTRY_POINTS) for name in packages]
        monkeypatch.setattr(apps, "entry_points", lambda group: [p for p in points if p.group == group])

    monkeypatch.setattr(apps, "built_in", lambda: [(package("Matrix"), "libresh.apps.matrix")])
    apps.packages.cache_clear()
    yield offered
    apps.packages.cache_clear()


def test_packages_of_others_are_found_and_sorted_by_kind(offer: Offer) -> None:
    offer(wiki=package("Wiki"), chess=package("Chess"))
    assert list(apps.packages()) == ["Chess", "Matrix", "Wiki"]


def test_two_packages_for_one_kind_are_refused(offer: Offer) -> None:
    offer(other=package("Matrix"))
    with pytest.raises(LibreshError, match=r"offered_by_others:other.*libresh\.apps\.matrix both bring.*Matrix"):
        apps.packages()


@pytest.mark.parametrize("thing", [None, "a string", SimpleNamespace(kind_name="Fake")])
def test_what_is_no_package_is_named(offer: Offer, thing: Any) -> None:
    offer(odd=thing)
    with pytest.raises(LibreshError, match=r"odd.*is not a libresh\.catalog\.model\.Package.*uninstall"):
        apps.packages()


def test_a_package_that_cannot_be_imported_is_named(offer: Offer, monkeypatch: pytest.MonkeyPatch) -> None:
    offer()
    point = EntryPoint("gone", "no_such_module:PACKAGE", apps.ENTRY_POINTS)
    monkeypatch.setattr(libresh.apps, "entry_points", lambda group: [point])
    with pytest.raises(LibreshError, match=r"gone.*No module named"):
        apps.packages()
