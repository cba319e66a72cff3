"""The verbs: up, down, purge, status, and power for single nodes.

`up` may be killed at any instant and repeated: each step looks at what is there, and makes what is missing.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from libresh.errors import LibreshError
from libresh.local import (
    addons,
    binaries,
    cgroups,
    control,
    dns,
    keeper,
    loading,
    network,
    node,
    pause,
    pki,
    preflight,
    spec,
    state,
)
from libresh.local.api import API, is_node_ready
from libresh.local.progress import Progress, Silence
from libresh.local.spec import Cluster, Node

CONTROL_WRAPPER = ("unshare", "--fork", "--pid", "--mount", "--mount-proc", "--kill-child")
NODE_WRAPPER = ("unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", "--mount-proc", "--kill-child")
BUILD_TIMES = {"kubernetes": 390, "node": 85, "coredns": 90, "cluster": 120, "metrics-server": 130}
API_PATIENCE = 120
NODE_PATIENCE = 180
STOP_PATIENCE = 90


@dataclass(frozen=True)
class Wish:
    """What a person asked of `up`; None leaves what the cluster has, or the default."""

    name: str = spec.DEFAULT_NAME
    nodes: int | None = None
    suffix: str | None = None
    unsafe_etcd: bool | None = None


def up(wish: Wish, progress: Progress | None = None) -> Cluster:
    """Bring a cluster up to the wish, from whatever state it is in."""
    show = progress or Silence()
    preflight.check_machine()
    spec.check_name(wish.name)
    with state.locked(wish.name):
        with show.step("checking this machine", 1):
            preflight.install_packages(show.say)
            binaries.find_go()
            cluster = settle(wish)
        programs = build_programs(show)
        prepare(cluster, programs)
        with show.step("starting the control plane", 12):
            start_control(cluster, programs)
        with show.step(f"starting {len(cluster.members)} node(s)", 15):
            start_nodes(cluster, programs, cluster.members)
    return cluster


def settle(wish: Wish) -> Cluster:
    """The cluster that is wished for: the one that exists, with what may change changed, or a new one."""
    existing = state.load(wish.name)
    if existing is None:
        others = state.load_all()
        taken = frozenset(other.slot for other in others)
        routes = network.list_routes(without=frozenset(other.bridge for other in others))
        existing = Cluster(wish.name, spec.choose_slot(wish.name, taken, routes), state.root(), nodes=0)
    nodes = spec.check_nodes(wish.nodes if wish.nodes is not None else max(existing.nodes, 1))
    if nodes < existing.nodes:
        raise LibreshError(
            "fewer-nodes",
            f"the cluster {wish.name!r} has {existing.nodes} nodes, and one that goes would take its data along",
            "stop single nodes with `libresh local node stop N`, or begin anew after `libresh local purge`",
        )
    cluster = dataclasses.replace(
        existing,
        nodes=nodes,
        suffix=spec.check_suffix(wish.suffix or existing.suffix),
        unsafe_etcd=existing.unsafe_etcd if wish.unsafe_etcd is None else wish.unsafe_etcd,
    )
    preflight.check_ranges(cluster)
    cluster.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    state.save(cluster)
    return cluster


def build_programs(show: Progress) -> control.Programs:
    """Build what is not built yet. Sets whose sources are not there are left out."""

    def build(name: str) -> Path:
        if binaries.is_built(name):
            return binaries.locate(name)
        with show.step(f"compiling {name}", BUILD_TIMES[name]):
            return binaries.build(name)

    present = {name: build(name) for name in BUILD_TIMES if name != "cluster"}
    try:
        present["cluster"] = build("cluster")
    except LibreshError as error:  # until that set is complete
        show.say(f"going on without an edge and volumes: {error.message}")
    return control.Programs(
        kubernetes=present["kubernetes"],
        node=present["node"],
        coredns=present.get("coredns"),
        cluster=present.get("cluster"),
        metrics_server=present.get("metrics-server"),
    )


def prepare(cluster: Cluster, programs: control.Programs) -> None:
    """Files, and the machine's side of the network."""
    pki.write_all(cluster, datetime.now(UTC))
    control.write_files(cluster)
    network.load_modules()
    network.set_sysctls()
    cgroups.mount_missing()
    network.create_bridge(cluster)
    control.write_corefile(cluster, dns.find_upstreams())
    for member in cluster.members:
        node.write_files(member, programs, preflight.machine_memory())


def start_control(cluster: Cluster, programs: control.Programs) -> None:
    """Start the control plane or bring its settings up to date; then what every cluster has in it."""
    wanted = control.build_config(cluster, programs)
    changed = keeper.write_config(cluster.keeper_config, wanted)
    running = keeper.find(cluster.keeper_config)
    if running is None:
        preflight.check_ports(control.find_ports(cluster, programs))
        log = cluster.logs / "keeper.log"
        keeper.start(CONTROL_WRAPPER, programs.node / "keeper", cluster.keeper_config, log)
    elif changed:
        keeper.reload(running, cluster.keeper_config)
    api = API(cluster)
    wait_for(api.is_ready, API_PATIENCE, f"the API server at {cluster.server}", cluster.logs / "kube-apiserver.log")
    authority = (cluster.pki / "ca.crt").read_bytes()
    for wanted_object in addons.build_all(cluster, metrics=programs.metrics_server is not None, authority=authority):
        api.apply(wanted_object)


def start_nodes(cluster: Cluster, programs: control.Programs, members: tuple[Node, ...]) -> None:
    """Start the nodes that do not run, and see all of them ready."""
    attach_volumes(cluster, programs)
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done in [pool.submit(start_node, member, programs) for member in members]:
            done.result()
    api = API(cluster)
    for member in members:
        wait_for(
            lambda member=member: is_node_ready(api.read(f"/api/v1/nodes/{member.name}") or {}),  # type: ignore[misc]
            NODE_PATIENCE,
            f"{member.name} to be ready",
            cluster.logs / f"{member.name}-kubelet.log",
        )


def start_node(member: Node, programs: control.Programs) -> None:
    config = member.keeper_config
    running = keeper.find(config)
    cgroup_folders = cgroups.create(member) if running is None else ()
    if running is None:
        network.create_node(member)
        keeper.write_config(config, node.build_config(member, programs, cgroup_folders))
        wrapper = ("nsenter", f"--net=/run/netns/{member.namespace}", *NODE_WRAPPER)
        log = member.cluster.logs / f"{member.name}-keeper.log"
        keeper.start(wrapper, programs.node / "keeper", config, log)
    archive = pause.write_archive(programs.node / "pause", member.cluster.folder / "pause.tar")
    wait_for(
        lambda: loading.is_reachable(member, programs.node),
        60,
        f"containerd of {member.name}",
        member.cluster.logs / f"{member.name}-containerd.log",
    )
    loading.load_into(member, archive, programs.node)


def attach_volumes(cluster: Cluster, programs: control.Programs) -> None:
    """Give every volume its block device before a kubelet looks for it; after a reboot there are none."""
    if programs.cluster:
        network.run(str(programs.cluster / "cluster"), "volumes", "attach", f"--state={cluster.folder}")


def wait_for(met: Callable[[], bool], patience: float, what: str, log: Path) -> None:
    deadline = time.monotonic() + patience
    while not met():
        if time.monotonic() > deadline:
            raise LibreshError("not-ready", f"waited {patience:.0f} s for {what}, in vain", f"read {log}")
        time.sleep(0.1)


def find_cluster(name: str) -> Cluster:
    found = state.load(spec.check_name(name))
    if found is None:
        have = ", ".join(each.name for each in state.load_all()) or "none"
        raise LibreshError("no-cluster", f"there is no cluster {name!r} here; there are: {have}", "make it: libresh up")
    return found


def down(name: str, progress: Progress | None = None) -> None:
    """Stop everything and take it off the machine's network; the data stays."""
    show = progress or Silence()
    cluster = find_cluster(name)
    with state.locked(name):
        with show.step("stopping the nodes", 10), ThreadPoolExecutor(max_workers=4) as pool:
            for done in [pool.submit(keeper.stop, each.keeper_config, STOP_PATIENCE) for each in cluster.members]:
                done.result()
        with show.step("stopping the control plane", 5):
            keeper.stop(cluster.keeper_config, STOP_PATIENCE)
        with show.step("clearing network, mounts and cgroups", 1):
            clear(cluster)


def clear(cluster: Cluster) -> None:
    """Remove all that a stopped cluster left on the machine, but its data."""
    network.remove_all(cluster)
    cgroups.remove_all(cluster)
    programs = binaries.cache() / "bin"
    for tool in sorted(programs.glob("cluster-*/cluster"))[:1]:
        network.run(str(tool), "volumes", "detach", f"--state={cluster.folder}")
    if not any(is_running(other) for other in state.load_all()):
        cgroups.unmount_own()


def purge(name: str, progress: Progress | None = None) -> None:
    """Remove a cluster and its data, for good."""
    cluster = find_cluster(name)
    down(name, progress)
    with state.locked(name), (progress or Silence()).step("removing the data", 2):
        shutil.rmtree(cluster.folder)


def is_running(cluster: Cluster) -> bool:
    return any(keeper.find(path) for path in keeper_configs(cluster))


def keeper_configs(cluster: Cluster) -> tuple[Path, ...]:
    return (cluster.keeper_config, *(member.keeper_config for member in cluster.members))


def status(cluster: Cluster) -> dict[str, Any]:
    """What runs, as seen now."""

    def look(config: Path) -> dict[str, Any]:
        runs = keeper.find(config) is not None
        return {"running": runs, "services": keeper.read_state(config).get("services", {}) if runs else {}}

    api = API(cluster) if cluster.pki.is_dir() else None
    ready = bool(api and api.is_ready())
    nodes = {}
    for member in cluster.members:
        found = api.read(f"/api/v1/nodes/{member.name}") if api and ready else None
        nodes[member.name] = {**look(member.keeper_config), "ready": is_node_ready(found or {}), "address": str(member.address)}
    return {
        "name": cluster.name,
        "server": cluster.server,
        "kubeconfig": str(cluster.kubeconfig),
        "suffix": cluster.suffix,
        "ready": ready and all(each["ready"] for each in nodes.values()),
        "control": {**look(cluster.keeper_config), "ready": ready},
        "nodes": nodes,
    }
