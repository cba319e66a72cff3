"""Containers of built images for the tests, stopped and cleared away after each."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from containers import Running

from libresh import images
from support.keycloak import Keycloak


@pytest.fixture
def container() -> Iterator[Callable[[str], Running]]:
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("building images needs root and " + ", ".join(images.HOST_PACKAGES))
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
    folder.chmod(0o755)
    started: list[Running] = []

    def start(name: str) -> Running:
        started.append(Running(name, Path(tempfile.mkdtemp(dir=folder))))
        started[-1].folder.chmod(0o755)
        return started[-1]

    yield start
    for running in started:
        running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def keycloak() -> Iterator[Keycloak]:
    """One Keycloak for the run, with a realm of the name acme. Who needs another realm makes it."""
    with Keycloak() as server:
        server.realm("acme")
        yield server
