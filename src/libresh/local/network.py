"""The machine's side of the network: a bridge, a cable per node, routes to pods, and a way out.

Everything is made so that a second run changes nothing, and removed by the cluster's own mark and name only.
"""

from __future__ import annotations

import json
import os
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from libresh.errors import LibreshError
from libresh.local.spec import Cluster, Node

SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "fs.inotify.max_user_instances": 1024,
    "fs.inotify.max_user_watches": 524288,
}


def run(*command: str, feed: str | None = None) -> str:
    """Run a tool of the system; its words become the error."""
    try:
        done = subprocess.run(command, input=feed, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LibreshError(
            "tool-missing", f"the command {command[0]} is missing", "run libresh up, which installs what is needed"
        ) from None
    if done.returncode != 0:
        raise LibreshError("network-setup", f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout


def list_links(namespace: str | None = None) -> dict[str, dict[str, Any]]:
    inside = ["-n", namespace] if namespace else []
    found: list[dict[str, Any]] = json.loads(run("ip", "-json", *inside, "addr", "show") or "[]")
    return {link["ifname"]: link for link in found if link}


def list_routes(*, without: frozenset[str] = frozenset()) -> tuple[IPv4Network, ...]:
    """Where the machine's IPv4 routes lead, but for those through the named interfaces."""
    routes = json.loads(run("ip", "-json", "-4", "route", "show", "table", "all") or "[]")
    found = []
    for route in routes:
        if route.get("dev") in without or route.get("type") in ("broadcast", "local") or route["dst"] == "default":
            continue
        found.append(IPv4Network(route["dst"], strict=False))
    return tuple(found)


def set_sysctls() -> None:
    """Raise what is too low; what is higher already stays."""
    for name, least in SYSCTLS.items():
        path = Path("/proc/sys") / name.replace(".", "/")
        if int(path.read_text()) < least:
            path.write_text(str(least))


def load_modules() -> None:
    """Ask for the bridge filter where it is a module; where it is built in, or missing, nothing is to be done."""
    if not Path("/proc/sys/net/bridge").is_dir():
        subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True)
    if not Path("/proc/sys/net/bridge").is_dir():
        raise LibreshError(
            "kernel-without-bridge-filter",
            "the kernel has no br_netfilter: services on the same node could not reach each other",
            "load the module br_netfilter, or use a distribution's stock kernel",
        )


def create_bridge(cluster: Cluster) -> None:
    wanted = f"{cluster.address}/{cluster.bridge_range.prefixlen}"
    link = list_links().get(cluster.bridge)
    if link is None:
        run("ip", "link", "add", cluster.bridge, "type", "bridge")
        run("ip", "link", "set", cluster.bridge, "alias", f"libre.sh cluster {cluster.name}")
    if not link or all(info.get("local") != str(cluster.address) for info in link["addr_info"]):
        run("ip", "addr", "add", wanted, "dev", cluster.bridge)
    run("ip", "link", "set", cluster.bridge, "up")
    run("nft", "-f", "-", feed=render_rules(cluster))
    _allow_forwarding(cluster)


def render_rules(cluster: Cluster) -> str:
    """What leaves the cluster takes the machine's own address. The table is replaced as a whole, at once."""
    table = f"ip {cluster.mark}"
    inside = f"{{ {cluster.bridge_range}, {cluster.pod_range} }}"
    return f"""add table {table}
delete table {table}
table {table} {{
    comment "libre.sh cluster {cluster.name}"
    chain out {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {inside} ip daddr != {inside} oifname != "{cluster.bridge}" masquerade
    }}
}}
"""


def _forward_rules(cluster: Cluster) -> tuple[tuple[str, ...], ...]:
    comment = ("-m", "comment", "--comment", f"libre.sh cluster {cluster.name}", "-j", "ACCEPT")
    return (("-i", cluster.bridge, *comment), ("-o", cluster.bridge, *comment))


def _allow_forwarding(cluster: Cluster) -> None:
    """A firewall that drops forwarded packets by default (Docker sets one up) needs an exception for our bridge."""
    listed = subprocess.run(["iptables", "-S", "FORWARD"], check=False, capture_output=True, text=True).stdout
    if "-P FORWARD DROP" not in listed:
        return
    for rule in _forward_rules(cluster):
        if subprocess.run(["iptables", "-C", "FORWARD", *rule], check=False, capture_output=True).returncode != 0:
            run("iptables", "-I", "FORWARD", *rule)


def create_node(node: Node) -> None:
    """A fresh network namespace with a cable to the bridge, an address, and routes to and from its pods."""
    remove_node(node)
    cluster, inner = node.cluster, "eth0"
    run("ip", "netns", "add", node.namespace)
    run("ip", "link", "add", node.link, "type", "veth", "peer", "name", inner, "netns", node.namespace)
    run("ip", "link", "set", node.link, "master", cluster.bridge, "up")
    batch = [
        "link set lo up",
        f"addr add {node.address}/{cluster.bridge_range.prefixlen} dev {inner}",
        f"link set {inner} up",
        f"route add default via {cluster.address}",
    ]
    run("ip", "-n", node.namespace, "-batch", "-", feed="\n".join(batch) + "\n")


def set_routes(cluster: Cluster) -> None:
    """Everyone's way to every node's pods. Nodes that are down have no namespace and are passed over."""
    present = set(os.listdir("/run/netns")) if Path("/run/netns").is_dir() else set()
    up = [node for node in cluster.members if node.namespace in present]
    ways = {node.number: f"route replace {node.pod_range} via {node.address}\n" for node in up}
    run("ip", "-batch", "-", feed="".join(ways.values()))
    for node in up:
        others = "".join(way for number, way in ways.items() if number != node.number)
        run("ip", "-n", node.namespace, "-batch", "-", feed=others)


def remove_node(node: Node) -> None:
    if Path("/run/netns", node.namespace).exists():
        run("ip", "netns", "del", node.namespace)
    # A cable outlives its namespace while a dying process still holds that.
    remove_link(node.link)


def remove_link(name: str) -> None:
    """Remove an interface; that it goes by itself meanwhile, with its namespace, is as good."""
    while name in list_links():
        try:
            run("ip", "link", "del", name)
        except LibreshError:
            if name in list_links():
                raise


def remove_all(cluster: Cluster) -> None:
    for node in cluster.members:
        remove_node(node)
    for name in list_links():
        if name == cluster.bridge or name.startswith(f"{cluster.mark}n"):
            remove_link(name)
    for rule in _forward_rules(cluster):
        subprocess.run(["iptables", "-D", "FORWARD", *rule], check=False, capture_output=True)
    run("nft", "-f", "-", feed=f"add table ip {cluster.mark}\ndelete table ip {cluster.mark}\n")
