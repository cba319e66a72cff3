"""What the cluster's tests look at and ask: probes in pods, nodes, processes, and traces on the machine."""

import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from libresh.errors import Unavailable
from libresh.local import keeper, network
from libresh.local.api import API
from libresh.local.spec import Cluster

IMAGE = "example.org/probe:1"


def objects() -> list[dict[str, Any]]:
    """A probe on every node, a Service and an Ingress before them, and one probe with a volume."""
    container = {"name": "probe", "image": IMAGE, "imagePullPolicy": "Never"}
    volume = {**container, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    # Who is not root writes to a volume by its group.
    security = {"runAsUser": 1000, "runAsNonRoot": True, "fsGroup": 1000}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}
    keep = {
        **pods("keep", {"containers": [volume], "securityContext": security}),
        "serviceName": "keep",
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
    }
    service = {"selector": {"app": "probe"}, "ports": [{"port": 80, "targetPort": 8080}]}
    backend = {"service": {"name": "probe", "port": {"number": 80}}}
    rule = {"host": "probe.localhost", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "spec": pods("probe", {"containers": [container]}),
            **named("probe"),
        },
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": keep, **named("keep")},
        {"apiVersion": "v1", "kind": "Service", "spec": service, **named("probe")},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "spec": {"rules": [rule]}, **named("probe")},
    ]


def named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}}


def pods(app: str, spec: dict[str, Any]) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": app}}, "spec": spec}
    return {"selector": {"matchLabels": {"app": app}}, "template": template}


def running(api: API, app: str) -> list[dict[str, Any]]:
    listed = api.read(f"/api/v1/namespaces/default/pods?labelSelector=app%3D{app}")
    assert listed is not None
    return [
        pod
        for pod in listed["items"]
        if any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))
    ]


def probe_pods(api: API) -> dict[str, str]:
    """Node → address of its probe."""
    return {pod["spec"]["nodeName"]: pod["status"]["podIP"] for pod in running(api, "probe")}


def keep_address(api: API) -> str:
    return next((pod["status"]["podIP"] for pod in running(api, "keep")), "")


def ask(address: str, path: str, **fields: str) -> str:
    """Ask a probe; its own error comes back as text."""
    url = f"http://{address}:8080{path}?{urllib.parse.urlencode(fields)}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read().decode()}"


def until(met: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if met():
                return
        except (OSError, Unavailable):
            pass  # not there yet
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def node_is(api: API, name: str, wanted: str) -> bool:
    found = api.read(f"/api/v1/nodes/{name}")
    assert found is not None
    return any(each["type"] == "Ready" and each["status"] == wanted for each in found["status"]["conditions"])


def host_pid(config: Path, service: str) -> int:
    """The number, outside its namespace, of a daemon."""
    inner = keeper.read_state(config)["services"][service]["pid"]
    parent = keeper.find(config)
    assert parent is not None
    # Any thread of the keeper may have been the one that started it.
    for pid in " ".join(path.read_text() for path in Path(f"/proc/{parent.pid}/task").glob("*/children")).split():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:") and line.split()[-1] == str(inner):
                return int(pid)
    raise AssertionError(f"{service} does not run")


def traces(made: Cluster) -> list[str]:
    """Everything on the machine that bears the cluster's mark, name or folder."""
    marks = (made.mark, f"libresh-{made.name}-", str(made.folder), f"libresh/{made.name}", str(made.pod_range)[:7])
    seen = [
        network.run("ip", "link"),
        network.run("ip", "route", "show", "table", "all"),
        network.run("ip", "netns"),
        network.run("nft", "list", "tables"),
        network.run("losetup", "-a"),
        Path("/proc/mounts").read_text(),
        "\n".join(str(path) for path in Path("/sys/fs/cgroup").glob("**/libresh/*") if path.is_dir()),
        subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout,
    ]
    return [line for text in seen for line in text.splitlines() if any(mark in line for mark in marks)]


def https_get(address: str, host: str, authority: Path) -> tuple[int, str]:
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection((address, 443), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as wrapped,
    ):
        wrapped.sendall(f"GET /name HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: wrapped.recv(4096), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body
