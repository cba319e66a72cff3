"""The real kube-apiserver with its etcd, in a temporary folder on free loopback ports, for the length of a test run.

    with RealApi() as server:                      # controllers=True adds garbage collection and namespace deletion
        server.url, server.token, server.ca        # or server.kubeconfig(), server.kubeconfig("jane", "devs")

The programs are found by LIBRESH_KUBERNETES_BIN (the multi-call binary), else built once from build/go/kubernetes.
They die with the test process, however it ends.
"""

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PATIENCE = 60.0
FOLDER = "libresh-api-"
LOOPBACK = "127.0.0.1"
DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG."""


class Unstartable(RuntimeError):
    """The server did not come up; the message has the end of its log."""


@cache
def binary() -> Path:
    """The multi-call binary `kubernetes`."""
    told = os.environ.get("LIBRESH_KUBERNETES_BIN")
    if told:
        return Path(told)
    from libresh.local import binaries

    return binaries.build("kubernetes") / "kubernetes"


class Authority:
    """Signs the certificates of one server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        self.file = folder / "ca.crt"
        made = self.builder(self.name, self.key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        self.file.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=30))
        )

    def issue(
        self, name: str, groups: tuple[str, ...] = (), *, server: bool = False, also: Sequence[str] = ()
    ) -> tuple[Path, Path]:
        """A certificate and its key: a server's is for this machine, and `also` for other names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        made = self.builder(x509.Name(parts), key).add_extension(x509.ExtendedKeyUsage([usage]), False)
        if server:
            names = [named(each) for each in dict.fromkeys(("localhost", LOOPBACK, *also))]
            made = made.add_extension(x509.SubjectAlternativeName(names), False)
        certificate, secret = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(private_bytes(key))
        secret.chmod(0o600)
        return certificate, secret


def named(host: str) -> x509.GeneralName:
    """A host's name or address, as certificates have it."""
    try:
        return x509.IPAddress(IPv4Address(host))
    except ValueError:
        return x509.DNSName(host)


def private_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def free_ports(count: int, address: str = LOOPBACK) -> list[int]:
    """Ports nobody listens at just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((address, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def remove_leftovers() -> None:
    """Removes the folders of test runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        owner = folder.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


def die_with_parent() -> None:
    """Runs in the child: the kernel kills it when its parent is gone."""
    ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


class RealApi:
    """One API server. Several may run at once."""

    def __init__(
        self, *, controllers: bool = False, crds: tuple[dict[str, Any], ...] = (), flags: tuple[str, ...] = ()
    ) -> None:
        self.controllers = controllers
        self.crds = crds
        """Installed before the controllers start: those look for new kinds only every 30 seconds."""
        self.flags = flags
        remove_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-"))
        self.programs: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.port, self.etcd_port, self.peer_port, self.manager_port = free_ports(4)
        self.url = f"https://127.0.0.1:{self.port}"
        self.token = secrets.token_hex(16)
        self.authority = Authority(self.folder)
        self.ca = self.authority.file

    # --- life --------------------------------------------------------------------------------------------------

    def __enter__(self) -> "RealApi":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything and waits until it answers."""
        try:
            self.run("etcd", *self.etcd_flags())
            self.run("kube-apiserver", *self.apiserver_flags())
            self.await_ready()
            if self.crds:
                self.install(*self.crds)
            if self.controllers:
                self.run("kube-controller-manager", *self.controller_flags())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kills what was started and removes the folder."""
        for _, program in reversed(self.programs):
            program.kill()
        for _, program in self.programs:
            program.wait()
        self.programs.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, name: str, *flags: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            program = subprocess.Popen(
                [str(binary()), name, *flags],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                preexec_fn=die_with_parent,
            )
        self.programs.append((name, program))

    def log(self, name: str) -> str:
        """What a program wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def await_ready(self) -> None:
        """Waits for /readyz."""
        context = ssl.create_default_context(cafile=str(self.ca))
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {self.token}"})
        deadline = time.monotonic() + PATIENCE
        said = ""
        while time.monotonic() < deadline:
            for name, program in self.programs:
                if program.poll() is not None:
                    raise Unstartable(f"{name} ended with {program.returncode}: {self.log(name)[-2000:]}")
            try:
                with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError) as error:
                said = str(error)
            time.sleep(0.05)
        raise Unstartable(f"not ready after {PATIENCE:.0f} s: {said}; {self.log('kube-apiserver')[-2000:]}")

    # --- flags -------------------------------------------------------------------------------------------------

    def etcd_flags(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            # One member elects itself: no reason to wait a second for others.
            "--heartbeat-interval=10",
            "--election-timeout=50",
        ]

    def apiserver_flags(self) -> list[str]:
        certificate, key = self.authority.issue("server", server=True)
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f'{self.token},admin,admin,"system:masters"\n')
        tokens.chmod(0o600)
        account, public = self.folder / "accounts.key", self.folder / "accounts.pub"
        signer = ec.generate_private_key(ec.SECP256R1())
        account.write_bytes(private_bytes(signer))
        public.write_bytes(
            signer.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return [
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--cert-dir={self.folder}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.ca}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={account}",
            "--service-account-issuer=https://localhost",
            "--allow-privileged=true",
            "--profiling=false",
            # Nobody makes the service accounts that pods would wait for.
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            *self.flags,
        ]

    def controller_flags(self) -> list[str]:
        config = self.kubeconfig()
        return [
            f"--kubeconfig={config}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.manager_port}",
            f"--cert-dir={self.folder}",
            "--leader-elect=false",
            "--profiling=false",
            "--controllers=garbage-collector-controller,namespace-controller",
        ]

    # --- access ------------------------------------------------------------------------------------------------

    def kubeconfig(self, user: str = "admin", *groups: str) -> Path:
        """A kubeconfig with a client certificate; the administrator's unless a user is named."""
        if user == "admin" and not groups:
            groups = ("system:masters",)
        certificate, key = self.authority.issue(user.replace(":", "-") if ":" in user else user, groups)
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": user, "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return path

    def context(self) -> ssl.SSLContext:
        """What a client needs to trust this server."""
        return ssl.create_default_context(cafile=str(self.ca))

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Runs kubectl as the administrator and returns what it printed."""
        done = subprocess.run(
            [str(binary()), "kubectl", f"--kubeconfig={self.kubeconfig()}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def install(self, *crds: dict[str, Any]) -> None:
        """Creates CustomResourceDefinitions and waits until their kinds are served."""
        self.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": crds}))
        names = [f"crd/{crd['metadata']['name']}" for crd in crds]
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
        deadline = time.monotonic() + PATIENCE
        while not all(self.serves(crd) for crd in crds):
            if time.monotonic() > deadline:
                raise Unstartable(f"{', '.join(names)} are established and still not served")
            time.sleep(0.05)

    def serves(self, crd: dict[str, Any]) -> bool:
        """Whether objects of a custom kind can be listed."""
        spec = crd["spec"]
        try:
            self.ask(f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")
        except urllib.error.HTTPError:
            return False
        return True

    def ask(self, path: str) -> Any:
        """GETs JSON as the administrator."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, context=self.context(), timeout=30) as answer:
            return json.loads(answer.read())

    def compact(self) -> None:
        """Makes etcd forget its history. With `--watch-cache=false` the server then answers 410 for the past."""
        now = self.etcd("kv/range", {"key": "AA==", "limit": "1"})["header"]["revision"]
        self.etcd("kv/compaction", {"revision": now, "physical": True})

    def etcd(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Asks etcd over its JSON gateway."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.etcd_port}/v3/{path}", data=data)
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found


__all__ = ["RealApi", "Unstartable", "binary"]
