"""Refusals before anything is touched: each names what is missing and the way out."""

import os
import shutil
import subprocess
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from libresh.errors import LibreshError
from libresh.local import cgroups, preflight


@pytest.fixture(autouse=True)
def fine_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with nothing wrong, from which each test takes one thing away."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cgroups, "check", lambda: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * 2**30))
    monkeypatch.setattr(preflight, "machine_memory", lambda: 4 * 2**30)


def test_a_fine_machine_is_accepted() -> None:
    preflight.check_machine()


def not_root(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "geteuid", lambda: 1000)


def little_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))


def little_memory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preflight, "machine_memory", lambda: 2**30)


def another_system(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("sys.platform", "darwin")


@pytest.mark.parametrize(
    ("flaw", "reference", "way_out"),
    [
        (not_root, "not-root", "sudo"),
        (little_disk, "disk-short", "LIBRESH_STATE"),
        (little_memory, "memory-short", "4 GiB"),
        (another_system, "not-linux", "virtual machine"),
    ],
)
def test_what_is_refused(
    flaw: Callable[[pytest.MonkeyPatch], None], reference: str, way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaw(monkeypatch)
    with pytest.raises(LibreshError) as caught:
        preflight.check_machine()
    assert caught.value.reference == reference
    assert way_out in caught.value.hint


def without(*tools: str) -> Callable[..., str | None]:
    return lambda tool, path=None: None if tool in tools else f"/usr/bin/{tool}"


def test_missing_commands_name_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", without("nft", "ip", "ss"))
    assert {"nftables", "iproute2"} <= set(preflight.missing_packages())


def test_where_apt_is_not_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", without("nft", "apt-get"))
    with pytest.raises(LibreshError, match="nftables") as caught:
        preflight.install_packages(lambda _: None)
    assert caught.value.reference == "packages-missing"


def test_what_is_installed_is_said_and_a_failure_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", without("nft"))
    ran: list[list[str]] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        ran.append(command)
        return SimpleNamespace(returncode=100, stderr="E: Unable to fetch some archives\n")

    monkeypatch.setattr(subprocess, "run", run)
    said: list[str] = []
    with pytest.raises(LibreshError, match="Unable to fetch") as caught:
        preflight.install_packages(said.append)
    assert "nftables" in said[0]
    assert "apt-get install" in caught.value.hint
    assert ran[-1][:2] == ["apt-get", "install"]


def test_with_everything_there_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "missing_packages", tuple)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing to run"))
    preflight.install_packages(lambda _: pytest.fail("nothing to say"))


def test_an_address_that_does_not_exist_yet_is_free() -> None:
    preflight.check_ports((("203.0.113.9", 443),))
