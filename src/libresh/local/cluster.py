"""The verbs: up, down, purge, and power for single nodes.

`up` may be killed at any instant and repeated: each step looks at what is there, and makes what is missing.
"""

from __future__ import annotations

import dataclasses
import http.client
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from libresh.errors import LibreshError, Unavailable
from libresh.local import (
    addons,
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
from libresh.local.programs import build_programs
from libresh.local.progress import Progress, Silence
from libresh.local.spec import Cluster, Node

CONTROL_WRAPPER = ("unshare", "--fork", "--pid", "--mount", "--mount-proc", "--kill-child")
NODE_WRAPPER = ("unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", "--mount-proc", "--kill-child")
API_PATIENCE = 120
NODE_PATIENCE = 180
STOP_PATIENCE = 90
ENOUGH_RESTARTS = 4


@dataclass(frozen=True)
class Wish:
    """What a person asked of `up`; None leaves what the cluster has, or the default."""

    name: str = spec.DEFAULT_NAME
    nodes: int | None = None
    suffix: str | None = None
    unsafe_etcd: bool | None = None
    listen: str | None = None


def up(wish: Wish, progress: Progress | None = None) -> Cluster:
    """Bring a cluster up to the wish, from whatever state it is in."""
    show = progress or Silence()
    spec.check_name(wish.name)
    preflight.check_machine()
    with state.locked(wish.name):
        with show.step("checking this machine", 1):
            preflight.install_packages(show.say)
            cluster = settle(wish)
            if not keeper.find(cluster.keeper_config):
                preflight.check_ports(control.list_ports(cluster))
        programs = build_programs(show)
        with show.step("starting the control plane", 5):
            prepare(cluster, programs)
            start_control(cluster, programs)
        with show.step(f"starting {count(cluster.members)}", 5 + 2 * len(cluster.members)):
            start_nodes(cluster, programs, cluster.members)
            wait_for_names(cluster)
    return cluster


def settle(wish: Wish) -> Cluster:
    """The cluster that is wished for: the one that exists, with what may change changed, or a new one."""
    with state.locked_machine():
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
            listen=existing.listen if wish.listen is None else spec.check_listen(wish.listen),
        )
        preflight.check_ranges(cluster)
        cluster.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state.save(cluster)
    return cluster


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
    wanted = control.build_config(cluster, programs, cgroups.create(cluster.cgroup))
    changed = keeper.write_config(cluster.keeper_config, wanted)
    running = keeper.find(cluster.keeper_config)
    if running is None:
        attach_volumes(cluster, programs)
        log = cluster.logs / "keeper.log"
        keeper.start(CONTROL_WRAPPER, programs.node / "keeper", cluster.keeper_config, log)
    elif changed:
        keeper.reload(running, cluster.keeper_config)
    api = API(cluster)
    what, log = f"the API server at {cluster.server}", cluster.logs / "kube-apiserver.log"
    wait_for(api.is_ready, API_PATIENCE, what, log, cluster.keeper_config)
    authority = (cluster.pki / "ca.crt").read_bytes()
    for built in addons.build_all(cluster, authority=authority):
        api.apply(built)


def start_nodes(cluster: Cluster, programs: control.Programs, members: Sequence[Node]) -> None:
    """Start the nodes that do not run, bring the others' settings up to date, and see all of them ready."""
    began = datetime.now(UTC)
    stopped = [member for member in members if not keeper.find(member.keeper_config)]
    for member in stopped:
        cgroups.remove(member.cgroup)
        network.create_node(member)
    if stopped:
        network.set_routes(cluster)
    with ThreadPoolExecutor(max_workers=4) as pool:
        for done in [pool.submit(start_node, member, programs) for member in members]:
            done.result()
    api = API(cluster)
    for member in members:
        # What the API server remembers of an earlier life does not count.
        since = began if member in stopped else None
        log = cluster.logs / f"{member.name}-kubelet.log"
        ready = partial(is_up, api, member, since)
        wait_for(ready, NODE_PATIENCE, f"{member.name} to be ready", log, member.keeper_config)


def is_up(api: API, member: Node, since: datetime | None) -> bool:
    return is_node_ready(api.read(f"/api/v1/nodes/{member.name}") or {}, since)


def start_node(member: Node, programs: control.Programs) -> None:
    """Start a node whose network exists, or make a running one take over its settings; then the pause image."""
    config = member.keeper_config
    changed = keeper.write_config(config, node.build_config(member, programs, cgroups.create(member.cgroup)))
    running = keeper.find(config)
    if running is None:
        wrapper = ("nsenter", f"--net=/run/netns/{member.namespace}", *NODE_WRAPPER)
        log = member.cluster.logs / f"{member.name}-keeper.log"
        keeper.start(wrapper, programs.node / "keeper", config, log)
    elif changed:
        keeper.reload(running, config)
    log = member.cluster.logs / f"{member.name}-containerd.log"
    wait_for(lambda: loading.is_reachable(member, programs.node), 60, f"containerd of {member.name}", log, config)
    loading.load_into(member, pause.write_archive(programs.node / "pause", member.folder / "pause.tar"), programs.node)


def attach_volumes(cluster: Cluster, programs: control.Programs) -> None:
    """Give every volume its block device before a kubelet looks for it; after a reboot there are none."""
    network.run(str(programs.cluster / "cluster"), "volumes", "attach", f"--state={cluster.folder}")


def detach_volumes(cluster: Cluster) -> None:
    """Free the volumes' block devices, with the program that was started last; without it by hand."""
    program = keeper.program_of(cluster.keeper_config, "cluster")
    if program and program.is_file():
        network.run(str(program), "volumes", "detach", f"--state={cluster.folder}")
        return
    for image in cluster.folder.glob("nodes/*/volumes/*.img"):
        for line in network.run("losetup", "--associated", str(image)).splitlines():
            network.run("losetup", "--detach", line.partition(":")[0])


def wait_for_names(cluster: Cluster) -> None:
    """The name server and the edge, last: they start beside the nodes."""
    names, health = (str(cluster.address), 53), (str(cluster.loopback), control.EDGE_HEALTH_PORT)
    config = cluster.keeper_config
    wait_for(partial(answers, names), 60, "the name server", cluster.logs / "coredns.log", config)
    wait_for(partial(is_healthy, health), 60, "the edge to know its routes", cluster.logs / "cluster.log", config)


def answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False


def is_healthy(address: tuple[str, int]) -> bool:
    """Whether a daemon says that all of its parts are ready."""
    connection = http.client.HTTPConnection(*address, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_for(met: Callable[[], bool], patience: float, what: str, log: Path, config: Path) -> None:
    """Look until it is so, or until a daemon of that keeper has ended too often for it to become so."""
    before = keeper.count_restarts(config)

    def is_met() -> bool:
        try:
            return met()
        except Unavailable:
            return False  # the API server does not answer just now

    deadline = time.monotonic() + patience
    while not is_met():
        if time.monotonic() > deadline:
            raise LibreshError("not-ready", f"waited {patience:.0f} s for {what}, in vain", f"read {log}")
        for name, restarts in keeper.count_restarts(config).items():
            if restarts - before.get(name, 0) >= ENOUGH_RESTARTS:
                told = f"{name} ended {restarts - before.get(name, 0)} times while we waited for {what}"
                raise LibreshError("daemon-keeps-ending", told, f"read {keeper.log_of(config, name)}")
        time.sleep(0.1)


def find_cluster(name: str) -> Cluster:
    found = state.load(spec.check_name(name))
    if found is None:
        have = ", ".join(each.name for each in state.load_all()) or "none"
        raise LibreshError("no-cluster", f"there is no cluster {name!r} here; there are: {have}", "make it: libresh up")
    return found


def find_node(name: str, number: int) -> Node:
    cluster = find_cluster(name)
    if not 1 <= number <= cluster.nodes:
        have = count(cluster.members)
        raise LibreshError("no-node", f"the cluster {name!r} has {have}", f"name one of 1 to {cluster.nodes}")
    return cluster.members[number - 1]


def node_stop(name: str, number: int) -> bool:
    """Shut one node down as its containers ask for; whether it ran."""
    member = find_node(name, number)
    with state.locked(name):
        ran = keeper.stop(member.keeper_config, STOP_PATIENCE)
        clear_node(member)
    return ran


def node_kill(name: str, number: int) -> bool:
    """Cut one node's power: all its processes die at once; whether it ran."""
    member = find_node(name, number)
    with state.locked(name):
        ran = keeper.kill(member.keeper_config)
        clear_node(member)
    return ran


def node_start(name: str, number: int, progress: Progress | None = None) -> None:
    """Start one node that was stopped or killed."""
    preflight.check_machine()
    member = find_node(name, number)
    show = progress or Silence()
    with state.locked(name):
        if not keeper.find(member.cluster.keeper_config):
            way_out = f"start it: libresh local up --name {name}"
            raise LibreshError("cluster-stopped", f"the cluster {name!r} does not run", way_out)
        programs = build_programs(show)
        with show.step(f"starting {member.name}", 5):
            prepare(member.cluster, programs)
            start_nodes(member.cluster, programs, [member])


def clear_node(member: Node) -> None:
    """Remove what a dead node left: it starts from a fresh network and empty cgroups, as a machine does."""
    network.remove_node(member)
    cgroups.remove(member.cgroup)


def load(name: str, archive: Path) -> tuple[Node, ...]:
    """Import an OCI archive into every running node; returns the nodes that lacked it."""
    cluster = find_cluster(name)
    program = keeper.program_of(cluster.members[0].keeper_config, "containerd")
    if program is None:
        raise LibreshError("cluster-stopped", f"the cluster {name!r} was never started", "start it: libresh up")
    return loading.load(cluster, archive, program.parent)


def down(name: str, progress: Progress | None = None) -> None:
    """Stop everything and take it off the machine's network; the data stays."""
    preflight.check_root()
    show = progress or Silence()
    cluster = find_cluster(name)
    with state.locked(name):
        stop_all(cluster, show)


def stop_all(cluster: Cluster, show: Progress) -> None:
    with show.step(f"stopping {count(cluster.members)}", 10), ThreadPoolExecutor(max_workers=8) as pool:
        for done in [pool.submit(keeper.stop, each.keeper_config, STOP_PATIENCE) for each in cluster.members]:
            done.result()
    with show.step("stopping the control plane", 5):
        keeper.stop(cluster.keeper_config, STOP_PATIENCE)
    with show.step("clearing network, devices, mounts and cgroups", 1):
        for member in cluster.members:
            clear_node(member)
        detach_volumes(cluster)
        cgroups.remove(cluster.cgroup)
        network.remove_all(cluster)
        if not any(is_running(other) for other in state.load_all()):
            clear_machine()


def clear_machine() -> None:
    """What all clusters share goes with the last of them."""
    # /var/lib/kubelet and /var/lib/cni stay, empty: the kernel takes a removed folder's mounts away in every other
    # mount namespace too, and the nodes of a cluster with another state folder would lose theirs while they run.
    cgroups.unmount_own()


def purge(name: str, progress: Progress | None = None) -> None:
    """Remove a cluster and its data, for good."""
    preflight.check_root()
    show = progress or Silence()
    cluster = find_cluster(name)
    with state.locked(name):
        stop_all(cluster, show)
        with show.step("removing the data", 2):
            shutil.rmtree(cluster.folder)


def is_running(cluster: Cluster) -> bool:
    configs = (cluster.keeper_config, *(member.keeper_config for member in cluster.members))
    return any(keeper.find(config) for config in configs)


def count(members: Sequence[Node]) -> str:
    return "one node" if len(members) == 1 else f"{len(members)} nodes"
