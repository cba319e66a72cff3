"""Where the API server is and how we prove who we are: in-cluster, or by kubeconfig."""

import asyncio
import base64
import binascii
import os
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import yaml

from libresh.errors import LibreshError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFETIME = 60.0
"""Seconds after which a token file is read again: the kubelet rotates it."""
EXEC_TIMEOUT = 60.0


class Credentials(Protocol):
    """Gives the bearer token of a request."""

    async def token(self, *, renew: bool = False) -> str:
        """The token, or "" where none is used. `renew` says that the last one was refused."""


@dataclass(frozen=True)
class FixedToken:
    """A token that never changes, or none."""

    value: str = ""

    async def token(self, *, renew: bool = False) -> str:
        return self.value


@dataclass
class TokenFile:
    """A token in a file that somebody else keeps fresh."""

    path: Path
    value: str = ""
    read_at: float = float("-inf")

    async def token(self, *, renew: bool = False) -> str:
        now = time.monotonic()
        if renew or now - self.read_at > TOKEN_LIFETIME:
            try:
                self.value = self.path.read_text().strip()
            except OSError as error:
                if not self.value:
                    raise LibreshError("token-unreadable", f"Cannot read the token {self.path}: {error}") from error
            self.read_at = now
        return self.value


class ExecStatus(msgspec.Struct, rename="camel"):
    """What an exec plugin answers with."""

    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class ExecCredential(msgspec.Struct):
    """The answer of an exec plugin."""

    status: ExecStatus | None = None


@dataclass
class ExecPlugin:
    """A program that prints a token (client.authentication.k8s.io)."""

    spec: dict[str, Any]
    folder: Path
    context: ssl.SSLContext | None = None
    answer: ExecStatus | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self, *, renew: bool = False) -> str:
        async with self.lock:
            expiry = self.answer.expiration_timestamp if self.answer else None
            stale = expiry is not None and expiry.timestamp() - time.time() < 30
            if self.answer is None or stale or renew:
                self.answer = await self.run()
                if self.answer.client_certificate_data and self.context:
                    load_pair(self.context, self.answer.client_certificate_data, self.answer.client_key_data)
            return self.answer.token

    async def run(self) -> ExecStatus:
        command = str(self.spec.get("command", ""))
        if "/" in command and not command.startswith("/"):
            command = str(self.folder / command)
        info = {
            "apiVersion": self.spec.get("apiVersion", "client.authentication.k8s.io/v1"),
            "kind": "ExecCredential",
            "spec": {"interactive": False},
        }
        extra = {item["name"]: item["value"] for item in self.spec.get("env") or ()}
        env = {**os.environ, **extra, "KUBERNETES_EXEC_INFO": msgspec.json.encode(info).decode()}
        hint = str(self.spec.get("installHint", ""))
        try:
            plugin = await asyncio.create_subprocess_exec(
                command,
                *(self.spec.get("args") or ()),
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise LibreshError("exec-plugin", f"Cannot run the credential plugin {command}: {error}", hint) from error
        try:
            async with asyncio.timeout(EXEC_TIMEOUT):
                output, _ = await plugin.communicate()
        except TimeoutError:
            plugin.kill()
            raise LibreshError("exec-plugin", f"The credential plugin {command} did not answer", hint) from None
        if plugin.returncode:
            raise LibreshError("exec-plugin", f"The credential plugin {command} ended with {plugin.returncode}", hint)
        try:
            status = msgspec.json.decode(output, type=ExecCredential).status
        except msgspec.MsgspecError:
            status = None
        if status is None:
            raise LibreshError("exec-plugin", f"The credential plugin {command} printed no ExecCredential", hint)
        return status


@dataclass
class Access:
    """One API server and how to reach it."""

    server: str
    ssl: "ssl.SSLContext | None" = None
    credentials: Credentials = field(default_factory=FixedToken)
    namespace: str = "default"
    proxy: str | None = None
    server_name: str | None = None
    ca_file: Path | None = None
    """A CA that may be replaced while we run: it is loaded again when a handshake fails."""

    def reload_ca(self) -> None:
        """Loads the CA file again, if there is one."""
        if self.ssl is not None and self.ca_file is not None and self.ca_file.exists():
            self.ssl.load_verify_locations(cafile=str(self.ca_file))


def find_access(kubeconfig: str | None = None, context: str | None = None) -> Access:
    """An explicit kubeconfig, $KUBECONFIG, the cluster we run in, or ~/.kube/config: the first that exists."""
    path = kubeconfig or os.environ.get("KUBECONFIG")
    if path:
        return from_kubeconfig([Path(part) for part in path.split(os.pathsep) if part], context)
    if (SERVICE_ACCOUNT / "token").exists() and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster()
    return from_kubeconfig([Path.home() / ".kube" / "config"], context)


def in_cluster(folder: Path = SERVICE_ACCOUNT) -> Access:
    """The access that the kubelet gives to a pod."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    ca = folder / "ca.crt"
    namespace = folder / "namespace"
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ssl=trusting(cafile=str(ca)),
        credentials=TokenFile(folder / "token"),
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
        ca_file=ca,
    )


def from_kubeconfig(paths: list[Path], context: str | None = None) -> Access:
    """The access that a kubeconfig describes; of several files the first one that names a thing wins."""
    merged = merge_files(paths)
    name = context or merged["current-context"]
    if not name:
        raise LibreshError("no-context", f"{said(paths)} names no current context", "choose one with --context")
    chosen, folder = named(merged, "contexts", "context", name, paths)
    cluster, cluster_folder = named(merged, "clusters", "cluster", str(chosen.get("cluster")), paths)
    user: dict[str, Any] = {}
    if chosen.get("user"):
        user, folder = named(merged, "users", "user", str(chosen["user"]), paths)
    tls = tls_context(cluster, cluster_folder, user, folder)
    return Access(
        server=str(cluster.get("server", "http://localhost:8080")).rstrip("/"),
        ssl=tls if str(cluster.get("server", "")).startswith("https") else None,
        credentials=credentials(user, folder, tls),
        namespace=str(chosen.get("namespace") or "default"),
        proxy=cluster.get("proxy-url"),
        server_name=cluster.get("tls-server-name"),
    )


def said(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)


def merge_files(paths: list[Path]) -> dict[str, Any]:
    """The named things of all files, each with the folder its relative paths start from."""
    merged: dict[str, Any] = {"current-context": "", "contexts": {}, "clusters": {}, "users": {}}
    found = [path for path in paths if path.exists()]
    if not found:
        raise LibreshError(
            "no-kubeconfig", f"There is no kubeconfig at {said(paths)}", "set KUBECONFIG or --kubeconfig"
        )
    for path in found:
        try:
            data = yaml.safe_load(path.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise LibreshError("kubeconfig-unreadable", f"Cannot read the kubeconfig {path}: {error}") from error
        merged["current-context"] = merged["current-context"] or data.get("current-context") or ""
        for section in ("contexts", "clusters", "users"):
            for item in data.get(section) or ():
                merged[section].setdefault(item["name"], (item, path.parent))
    return merged


def named(merged: dict[str, Any], section: str, key: str, name: str, paths: list[Path]) -> tuple[dict[str, Any], Path]:
    """One named thing of a kubeconfig."""
    if name not in merged[section]:
        known = ", ".join(sorted(merged[section])) or "none"
        raise LibreshError("kubeconfig-incomplete", f"{said(paths)} has no {key} {name}", f"it has: {known}")
    item, folder = merged[section][name]
    return item.get(key) or {}, folder


def trusting(**authority: str) -> ssl.SSLContext:
    """Trusts the cluster's authority as it is: many a cluster's certificate lacks what Python 3.13 began to ask for
    (such as the Authority Key Identifier), and nobody but its owner could make another."""
    context = ssl.create_default_context(**authority)  # type: ignore[arg-type]
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def tls_context(cluster: dict[str, Any], cluster_folder: Path, user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    """What we trust, and the client certificate if there is one."""
    context = trusting()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif cluster.get("certificate-authority-data"):
        context = trusting(cadata=decoded(cluster["certificate-authority-data"]).decode())
    elif cluster.get("certificate-authority"):
        context = trusting(cafile=str(cluster_folder / cluster["certificate-authority"]))
    if user.get("client-certificate-data"):
        load_pair(
            context,
            decoded(user["client-certificate-data"]).decode(),
            decoded(user.get("client-key-data", "")).decode(),
        )
    elif user.get("client-certificate"):
        context.load_cert_chain(str(folder / user["client-certificate"]), str(folder / user["client-key"]))
    return context


def decoded(value: str) -> bytes:
    """Inline data of a kubeconfig."""
    try:
        return base64.b64decode(value, validate=False)
    except (binascii.Error, ValueError) as error:
        raise LibreshError("kubeconfig-unreadable", "Inline data of the kubeconfig is not base64") from error


def load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Loads a certificate and key held in memory: the ssl module reads files only, so they pass through one."""
    handle, path = tempfile.mkstemp(prefix="libresh-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(certificate.rstrip() + "\n" + key)
        context.load_cert_chain(path)
    finally:
        os.unlink(path)


def credentials(user: dict[str, Any], folder: Path, tls: ssl.SSLContext) -> Credentials:
    """How the requests of a kubeconfig's user are signed."""
    if user.get("exec"):
        return ExecPlugin(user["exec"], folder, tls)
    if user.get("tokenFile"):
        return TokenFile(folder / user["tokenFile"])
    return FixedToken(str(user.get("token") or ""))
