"""Who is measured on the small reconcile, how each is built, and how it is started."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.servers import ROOT

CACHE = ROOT / ".cache" / "bench"
BASELINES = Path(__file__).parent / "baselines"


@dataclass(frozen=True)
class Contender:
    """A program that reconciles widgets. It finds its API server by $KUBECONFIG."""

    name: str
    argv: tuple[str, ...]
    version: str


def libresh() -> Contender:
    """libre.sh's runtime, as the operator uses it."""
    return Contender("libre.sh", (sys.executable, "-m", "bench.contender"), f"Python {sys.version.split()[0]}")


def controller_runtime() -> Contender:
    """Go's controller-runtime, built from bench/baselines/controller-runtime."""
    folder, program = BASELINES / "controller-runtime", CACHE / "controller-runtime"
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), "."], cwd=folder, check=True)
    listed = output("go", "list", "-m", "-f", "{{.Version}}", "sigs.k8s.io/controller-runtime", cwd=folder)
    return Contender("controller-runtime", (str(program),), f"{listed}, {output('go', 'env', 'GOVERSION')}")


def kopf() -> Contender:
    """kopf in an environment of its own: it behaves differently where other clients are installed."""
    folder, requirements = CACHE / "kopf", BASELINES / "kopf" / "requirements.txt"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(requirements)], check=True)
        stamp.write_text(requirements.read_text())
    handlers = str(BASELINES / "kopf" / "handlers.py")
    argv = (str(python), "-m", "kopf", "run", "--all-namespaces", "--quiet", handlers)
    return Contender("kopf", argv, requirements.read_text().splitlines()[0].partition("==")[2])


BUILDERS = {"libre.sh": libresh, "controller-runtime": controller_runtime, "kopf": kopf}


def environment(kubeconfig: Path) -> dict[str, str]:
    """What each contender is told. Python finds libre.sh and bench by its path."""
    return {
        "KUBECONFIG": str(kubeconfig),
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "POD_NAMESPACE": "libresh-system",
    }


def output(*argv: str, cwd: Path | None = None) -> str:
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


def describe_machine() -> dict[str, object]:
    """What the numbers were taken on; nothing that names the machine."""
    info = {line.split(":")[0]: line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()}
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": model[0].partition(": ")[2] if model else os.uname().machine,
        "memory_gib": round(int(info["MemTotal"]) / 2**20, 1),
        "kernel": os.uname().release.partition("-")[0],
        "python": sys.version.split()[0],
        "load": os.getloadavg()[0],
    }


def save(path: Path, result: object) -> None:
    """Writes a result, so that a later look or a report finds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
