"""The control plane: which daemons it has and with which settings.

All of them run on the host behind one keeper. What pods must reach listens at the bridge's address, the rest at a
loopback address of the cluster's own; so two clusters, and whatever else the machine runs, never want the same port.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libresh.local import keeper, pki, state
from libresh.local.spec import API_PORT, METRICS_PORT, Cluster

ETCD_PORT = 2379
EDGE_HEALTH_PORT = 10260
CLUSTER_DOMAIN = "cluster.local"


@dataclass(frozen=True)
class Programs:
    """Where the binary sets are."""

    kubernetes: Path
    node: Path
    coredns: Path
    cluster: Path


def write_files(cluster: Cluster) -> None:
    """The files the daemons read, but for certificates. Existing keys are kept."""
    for identity in ("admin", "controller-manager", "scheduler", "kube-proxy", "coredns", "metrics"):
        state.write_file(cluster.control / f"{identity}.kubeconfig", pki.kubeconfig_for(cluster, identity))
    state.write_file(cluster.kubeconfig, pki.kubeconfig_for(cluster, "admin"))
    state.write_json(cluster.control / "authentication.json", build_authentication())
    encryption = cluster.control / "encryption.json"
    if not encryption.is_file():
        state.write_json(encryption, build_encryption(base64.b64encode(secrets.token_bytes(32)).decode()))


def build_authentication() -> dict[str, Any]:
    """Strangers may ask whether the server is ready, and nothing else."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ("/livez", "/readyz")]},
        "jwt": [],
    }


def build_encryption(key: str) -> dict[str, Any]:
    """Secrets lie encrypted in etcd, so that a copy of its folder alone gives none away."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [
            {
                "resources": ["secrets"],
                "providers": [{"secretbox": {"keys": [{"name": "first", "secret": key}]}}, {"identity": {}}],
            }
        ],
    }


def build_config(cluster: Cluster, programs: Programs, cgroups: tuple[str, ...] = ()) -> keeper.Config:
    """Everything the control plane's keeper keeps running, in the order it starts."""
    return keeper.Config(
        cgroups=cgroups,
        services=(
            _etcd(cluster, programs.kubernetes),
            _apiserver(cluster, programs.kubernetes),
            _controller_manager(cluster, programs.kubernetes),
            _scheduler(cluster, programs.kubernetes),
            _coredns(cluster, programs.coredns),
            _metrics_server(cluster, programs.kubernetes),
            _edge_and_volumes(cluster, programs.cluster),
        ),
    )


def list_ports(cluster: Cluster) -> tuple[tuple[str, int], ...]:
    """Every address and TCP port the control plane listens at."""
    own, inner = str(cluster.address), str(cluster.loopback)
    edge = [(address, port) for address in map(str, cluster.edge_listens) for port in (80, 443)]
    own_ports = [(own, port) for port in (API_PORT, METRICS_PORT, 53)]
    return (*own_ports, *((inner, port) for port in (ETCD_PORT, 2380, 10257, 10259, EDGE_HEALTH_PORT)), *edge)


def _service(
    cluster: Cluster, name: str, argv: list[str], *, after: tuple[str, ...] = (), grace: int = 10
) -> keeper.Service:
    # Every file that is named in a flag is read once, at start. The name server looks after its Corefile itself.
    named = [Path(word.rpartition("=")[2]) for word in argv[1:] if word.startswith("--")]
    reads = tuple(str(path) for path in named if path.is_absolute() and path.is_file())
    return keeper.Service(
        name=name,
        argv=tuple(argv),
        log=str(cluster.logs / f"{name}.log"),
        env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"),
        after=after,
        grace=grace,
        reads=reads,
    )


def _once_api(cluster: Cluster) -> tuple[str, ...]:
    return (f"ready:{cluster.address}:{API_PORT}",)


def _etcd(cluster: Cluster, programs: Path) -> keeper.Service:
    pki_folder, url = cluster.pki, f"https://{cluster.loopback}:{ETCD_PORT}"
    argv = [
        str(programs / "etcd"),
        "--name=libresh",
        f"--data-dir={cluster.folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls=http://{cluster.loopback}:2380",
        f"--initial-advertise-peer-urls=http://{cluster.loopback}:2380",
        f"--initial-cluster=libresh=http://{cluster.loopback}:2380",
        "--client-cert-auth",
        f"--trusted-ca-file={pki_folder / 'etcd-ca.crt'}",
        f"--cert-file={pki_folder / 'etcd.crt'}",
        f"--key-file={pki_folder / 'etcd.key'}",
        "--snapshot-count=10000",
        "--log-level=warn",
    ]
    if cluster.unsafe_etcd:
        argv.append("--unsafe-no-fsync")
    return _service(cluster, "etcd", argv, grace=15)


def _apiserver(cluster: Cluster, programs: Path) -> keeper.Service:
    pki_folder = cluster.pki
    argv = [
        str(programs / "kube-apiserver"),
        f"--advertise-address={cluster.address}",
        f"--bind-address={cluster.address}",
        f"--secure-port={API_PORT}",
        f"--etcd-servers=https://{cluster.loopback}:{ETCD_PORT}",
        f"--etcd-cafile={pki_folder / 'etcd-ca.crt'}",
        f"--etcd-certfile={pki_folder / 'apiserver-etcd.crt'}",
        f"--etcd-keyfile={pki_folder / 'apiserver-etcd.key'}",
        f"--client-ca-file={pki_folder / 'ca.crt'}",
        f"--tls-cert-file={pki_folder / 'apiserver.crt'}",
        f"--tls-private-key-file={pki_folder / 'apiserver.key'}",
        f"--kubelet-certificate-authority={pki_folder / 'ca.crt'}",
        f"--kubelet-client-certificate={pki_folder / 'apiserver-kubelet.crt'}",
        f"--kubelet-client-key={pki_folder / 'apiserver-kubelet.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki_folder / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={pki_folder / 'service-accounts.key'}",
        f"--service-cluster-ip-range={cluster.service_range}",
        f"--proxy-client-cert-file={pki_folder / 'front-proxy.crt'}",
        f"--proxy-client-key-file={pki_folder / 'front-proxy.key'}",
        f"--requestheader-client-ca-file={pki_folder / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        # The host has no kube-proxy: services behind aggregated APIs and webhooks are reached at their endpoints.
        "--enable-aggregator-routing=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--authentication-config={cluster.control / 'authentication.json'}",
        "--allow-privileged=true",
        f"--encryption-provider-config={cluster.control / 'encryption.json'}",
        "--profiling=false",
    ]
    return _service(cluster, "kube-apiserver", argv, after=(f"tcp:{cluster.loopback}:{ETCD_PORT}",), grace=20)


def _controller_manager(cluster: Cluster, programs: Path) -> keeper.Service:
    config = cluster.control / "controller-manager.kubeconfig"
    argv = [
        str(programs / "kube-controller-manager"),
        f"--bind-address={cluster.loopback}",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--root-ca-file={cluster.pki / 'ca.crt'}",
        f"--service-account-private-key-file={cluster.pki / 'service-accounts.key'}",
        f"--cluster-signing-cert-file={cluster.pki / 'ca.crt'}",
        f"--cluster-signing-key-file={cluster.pki / 'ca.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        # A node whose power went is noticed in twenty seconds instead of fifty.
        "--node-monitor-grace-period=20s",
        "--profiling=false",
    ]
    return _service(cluster, "kube-controller-manager", argv, after=_once_api(cluster))


def _scheduler(cluster: Cluster, programs: Path) -> keeper.Service:
    config = cluster.control / "scheduler.kubeconfig"
    argv = [
        str(programs / "kube-scheduler"),
        f"--bind-address={cluster.loopback}",
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--leader-elect=false",
        "--profiling=false",
    ]
    return _service(cluster, "kube-scheduler", argv, after=_once_api(cluster))


def _coredns(cluster: Cluster, programs: Path) -> keeper.Service:
    argv = [str(programs / "coredns"), "-conf", str(cluster.control / "Corefile")]
    return _service(cluster, "coredns", argv, after=_once_api(cluster))


def _metrics_server(cluster: Cluster, programs: Path) -> keeper.Service:
    config = cluster.control / "metrics.kubeconfig"
    argv = [
        str(programs / "metrics-server"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--bind-address={cluster.address}",
        f"--secure-port={METRICS_PORT}",
        f"--tls-cert-file={cluster.pki / 'metrics-server.crt'}",
        f"--tls-private-key-file={cluster.pki / 'metrics-server.key'}",
        f"--kubelet-certificate-authority={cluster.pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--metric-resolution=15s",
    ]
    return _service(cluster, "metrics-server", argv, after=_once_api(cluster))


def _edge_and_volumes(cluster: Cluster, programs: Path) -> keeper.Service:
    argv = [
        str(programs / "cluster"),
        "run",
        f"--kubeconfig={cluster.control / 'admin.kubeconfig'}",
        f"--state={cluster.folder}",
        *(f"--https={address}:443" for address in cluster.edge_listens),
        *(f"--http={address}:80" for address in cluster.edge_listens),
        f"--suffix={cluster.suffix}",
        f"--status-ip={cluster.address}",
        f"--health={cluster.loopback}:{EDGE_HEALTH_PORT}",
    ]
    return _service(cluster, "cluster", argv, after=_once_api(cluster), grace=15)


def render_corefile(cluster: Cluster, upstreams: tuple[str, ...]) -> str:
    """The name server's settings: the cluster's names, the edge's names, and the rest by the machine's own servers."""
    suffix = cluster.suffix.strip(".")
    forward = f"    forward . {' '.join(upstreams)}\n" if upstreams else ""
    return f""".:53 {{
    bind {cluster.address}
    errors
    template IN A {suffix} {{
        answer "{{{{ .Name }}}} 60 IN A {cluster.address}"
    }}
    template IN AAAA {suffix} {{
        rcode NOERROR
    }}
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {cluster.control / "coredns.kubeconfig"}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
{forward}    cache 30
    reload 5s
    loadbalance
}}
"""


def write_corefile(cluster: Cluster, upstreams: tuple[str, ...]) -> None:
    state.write_file(cluster.control / "Corefile", render_corefile(cluster, upstreams))
