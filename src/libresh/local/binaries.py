"""Go programs, built from source once and kept by content.

A set is a folder below build/go with a go.mod. What is built is told by its build.json, or by convention: the package
in the folder itself if it has Go files, else the module's tools. Everything goes to one folder named after a hash of
all that shapes the result, so a binary is never stale and a half-built one is never seen.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libresh.errors import LibreshError
from libresh.local import state

OLDEST_GO = (1, 24)
KEPT_BUILDS = 4
COMPILER_ROOM = 8 * 2**30
Say = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One `go build`."""

    packages: tuple[str, ...]
    cgo: bool = False
    tags: tuple[str, ...] = ()
    ldflags: str = ""

    def command(self, go: str, target: Path) -> list[str]:
        flags = " ".join(["-s -w", self.ldflags]).strip()
        tags = [f"-tags={','.join(self.tags)}"] if self.tags else []
        return [go, "build", "-trimpath", f"-ldflags={flags}", *tags, "-o", f"{target}/", *self.packages]


@dataclass(frozen=True)
class Recipe:
    """How a set is built, and which further names its programs get."""

    steps: tuple[Step, ...]
    links: tuple[tuple[str, str], ...] = ()


def sources() -> Path:
    """The folder of the Go sets: $LIBRESH_SOURCES, or build/go in the source checkout this code runs from."""
    if told := os.environ.get("LIBRESH_SOURCES"):
        return Path(told).absolute()
    for folder in Path(__file__).resolve().parents:
        if (folder / "build" / "go" / "node" / "go.mod").is_file():
            return folder / "build" / "go"
    raise LibreshError(
        "sources-missing",
        "the local cluster is built from source, and the folder build/go is not beside this installation",
        "run it from a checkout of the repository, or let LIBRESH_SOURCES name the build/go of one",
    )


def cache() -> Path:
    return Path(os.environ.get("LIBRESH_CACHE") or "/var/cache/libresh").absolute()


def find_go() -> str:
    """The Go command, if it is new enough."""
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    way_out = "install Go from https://go.dev/dl or your distribution's backports, and put it in PATH"
    if go is None:
        raise LibreshError("go-missing", "there is no go command to build the cluster's programs with", way_out)
    said = _output([go, "env", "GOVERSION"])
    found = re.match(r"go(\d+)\.(\d+)", said)
    if not found or (int(found[1]), int(found[2])) < OLDEST_GO:
        wanted = ".".join(map(str, OLDEST_GO))
        raise LibreshError("go-too-old", f"{go} is {said or 'of no known version'}; {wanted} is needed", way_out)
    return go


def read_recipe(folder: Path) -> Recipe:
    """A set's recipe: its build.json, or the convention."""
    path = folder / "build.json"
    if not path.is_file():
        return Recipe((Step(("." if any(folder.glob("*.go")) else "tool",)),))
    told: dict[str, Any] = json.loads(path.read_text())
    steps = tuple(
        Step(
            packages=tuple(step["packages"]),
            cgo=bool(step.get("cgo")),
            tags=tuple(step.get("tags", ())),
            ldflags=step.get("ldflags", ""),
        )
        for step in told["steps"]
    )
    links = tuple((target, link) for target, names in told.get("links", {}).items() for link in names)
    return Recipe(steps, links)


def digest_of(folder: Path, toolchain: str) -> str:
    """A hash of every source of a set and of the toolchain that builds it."""
    total = hashlib.sha256(toolchain.encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name.startswith(".") or path.suffix == ".md" or path.name.endswith("_test.go"):
            continue
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder)} {content}\n".encode())
    return total.hexdigest()[:16]


def locate(name: str) -> Path:
    """Where a set's programs are, or will be once built."""
    folder = sources() / name
    toolchain = _output([find_go(), "env", "GOVERSION", "GOOS", "GOARCH", "GOARM", "GOAMD64"], cwd=folder)
    return cache() / "bin" / f"{name}-{digest_of(folder, toolchain)}"


def is_built(name: str) -> bool:
    return locate(name).is_dir()


def check_room() -> None:
    """Compiling takes far more room than what comes out of it; better to say so before than after ten minutes."""
    for variable in ("GOCACHE", "GOMODCACHE"):
        folder = Path(_output([find_go(), "env", variable]) or "/root")
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if free < COMPILER_ROOM:
            raise LibreshError(
                "disk-short",
                f"{folder} has {free / 2**30:.1f} GiB free; compiling needs {COMPILER_ROOM / 2**30:.0f}",
                f"make room, or let {variable} name a folder on a larger disk",
            )


def build(name: str, say: Say = lambda _: None, log: Path | None = None) -> Path:
    """The folder with a set's programs, built now if they are not there yet."""
    target = locate(name)
    if target.is_dir():
        os.utime(target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{name}.lock").open("w") as lock:
        # Whoever builds the same set at the same time has done it for us when this lock is free.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            say(f"building {name} from source")
            _remove_old(name)
            _build_into(target, name, log)
    return target


def _build_into(target: Path, name: str, log: Path | None) -> None:
    recipe = read_recipe(sources() / name)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as draft:
        made = Path(draft) / "bin"
        made.mkdir()
        for step in recipe.steps:
            _go_build(name, step, made, log)
        for existing, link in recipe.links:
            (made / link).symlink_to(existing)
        made.rename(target)


def _remove_old(name: str) -> None:
    """Keep the builds used last, and every one that a cluster was told to run. The caller holds the set's lock."""
    for draft in (cache() / "bin").glob(f".{name}-*"):
        shutil.rmtree(draft)  # of a build that was killed
    named = re.compile(re.escape(name) + r"-[0-9a-f]{16}")
    builds = [path for path in (cache() / "bin").iterdir() if named.fullmatch(path.name)]
    builds.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    places = ("control", "nodes/*")
    told = "".join(p.read_text() for place in places for p in state.root().glob(f"clusters/*/{place}/keeper.json"))
    for old in builds[KEPT_BUILDS:]:
        if str(old) not in told:
            shutil.rmtree(old, ignore_errors=True)


def _go_build(name: str, step: Step, target: Path, log: Path | None) -> None:
    environment = {**os.environ, "CGO_ENABLED": "1" if step.cgo else "0"}
    command = step.command(find_go(), target)
    log = log or cache() / "log" / f"build-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(command, cwd=sources() / name, env=environment, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise LibreshError(
            "build-failed",
            f"building {name} failed: {' / '.join(last)}",
            f"read {log}; a full disk and no way to the Go module proxy are the usual reasons",
        )


def _output(command: list[str], cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False).stdout.strip()
