"""Keepers: the first process of a node and the parent of a control plane, found and signalled without pid files.

A keeper is a process whose program is a `keeper` of our cache and whose only argument is a configuration of our state
folder. That is read from /proc each time, so nothing can be stale after a reboot; and signals go through a pidfd that
was opened before the look, so a recycled number is never hit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from libresh.errors import LibreshError
from libresh.local import binaries, state

WRAPPERS = ("nsenter", "unshare")
RELOAD_PATIENCE = 120
LOG_LIMIT = 16 * 2**20


@dataclass(frozen=True)
class Mount:
    """A mount the keeper makes before anything starts: `bind`, `tmpfs`, or `shared` for propagation."""

    kind: str
    target: str
    source: str = ""


@dataclass(frozen=True)
class Service:
    """One process to keep running. `after` are addresses that must answer first.

    They are written tcp:HOST:PORT, unix:PATH, or ready:HOST:PORT, which wants /readyz to be answered with 200.
    """

    name: str
    argv: tuple[str, ...]
    log: str
    env: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    before_stop: tuple[str, ...] = ()
    grace: int = 10
    reads: tuple[str, ...] = ()  # files whose change means a restart


@dataclass(frozen=True)
class Config:
    """All that a keeper is told."""

    services: tuple[Service, ...]
    hostname: str = ""
    cgroups: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)

    def render(self) -> str:
        told: dict[str, Any] = asdict(self)
        told["logLimit"] = LOG_LIMIT
        for service in told["services"]:
            service["beforeStop"] = service.pop("before_stop")
            service["stamp"] = stamp_of(service.pop("reads"))
        return json.dumps(told, indent=1) + "\n"


@dataclass(frozen=True)
class Running:
    """A keeper that was seen: its number, and a handle that stays its own."""

    pid: int
    handle: int

    def send(self, number: int) -> None:
        # It may have ended meanwhile, which is what most signals are for.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within that time."""
        poller = select.poll()
        poller.register(self.handle, select.POLLIN)
        return bool(poller.poll(int(seconds * 1000)))


def stamp_of(files: Sequence[str]) -> str:
    """Changes when one of the files does."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(Path(file).read_bytes()).digest())
    return total.hexdigest()[:16] if files else ""


def find(config: Path) -> Running | None:
    """The keeper that runs a configuration, or None."""
    return _search(lambda entry: _is_keeper(entry, config))


def _search(is_wanted: Callable[[Path], bool]) -> Running | None:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            handle = os.pidfd_open(int(entry.name))
        except OSError:
            continue
        if is_wanted(entry):
            return Running(int(entry.name), handle)
        os.close(handle)
    return None


def _is_keeper(entry: Path, config: Path) -> bool:
    program, arguments = _look(entry)
    ours = program.name == "keeper" and program.is_relative_to(binaries.cache())
    return ours and arguments == [os.fsencode(config)]


def _look(entry: Path) -> tuple[Path, list[bytes]]:
    """A process's program and arguments; nothing if it ended or is a zombie."""
    try:
        arguments = (entry / "cmdline").read_bytes().split(b"\0")[1:-1]
        return Path(os.readlink(entry / "exe").removesuffix(" (deleted)")), arguments
    except OSError:
        return Path(), []


def _stop_half_started(config: Path) -> None:
    """End what an `up` that was killed left between its start and the keeper's: it would still become one."""

    def is_wrapper(entry: Path) -> bool:
        program, arguments = _look(entry)
        return program.name in WRAPPERS and arguments[-1:] == [os.fsencode(config)]

    while found := _search(is_wrapper):
        found.send(signal.SIGKILL)
        found.wait(10)
        os.close(found.handle)


def start(wrapper: Sequence[str], program: Path, config: Path, log: Path) -> None:
    """Start a keeper behind a wrapper that makes its namespaces, detached from us, and see it take over."""
    _stop_half_started(config)
    Path(f"{config}.state").unlink(missing_ok=True)  # of an earlier life
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*wrapper, str(program), str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if read_state(config).get("config") == digest_of(config) and find(config):
            process.returncode = 0  # it is left running; nothing waits for it here
            return
        time.sleep(0.02)
    last = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
    raise LibreshError("keeper-failed", f"{config} could not be started: {last}", f"read {log}")


def write_config(path: Path, config: Config) -> bool:
    """Whether the configuration changed."""
    return state.write_file(path, config.render())


def stop(config: Path, seconds: float) -> bool:
    """Stop a keeper and all it runs, in order; by force after that time. Whether one ran."""
    running = find(config)
    if running is None:
        return False
    running.send(signal.SIGTERM)
    if not running.wait(seconds):
        running.send(signal.SIGKILL)
        running.wait(10)
    os.close(running.handle)
    return True


def kill(config: Path) -> bool:
    """Power off: everything in its namespace dies at once. Whether one ran."""
    running = find(config)
    if running is None:
        return False
    running.send(signal.SIGKILL)
    running.wait(10)
    os.close(running.handle)
    return True


def digest_of(config: Path) -> str:
    return hashlib.sha256(config.read_bytes()).hexdigest()


def program_of(config: Path, service: str) -> Path | None:
    """The program a keeper was last told to run under that name."""
    try:
        services = json.loads(config.read_text())["services"]
    except FileNotFoundError:
        return None
    return next((Path(each["argv"][0]) for each in services if each["name"] == service), None)


def log_of(config: Path, service: str) -> str:
    services = json.loads(config.read_text())["services"]
    return next((str(each["log"]) for each in services if each["name"] == service), "")


def count_restarts(config: Path) -> dict[str, int]:
    """How often each service had to be started again so far."""
    return {name: told["restarts"] for name, told in read_state(config).get("services", {}).items()}


def read_state(config: Path) -> dict[str, Any]:
    """What a keeper last wrote about its services; empty when it never did."""
    try:
        found: dict[str, Any] = json.loads(Path(f"{config}.state").read_text())
        return found
    except (FileNotFoundError, ValueError):
        return {}


def reload(running: Running, config: Path) -> None:
    """Make a running keeper take over its changed configuration, and see what changed run again."""
    running.send(signal.SIGHUP)
    deadline = time.monotonic() + RELOAD_PATIENCE
    while not is_settled(config):
        if time.monotonic() > deadline:
            down = [name for name, told in read_state(config).get("services", {}).items() if not told["pid"]]
            raise LibreshError(
                "keeper-unsettled",
                f"after {RELOAD_PATIENCE} s with new settings these do not run: {', '.join(down) or 'none is told'}",
                f"read their logs; the settings are in {config}",
            )
        time.sleep(0.05)


def is_settled(config: Path) -> bool:
    """Whether everything runs, with the settings it was last given. Keepers of earlier builds do not tell."""
    seen = read_state(config)
    return seen.get("config") == digest_of(config) and bool(seen.get("settled", True))
