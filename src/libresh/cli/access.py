"""Which cluster a command talks to, and talking to it.

--kubeconfig FILE   else  $KUBECONFIG   else  the cluster of the pod we run in
else  ~/.kube/config   else  the local cluster of this machine.   --local goes straight to the last.
"""

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from libresh.cli.manifests import discovery
from libresh.errors import LibreshError, Unavailable
from libresh.kube import auth
from libresh.kube.client import Client
from libresh.local import spec, state

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

AGENT = "libresh-cli"


@dataclass(frozen=True)
class Target:
    """The cluster a person means."""

    kubeconfig: str | None = None
    context: str | None = None
    local: bool = False

    @property
    def path(self) -> str | None:
        """The kubeconfig to use, or None where the pod's own credentials or kubectl's default file serve."""
        if self.kubeconfig:
            if not Path(self.kubeconfig).exists():
                raise LibreshError(
                    "no-kubeconfig", f"--kubeconfig: there is no {self.kubeconfig}", "name one that exists"
                )
            return self.kubeconfig
        if self.local:
            return str(local_kubeconfig(needed=True))
        if os.environ.get("KUBECONFIG"):
            return os.environ["KUBECONFIG"]
        if in_pod() or (Path.home() / ".kube" / "config").exists():
            return None
        found = local_kubeconfig()
        return str(found) if found else None

    @property
    def described(self) -> str:
        """The kubeconfig, as a message names it."""
        return self.path or ("the cluster of this pod" if in_pod() else str(Path.home() / ".kube" / "config"))

    def access(self) -> auth.Access:
        """The API server this leads to."""
        path = self.path
        try:
            return auth.find_access(path, self.context)
        except LibreshError as error:
            if error.reference != "no-kubeconfig" or path:
                raise
            raise LibreshError(
                "no-cluster",
                "No cluster is known: there is no $KUBECONFIG, no ~/.kube/config and no local cluster on this machine",
                "name a kubeconfig with --kubeconfig, or make a cluster here with: libresh up (it is root's: use sudo)",
            ) from error


def in_pod() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (auth.SERVICE_ACCOUNT / "token").exists()


def local_kubeconfig(*, needed: bool = False) -> Path | None:
    """The administrator's kubeconfig of this machine's cluster, if there is one and we may read it."""
    path = state.root() / "clusters" / spec.DEFAULT_NAME / "admin.kubeconfig"
    try:
        exists = path.exists() and os.access(path, os.R_OK)
    except PermissionError:
        exists = False
    if exists:
        return path
    if needed:
        raise LibreshError(
            "no-local-cluster", f"There is no local cluster here that you may use: {path}", "as root: libresh up"
        )
    return None


def cluster_options(command: F) -> F:
    """The options that choose a cluster; the command gets them as `target`."""

    @click.option("--kubeconfig", metavar="FILE", help="The kubeconfig to use.")
    @click.option("--context", metavar="NAME", help="The context of that kubeconfig.")
    @click.option("--local", "local_", is_flag=True, help="The local cluster of this machine, whatever else is set.")
    @functools.wraps(command)
    def wrapped(*args: Any, kubeconfig: str | None, context: str | None, local_: bool, **kwargs: Any) -> Any:
        return command(*args, target=Target(kubeconfig, context, local_), **kwargs)

    return wrapped  # type: ignore[return-value]


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Client]:
    """A client of that cluster that knows our kinds."""
    async with Client(target.access(), discovery.kinds(), agent=AGENT) as client:
        yield client


def run(work: Callable[[Client], Awaitable[T]], target: Target) -> T:
    """Do `work` with a client, from where nothing is asynchronous."""

    async def connected() -> T:
        async with connect(target) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    except Unavailable as error:
        if error.reference == "api-unreachable" and target.path == str(local_kubeconfig()):
            raise Unavailable(error.reference, error.message, "start the local cluster: libresh up") from error
        raise
