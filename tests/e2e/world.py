"""The cluster the stories run on: one of their own, with the operator in it, gone again afterwards."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libresh.cli.kubectl import find_kubectl
from libresh.local import state
from libresh.local.spec import Cluster

ROOT = Path(__file__).resolve().parents[2]
NAME = os.environ.get("LIBRESH_E2E_CLUSTER", "e2e")
"""The cluster's name. It decides the folder and the address ranges, so that the person's own cluster is never met, and
each of several runs at once has its own."""
KEEP = "LIBRESH_E2E_KEEP"
"""Set to leave the cluster as it is afterwards, and to go on with the one that is there."""
BUILDING = 3600


@dataclass(frozen=True)
class World:
    """A running cluster with the operator."""

    cluster: Cluster

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig), "NO_COLOR": "1"}

    @property
    def authority(self) -> Path:
        """What signs the certificates of the edge, as a browser is told to trust it."""
        return self.cluster.folder / "ca" / "root.crt"

    def libresh(self, *words: str, given: str = "", seconds: float = 120, check: bool = True) -> str:
        """A command as a person types it, on this cluster; what it says."""
        return run([sys.executable, "-m", "libresh.cli", *words], self.environment, given, seconds, check)

    def kubectl(self, *words: str, given: str = "", seconds: float = 60, check: bool = True) -> str:
        return run([str(find_kubectl()), *words], self.environment, given, seconds, check)


def run(command: list[str], environment: dict[str, str], given: str, seconds: float, check: bool) -> str:
    """What a command prints. One that fails tells all it said."""
    done = subprocess.run(
        command, env=environment, input=given, capture_output=True, text=True, timeout=seconds, check=False
    )
    said = done.stdout + (done.stderr if done.returncode or not check else "")
    assert not check or done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{said}"
    return said


@contextmanager
def made(name: str = NAME, *options: str) -> Iterator[World]:
    """A cluster with the operator, brought up by the command that people use, and purged in the end."""
    keep = bool(os.environ.get(KEEP))
    with locked(name):
        if not keep:
            purge(name)
        try:
            words = [sys.executable, "-m", "libresh.cli", "up", "--name", name, "--no-example", *options]
            run(words, dict(os.environ), "", BUILDING, True)
            found = state.load(name)
            assert found is not None
            yield World(found)
        finally:
            if not keep:
                purge(name)


def purge(name: str) -> None:
    words = [sys.executable, "-m", "libresh.cli", "purge", "--name", name, "--yes"]
    run(words, dict(os.environ), "", 300, True)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One run at a time: two would take each other's cluster away."""
    path = state.root() / f"tests-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another run of these tests uses the cluster {name!r} ({path})") from None
        yield
