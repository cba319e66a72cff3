"""From nothing to a Matrix: `libresh up` with a cluster of its own, warm (everything built) or cold (nothing built)."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.contenders import describe_machine
from libresh.local import state

BUILDING = 3 * 3600


def run(*, cold: bool = False, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Two runs of `libresh up`: the first makes the cluster, the second finds it. The steps are those it records."""
    found: dict[str, Any] = {"machine": describe_machine()}
    with tempfile.TemporaryDirectory(prefix="bench-up-") as folder:
        env = cold_environment(Path(folder)) if cold else dict(os.environ)
        try:
            first = "cold_s" if cold else "built_s"
            found[first] = up(env)
            found["steps"] = json.loads((state.root() / "timings.json").read_text())
            found["again_s"] = up(env)
            tell(f"up: {found}")
        finally:
            libresh(env, "purge", "--name", "bench", "--yes")
    return found


def cold_environment(folder: Path) -> dict[str, str]:
    """Nothing compiled, nothing built. What Go and pip have downloaded stays: the network is not what is measured."""
    shutil.rmtree(folder / "go-build", ignore_errors=True)
    return {**os.environ, "GOCACHE": str(folder / "go-build"), "LIBRESH_CACHE": str(folder / "cache")}


def up(env: dict[str, str]) -> float:
    begun = time.monotonic()
    libresh(env, "up", "--name", "bench")
    return round(time.monotonic() - begun, 1)


def libresh(env: dict[str, str], *words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "libresh.cli", *words], env=env, timeout=BUILDING, check=False)
    if done.returncode:
        raise RuntimeError(f"libresh {' '.join(words)} ended with {done.returncode}")
