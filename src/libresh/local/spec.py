"""What a cluster is called, where it lives and which addresses it uses: names and arithmetic, nothing else.

Address ranges go by *slot*, so that clusters on one machine never meet:

    slot        bridge          pods             services
    0           10.99.0.0/24    10.244.0.0/16    10.96.0.0/16     the cluster called "libresh"
    1 … 15      10.99.N.0/24    10.(160+2N)/16   10.(161+2N)/16   every other one
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from libresh.errors import LibreshError

DEFAULT_NAME = "libresh"
DEFAULT_SUFFIX = "localhost"
SLOTS = 16
MOST_NODES = 50
API_PORT = 6443
METRICS_PORT = 4443

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
_SUFFIX = re.compile(r"[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?")


@dataclass(frozen=True)
class Cluster:
    """One cluster of this machine. Everything it owns carries its name or its mark."""

    name: str
    slot: int
    state: Path
    nodes: int = 1
    suffix: str = DEFAULT_SUFFIX
    unsafe_etcd: bool = False
    listen: str = ""  # where the edge listens beside the bridge; empty: a loopback address

    @property
    def mark(self) -> str:
        """A short form of the name, because the kernel allows an interface name fifteen characters."""
        return "lr" + hashlib.sha256(self.name.encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        return f"{self.mark}br"

    @property
    def bridge_range(self) -> IPv4Network:
        return IPv4Network(f"10.99.{self.slot}.0/24")

    @property
    def pod_range(self) -> IPv4Network:
        return IPv4Network(f"10.{244 if self.slot == 0 else 160 + 2 * self.slot}.0.0/16")

    @property
    def service_range(self) -> IPv4Network:
        return IPv4Network(f"10.{96 if self.slot == 0 else 161 + 2 * self.slot}.0.0/16")

    @property
    def address(self) -> IPv4Address:
        """The bridge's address: the control plane, the name server and the edge, as pods and nodes see them."""
        return self.bridge_range[254]

    @property
    def loopback(self) -> IPv4Address:
        """Where what no pod may reach listens; one per cluster, so that their ports never collide."""
        return IPv4Address(f"127.99.{self.slot}.1")

    @property
    def edge_address(self) -> IPv4Address:
        """Where this machine itself finds the edge: names under localhost mean 127.0.0.1."""
        if self.listen and not IPv4Address(self.listen).is_unspecified:
            return IPv4Address(self.listen)
        return IPv4Address("127.0.0.1") if self.slot == 0 else self.loopback

    @property
    def edge_listens(self) -> tuple[IPv4Address, ...]:
        """Every address the edge listens at: the person's wish and, for pods, the bridge."""
        if self.listen and IPv4Address(self.listen).is_unspecified:
            return (IPv4Address(self.listen),)
        return (self.edge_address, self.address)

    @property
    def api_service(self) -> IPv4Address:
        return self.service_range[1]

    @property
    def dns_service(self) -> IPv4Address:
        return self.service_range[10]

    @property
    def server(self) -> str:
        return f"https://{self.address}:{API_PORT}"

    @property
    def folder(self) -> Path:
        return self.state / "clusters" / self.name

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def control(self) -> Path:
        return self.folder / "control"

    @property
    def logs(self) -> Path:
        return self.folder / "log"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    @property
    def keeper_config(self) -> Path:
        return self.control / "keeper.json"

    @property
    def cgroup(self) -> str:
        """The control plane's folder below the root of every cgroup hierarchy."""
        return f"libresh/{self.name}/control"

    @property
    def members(self) -> tuple[Node, ...]:
        return tuple(Node(self, number) for number in range(1, self.nodes + 1))


@dataclass(frozen=True)
class Node:
    """One node: a number, and everything that follows from it."""

    cluster: Cluster
    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def namespace(self) -> str:
        """Its network namespace, as `ip netns` lists it."""
        return f"libresh-{self.cluster.name}-{self.number}"

    @property
    def link(self) -> str:
        """Its cable's end at the bridge."""
        return f"{self.cluster.mark}n{self.number}"

    @property
    def address(self) -> IPv4Address:
        return self.cluster.bridge_range[self.number]

    @property
    def pod_range(self) -> IPv4Network:
        first = self.cluster.pod_range.network_address + 256 * self.number
        return IPv4Network(f"{first}/24")

    @property
    def folder(self) -> Path:
        return self.cluster.folder / "nodes" / self.name

    @property
    def keeper_config(self) -> Path:
        return self.folder / "keeper.json"

    @property
    def cgroup(self) -> str:
        """Its folder below the root of every cgroup hierarchy."""
        return f"libresh/{self.cluster.name}/{self.name}"


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise LibreshError(
            "cluster-name",
            f"{name!r} cannot name a cluster",
            "use at most 20 lower-case letters, digits and dashes, for example 'test'",
        )
    return name


def check_suffix(suffix: str) -> str:
    if not _SUFFIX.fullmatch(suffix) or ".." in suffix:
        raise LibreshError(
            "cluster-suffix", f"{suffix!r} cannot end host names", "use a DNS name, for example 'apps.example.org'"
        )
    return suffix


def check_listen(address: str) -> str:
    try:
        return str(IPv4Address(address)) if address else ""
    except ValueError:
        raise LibreshError(
            "cluster-listen",
            f"{address!r} is no IPv4 address the edge could listen at",
            "use an address of this machine, or 0.0.0.0 for all of them",
        ) from None


def check_nodes(nodes: int) -> int:
    if not 1 <= nodes <= MOST_NODES:
        raise LibreshError("cluster-nodes", f"{nodes} nodes were asked for", f"ask for 1 to {MOST_NODES}")
    return nodes


def ranges_for(slot: int) -> tuple[IPv4Network, ...]:
    probe = Cluster(name=DEFAULT_NAME, slot=slot, state=Path("/"))
    return probe.bridge_range, probe.pod_range, probe.service_range


def choose_slot(name: str, taken: frozenset[int], routes: tuple[IPv4Network, ...]) -> int:
    """The first slot no other cluster has and no route of the machine overlaps."""
    wanted = (0,) if name == DEFAULT_NAME else ()
    spread = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    others = tuple(1 + (spread + step) % (SLOTS - 1) for step in range(SLOTS - 1))
    reasons = []
    candidates: tuple[int, ...] = (*wanted, *others)
    for slot in candidates:
        if slot in taken:
            continue
        if clash := find_overlap(slot, routes):
            reasons.append(f"{clash[0]} overlaps the route {clash[1]}")
            continue
        return slot
    why = "; ".join(reasons[:3]) or "other clusters have them all"
    raise LibreshError(
        "address-range-taken",
        f"no address range is free for the cluster {name!r}: {why}",
        "remove a cluster (libresh local purge --name …) or take down the network that uses these ranges",
    )


def find_overlap(slot: int, routes: tuple[IPv4Network, ...]) -> tuple[IPv4Network, IPv4Network] | None:
    """The first of a slot's ranges that a route overlaps, with that route. The default route does not count."""
    for wanted in ranges_for(slot):
        for route in routes:
            if route.prefixlen > 0 and wanted.overlaps(route):
                return wanted, route
    return None
