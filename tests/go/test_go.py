"""The Go programs' own tests: the edge's routes and the volumes' whole life. They take root and loop devices."""

import os
import subprocess
from pathlib import Path

import pytest

CLUSTER = Path(__file__).resolve().parents[2] / "build" / "go" / "cluster"


@pytest.mark.e2e
@pytest.mark.parametrize("argv", [("go", "vet", "./..."), ("go", "test", "./...")], ids=["vet", "test"])
def test_the_edge_and_the_volumes(argv: tuple[str, ...]) -> None:
    done = subprocess.run(argv, cwd=CLUSTER, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
