"""What runs, as seen now: a value for programs, and the same in words."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from libresh.local import keeper
from libresh.local.api import API, is_node_ready
from libresh.local.spec import Cluster

FRESH = 60


@dataclass(frozen=True)
class Daemon:
    """One daemon that a keeper runs, or would."""

    name: str
    running: bool
    restarts: int
    age: int  # seconds since its last start
    last_exit: str

    @property
    def is_troubled(self) -> bool:
        return not self.running or (self.restarts > 0 and self.age < FRESH)


@dataclass(frozen=True)
class Part:
    """A control plane or a node."""

    name: str
    address: str
    running: bool
    ready: bool
    daemons: tuple[Daemon, ...]


@dataclass(frozen=True)
class Status:
    """A whole cluster."""

    name: str
    server: str
    kubeconfig: str
    suffix: str
    ready: bool
    control: Part
    nodes: tuple[Part, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def observe(cluster: Cluster) -> Status:
    """Look at processes and at the API server."""
    runs = keeper.find(cluster.keeper_config) is not None
    api = API(cluster) if runs else None
    answers = bool(api and api.is_ready())
    nodes = []
    for member in cluster.members:
        found = api.read(f"/api/v1/nodes/{member.name}") if api and answers else None
        nodes.append(_part(member.name, str(member.address), member.keeper_config, ready=is_node_ready(found or {})))
    return Status(
        name=cluster.name,
        server=cluster.server,
        kubeconfig=str(cluster.kubeconfig),
        suffix=cluster.suffix,
        ready=answers and all(each.ready and each.running for each in nodes),
        control=_part("control plane", str(cluster.address), cluster.keeper_config, ready=answers),
        nodes=tuple(nodes),
    )


def _part(name: str, address: str, config: Path, *, ready: bool) -> Part:
    runs = keeper.find(config) is not None
    services = keeper.read_state(config).get("services", {}) if runs else {}
    return Part(name, address, runs, ready, tuple(_daemon(key, told) for key, told in services.items()))


def _daemon(name: str, told: dict[str, Any]) -> Daemon:
    started = told.get("started")
    age = int(time.time()) - started if started else 0
    return Daemon(name, told["pid"] != 0, told["restarts"], age, told.get("lastExit", ""))


def describe(status: Status) -> str:
    """One screen: each part on a line, and under it only the daemons that are in trouble."""
    words = "ready" if status.ready else "not ready"
    lines = [f"cluster {status.name}: {words}, {status.server}, names under {status.suffix}"]
    for part in (status.control, *status.nodes):
        word = "stopped" if not part.running else "ready" if part.ready else "not ready"
        lines.append(f"  {part.name:14} {part.address:14} {word}")
        for daemon in part.daemons:
            if daemon.is_troubled:
                what = f"runs again since {daemon.age} s" if daemon.running else "does not run"
                last = f", last {daemon.last_exit}" if daemon.last_exit else ""
                lines.append(f"    {daemon.name}: {what}, {daemon.restarts} restarts{last}")
    if not status.control.running:
        lines.append(f"start it: libresh local up --name {status.name}")
    return "\n".join(lines)
