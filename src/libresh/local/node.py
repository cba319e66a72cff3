"""A node: which daemons its namespaces hold, and with which settings."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from libresh.local import keeper, pki, state
from libresh.local.control import CLUSTER_DOMAIN, Programs
from libresh.local.pause import PAUSE_IMAGE
from libresh.local.spec import Node

SOCKET = "/run/containerd/containerd.sock"
CAP_SYS_RESOURCE = 24
DRAIN_SECONDS = 30

# Folders with fixed places, and where a node has its own instead. The first two are made on the machine if missing.
BINDS = {"kubelet": "/var/lib/kubelet", "cni": "/var/lib/cni", "log": "/var/log"}
MOST_OPEN_FILES = 1_000_000
CONTROL_PLANE_MEMORY = 1024**3


def write_files(node: Node, programs: Programs, machine_memory: int) -> None:
    """The files a node's daemons read."""
    folder = node.folder
    for name in ("containerd", "kubelet", "cni", "log", "volumes"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    state.write_file(folder / "containerd.toml", render_containerd(node, programs, may_protect()))
    state.write_json(folder / "kubelet.json", build_kubelet(node, machine_memory))
    state.write_json(folder / "net.d" / "10-libresh.conflist", build_network(node))
    state.write_file(folder / "resolv.conf", f"nameserver {node.cluster.address}\n", mode=0o644)
    state.write_file(folder / "kubelet.kubeconfig", pki.kubeconfig_for(node.cluster, f"{node.name}-client"))


def build_config(node: Node, programs: Programs, cgroups: tuple[str, ...]) -> keeper.Config:
    """What a node's keeper prepares, and keeps running in that order."""
    folder = node.folder
    return keeper.Config(
        hostname=node.name,
        cgroups=cgroups,
        mounts=(
            keeper.Mount("shared", "/"),
            keeper.Mount("tmpfs", "/run"),
            *(keeper.Mount("bind", target, str(folder / source)) for source, target in BINDS.items()),
        ),
        sysctls={
            "net.ipv4.ip_forward": "1",
            "net.bridge.bridge-nf-call-iptables": "1",
            "net.ipv4.conf.all.rp_filter": "0",
        },
        services=_services(node, programs),
    )


def _services(node: Node, programs: Programs) -> tuple[keeper.Service, ...]:
    cluster, folder = node.cluster, node.folder
    certificates = (f"{cluster.pki}/ca.crt", f"{cluster.pki}/{node.name}.crt")
    return (
        _service(
            node,
            programs,
            [str(programs.node / "containerd"), f"--config={folder / 'containerd.toml'}"],
            reads=(str(folder / "containerd.toml"),),
            before_stop=(str(programs.node / "drain"), f"unix://{SOCKET}", str(DRAIN_SECONDS)),
        ),
        _service(
            node,
            programs,
            [
                str(programs.kubernetes / "kubelet"),
                f"--config={folder / 'kubelet.json'}",
                f"--kubeconfig={folder / 'kubelet.kubeconfig'}",
                f"--hostname-override={node.name}",
                f"--node-ip={node.address}",
                "--root-dir=/var/lib/kubelet",
                "--cert-dir=/var/lib/kubelet/pki",
            ],
            reads=(*certificates, str(folder / "kubelet.json"), str(folder / "kubelet.kubeconfig")),
            after=(f"unix:{SOCKET}",),
        ),
        _kube_proxy(node, programs),
    )


def _kube_proxy(node: Node, programs: Programs) -> keeper.Service:
    config = node.cluster.control / "kube-proxy.kubeconfig"
    argv = [
        str(programs.kubernetes / "kube-proxy"),
        f"--kubeconfig={config}",
        f"--hostname-override={node.name}",
        f"--cluster-cidr={node.cluster.pod_range}",
        "--proxy-mode=nftables",
        f"--oom-score-adj={-999 if may_protect() else 0}",
        "--conntrack-max-per-core=0",
    ]
    return _service(node, programs, argv, reads=(str(config),))


def _service(node: Node, programs: Programs, argv: list[str], **more: Any) -> keeper.Service:
    name = Path(argv[0]).name
    path = f"PATH={programs.node}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    log = str(node.cluster.logs / f"{node.name}-{name}.log")
    return keeper.Service(name, tuple(argv), log, env=(path, "HOME=/root"), **more)


def render_containerd(node: Node, programs: Programs, protect: bool) -> str:
    """containerd's settings. Without CAP_SYS_RESOURCE it must not lower any OOM score, or runc fails obscurely."""
    return f"""version = 3
root = "{node.folder / "containerd"}"
state = "/run/containerd"
oom_score = {-999 if protect else 0}

[grpc]
  address = "{SOCKET}"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "{snapshotter_for(node.folder)}"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "{PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = {"false" if protect else "true"}
  disable_apparmor = {"false" if has_apparmor() else "true"}
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{programs.node}"]
    conf_dir = "{node.folder / "net.d"}"
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = "runc"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = "{programs.node / "runc"}"
        SystemdCgroup = false
"""


def build_kubelet(node: Node, machine_memory: int) -> dict[str, Any]:
    """The kubelet's settings."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(node.address),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(node.cluster.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(node.cluster.pki / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(node.cluster.pki / f"{node.name}.key"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": -999 if may_protect() else 0,
        "maxOpenFiles": MOST_OPEN_FILES if files == resource.RLIM_INFINITY else min(MOST_OPEN_FILES, files),
        "resolvConf": str(node.folder / "resolv.conf"),
        "clusterDNS": [str(node.cluster.dns_service)],
        "clusterDomain": CLUSTER_DOMAIN,
        # Four signs of life within the time after which the control plane gives a node up.
        "nodeLeaseDurationSeconds": 20,
        "nodeStatusUpdateFrequency": "3s",
        # Images come from this machine, not from a registry: one that was removed could not be fetched again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1Gi", "imagefs.available": "1Gi"},
        "systemReserved": {"memory": f"{reserved_memory(node.cluster.nodes, machine_memory) // 2**20}Mi"},
        "volumePluginDir": "/var/lib/kubelet/plugins-exec",
        "serializeImagePulls": False,
    }


def reserved_memory(nodes: int, machine_memory: int) -> int:
    """What a node leaves to the control plane and to the other nodes, so that together they promise no more than is."""
    share = max(machine_memory - CONTROL_PLANE_MEMORY, machine_memory // 2) // nodes
    return machine_memory - share


def build_network(node: Node) -> dict[str, Any]:
    """The pod network of a node: a bridge in it, addresses of its own range; the machine routes between nodes."""
    return {
        "cniVersion": "1.0.0",
        "name": "libresh",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(node.pod_range)}]],
                    # Which addresses are taken is forgotten with the namespaces that had them.
                    "dataDir": "/run/cni",
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "backend": "nftables"},
        ],
    }


def may_protect() -> bool:
    """Whether we may lower OOM scores: in many containers and virtual machines root may not."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return False


def has_apparmor() -> bool:
    path = Path("/sys/module/apparmor/parameters/enabled")
    return path.is_file() and path.read_text().strip() == "Y"


def snapshotter_for(folder: Path) -> str:
    """overlayfs, unless the folder itself lies on one, where it cannot be stacked."""
    kind, best = "", -1
    for line in Path("/proc/mounts").read_text().splitlines():
        _, target, found, *_ = line.split()
        if folder.is_relative_to(target) and len(target) > best:
            kind, best = found, len(target)
    return "native" if kind in ("overlay", "fuse-overlayfs") else "overlayfs"
