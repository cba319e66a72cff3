"""How long it takes from nothing to a Matrix that answers: `python -m bench.bringup [--cold]`.

Brings up a cluster of its own (`bench`) as a new user does, by `make up`, and writes bench/results/bringup.json:

    cold        a fresh clone with empty caches of programs, images, Go, pip (only with --cold: 10 to 20 minutes)
    from_images everything built, no cluster yet
    again       everything runs already
    after_down  the cluster was stopped, its data is there
    down        stopping it

Other work on the machine makes all of it slower: the load is written down beside the times.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "bringup.json"
NAME = "bench"
STEP = re.compile(r"^ok (?P<title>.+) \((?P<time>[^()]+)\)$")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="also from empty caches, in a fresh clone")
    options = parser.parse_args()
    measured: dict[str, Any] = {"cores": os.cpu_count(), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    run(ROOT, "purge", {})
    try:
        if options.cold:
            measured["cold"] = measure_cold()
        run(ROOT, "up", {})  # whatever is not built yet is built outside of what is measured
        run(ROOT, "purge", {})
        measured["from_images"] = run(ROOT, "up", {})
        measured["again"] = run(ROOT, "up", {})
        measured["down"] = run(ROOT, "down", {})
        measured["after_down"] = run(ROOT, "up", {})
    finally:
        run(ROOT, "purge", {})
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(measured, indent=2) + "\n")
    for name, found in measured.items():
        print(f"{name:12} {found['seconds'] if isinstance(found, dict) else found}")
    return 0


def measure_cold() -> dict[str, Any]:
    """A fresh clone whose caches are all empty; they are removed again."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="libresh-cold-") as folder:
        clone = Path(folder) / "libre.sh"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        caches = {
            "GOCACHE": "go-build",
            "GOMODCACHE": "go-mod",
            "LIBRESH_CACHE": "programs",
            "PIP_CACHE_DIR": "pip",
        }
        empty = {name: str(Path(folder) / path) for name, path in caches.items()} | {"GOFLAGS": "-modcacherw"}
        found = run(clone, "up", empty)
        run(clone, "purge", empty)
        return found


def run(checkout: Path, verb: str, more: dict[str, str]) -> dict[str, Any]:
    """One `make up`, `down` or `purge` on the bench cluster: its seconds, and those of its steps."""
    words = f"--name {NAME}" + (" --yes" if verb == "purge" else "")
    began, load = time.monotonic(), os.getloadavg()[0]
    command = ["make", "--no-print-directory", "-C", str(checkout), verb, f"ARGS={words}"]
    done = subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True, check=False)
    seconds = round(time.monotonic() - began, 1)
    if done.returncode != 0:
        sys.exit(f"make {verb} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    steps = {found["title"]: found["time"] for line in done.stderr.splitlines() if (found := STEP.match(line))}
    print(f"make {verb}: {seconds} s", file=sys.stderr)
    return {"seconds": seconds, "load_before": round(load, 1), "steps": steps}


if __name__ == "__main__":
    shutil.which("make") or sys.exit("make is missing: apt-get install make")
    sys.exit(main())
