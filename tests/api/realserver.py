"""A real API server with its etcd, on loopback, for tests; and a small client that shows what it answers."""

import json
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from libresh.local import binaries

Object = dict[str, Any]
START_LIMIT = 90.0
ROOT = Path(__file__).resolve().parents[2]
JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def documents(folder: str) -> list[Object]:
    """Every object in the YAML files of a folder of the repository."""
    files = sorted((ROOT / folder).glob("**/*.yaml"))
    return [each for path in files for each in yaml.safe_load_all(path.read_text()) if each]


CRDS: dict[str, Object] = {crd["spec"]["names"]["kind"]: crd for crd in documents("deploy/crds")}
"""The definition of each of our kinds."""


def collection_of(obj: Object) -> str:
    """The path an object of ours is posted to."""
    spec = CRDS[obj["kind"]]["spec"]
    place = f"/namespaces/{obj['metadata'].get('namespace', 'default')}" if spec["scope"] == "Namespaced" else ""
    return f"/apis/{obj['apiVersion']}{place}/{spec['names']['plural']}"


@dataclass(frozen=True)
class Server:
    """An API server one may do anything on."""

    port: int
    token: str
    programs: Path
    kubeconfig: Path

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON
    ) -> tuple[int, Object]:
        """The status and the JSON that the server answers."""
        context = ssl._create_unverified_context()
        connection = HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "Accept": accept}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text.startswith(b"{") else {"text": text.decode()}

    def post(self, obj: Object, *, dry_run: bool = False) -> tuple[int, Object]:
        """Creates an object of ours under strict validation."""
        return self.call("POST", f"{collection_of(obj)}?fieldValidation=Strict{'&dryRun=All' * dry_run}", obj)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints."""
        command = [str(self.programs / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    """Starts etcd and an API server in a folder, and ends them."""
    programs = binaries.build("kubernetes")
    client, peer, secure = free_port(), free_port(), free_port()
    server = Server(secure, secrets.token_hex(16), programs, folder / "kubeconfig")
    write_files(server, folder)
    etcd = run(folder, "etcd", programs / "etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync",
               f"--listen-client-urls=http://127.0.0.1:{client}", f"--advertise-client-urls=http://127.0.0.1:{client}",
               f"--listen-peer-urls=http://127.0.0.1:{peer}")  # fmt: skip
    api = run(folder, "apiserver", programs / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{client}",
              "--bind-address=127.0.0.1", f"--secure-port={secure}", f"--cert-dir={folder}/certificates",
              f"--token-auth-file={folder}/tokens.csv", f"--service-account-key-file={folder}/key.pem",
              f"--service-account-signing-key-file={folder}/key.pem", "--service-account-issuer=https://libresh.test",
              "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC",
              "--disable-admission-plugins=ServiceAccount", "--advertise-address=127.0.0.1",
              "--endpoint-reconciler-type=none")  # fmt: skip
    try:
        wait_until_ready(server, api, folder)
        yield server
    finally:
        for process in (api, etcd):
            process.kill()
            process.wait()


def run(folder: Path, name: str, *command: object) -> "subprocess.Popen[bytes]":
    """Starts a program whose output goes to a file."""
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen([str(part) for part in command], stdout=log, stderr=subprocess.STDOUT)


def write_files(server: Server, folder: Path) -> None:
    """What the server reads at its start, and what kubectl needs."""
    (folder / "tokens.csv").write_text(f"{server.token},admin,admin,system:masters\n")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "test",
                "cluster": {"server": f"https://127.0.0.1:{server.port}", "insecure-skip-tls-verify": True},
            }
        ],
        "users": [{"name": "test", "user": {"token": server.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    server.kubeconfig.write_text(json.dumps(config))


def wait_until_ready(server: Server, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Waits for /readyz; shows the log's end when it never comes."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.call("GET", "/readyz")[0] == 200:
                return
        except (OSError, HTTPException):
            pass
        time.sleep(0.2)
    raise AssertionError(f"the API server did not become ready: {(folder / 'apiserver.log').read_text()[-3000:]}")


def free_port() -> int:
    """A port of loopback nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
