"""From nothing to a Matrix: `libresh up` with a cluster of its own, warm (everything built) or cold (nothing built)."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders import describe_machine
from libresh.local import state

NAME = "bench"
STEP = re.compile(r"^ok (.+?) \(([\d. a-z]+)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Made:
    """A cluster with the operator and a Matrix, and how long that took."""

    kubeconfig: Path
    result: dict[str, Any]


@contextmanager
def cluster(*, cold: bool = False, tell: Callable[[str], None] = print) -> Iterator[Made]:
    """Runs `libresh up` twice: the first makes a cluster, the second finds it. The steps are those it records."""
    with tempfile.TemporaryDirectory(prefix="bench-up-") as folder:
        env = cold_environment(Path(folder)) if cold else dict(os.environ)
        try:
            machine, (first, steps) = describe_machine(), up(env)
            again, _ = up(env)
            result = {"machine": machine, "cold_s" if cold else "built_s": first, "steps": steps, "again_s": again}
            tell(f"up: {result}")
            found = state.load(NAME)
            assert found is not None
            yield Made(found.kubeconfig, result)
        finally:
            libresh(env, "purge", "--name", NAME, "--yes")


def cold_environment(folder: Path) -> dict[str, str]:
    """Nothing compiled, nothing built. What Go and pip have downloaded stays: the network is not what is measured."""
    return {**os.environ, "GOCACHE": str(folder / "go-build"), "LIBRESH_CACHE": str(folder / "cache")}


def up(env: dict[str, str]) -> tuple[float, dict[str, str]]:
    """How long it took, and what it says of its steps."""
    begun = time.monotonic()
    said = libresh(env, "up", "--name", NAME)
    return round(time.monotonic() - begun, 1), dict(STEP.findall(said))


def libresh(env: dict[str, str], *words: str) -> str:
    """Runs a command, shows what it says, and returns it."""
    command = [sys.executable, "-m", "libresh.cli", *words]
    said = []
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as program:
        for line in program.stdout or ():
            print(line, end="", flush=True)
            said.append(line)
    if program.returncode:
        raise RuntimeError(f"libresh {' '.join(words)} ended with {program.returncode}")
    return "".join(said)
