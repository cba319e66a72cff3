"""The API servers that are talked to: the tests' one in memory, and the real one. Each is a process of its own.

Both are asked and changed in the same way (`Admin`), so that a scenario does not know which of them it runs on.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import yaml

from bench.process import cpu_of
from libresh import operator
from libresh.kube.auth import find_access
from libresh.kube.client import Client
from libresh.kube.kinds import KindInfo, Kinds
from support.apiserver import RealApi

Object = dict[str, Any]
ROOT = Path(__file__).resolve().parents[1]
LANES = 8
"""How many requests are under way when objects are made or changed."""
WRITES = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
WRITING = frozenset({"APPLY", "PATCH", "POST", "PUT", "DELETE"})
NOT_COUNTED = frozenset({"leases", "selfsubjectaccessreviews", "tokens"})
"""Leases are renewed by design: by the operator and by the API server itself."""

OURS = {"app.kubernetes.io/managed-by": "libresh"}
MADE = (
    *("Deployment", "StatefulSet", "Job", "CronJob", "Service", "ServiceAccount", "ConfigMap", "Secret", "Ingress"),
    *("NetworkPolicy", "PersistentVolumeClaim", "Role", "RoleBinding", "PodDisruptionBudget"),
    *("PostgreSQL", "Redis", "Bucket", "SMTPAccount", "OIDCClient"),
)


class Api(Protocol):
    """An API server under the eyes of the one who measures."""

    name: str
    kubeconfig: Path

    def __enter__(self) -> "Api": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def load(self, objects: Sequence[Object]) -> None:
        """Creates objects."""

    def writes(self) -> int:
        """Writes that were accepted so far, whoever sent them; leases do not count."""


class InMemory:
    """tests/support/fakeapi over plain HTTP, with its contract stub of Kubernetes' controllers."""

    name = "in memory, HTTP"

    def __init__(self, crds: Iterable[Object]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="bench-api-")
        self.kubeconfig = Path(self.folder.name) / "kubeconfig"
        self.crds = Path(self.folder.name) / "crds"
        self.crds.mkdir()
        (self.crds / "all.yaml").write_text(yaml.safe_dump_all(crds))

    def __enter__(self) -> "InMemory":
        self.server = subprocess.Popen(
            [sys.executable, "-m", "support.fakeapi", "--crds", str(self.crds)],
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT / 'src'}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.server.stdout is not None
        self.url: str = self.server.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the API server in memory did not start")
        write_kubeconfig(self.kubeconfig, {"server": self.url}, {})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.kill()
        self.server.wait()
        self.folder.cleanup()

    def load(self, objects: Sequence[Object]) -> None:
        for start in range(0, len(objects), 500):
            self.ask("/-/load", json.dumps(objects[start : start + 500]).encode())

    def writes(self) -> int:
        state = self.ask("/-/state")
        leases: int = sum(count for key, count in state["requests"].items() if is_write_of_lease(key))
        return int(state["writes"]) - leases

    def ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(self.url + path, body, timeout=600) as answer:
            return json.loads(answer.read())


class Real:
    """The real kube-apiserver with etcd (which does not wait for its disk), over TLS."""

    name = "real API server, TLS"

    def __init__(self, crds: Iterable[Object]) -> None:
        self.server = RealApi(crds=tuple(crds))

    def __enter__(self) -> "Real":
        self.server.start()
        self.kubeconfig = self.server.folder / "bench.kubeconfig"
        cluster = {"server": self.server.url, "certificate-authority": str(self.server.ca)}
        write_kubeconfig(self.kubeconfig, cluster, {"token": self.server.token})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.stop()

    def load(self, objects: Sequence[Object]) -> None:
        each_of(self, objects, lambda client, obj: client.create(obj))

    def cpu(self) -> float:
        """CPU seconds that the API server and etcd have used."""
        return sum(cpu_of(program.pid) for _, program in self.server.programs)

    def writes(self) -> int:
        request = urllib.request.Request(
            f"{self.server.url}/metrics", headers={"Authorization": f"Bearer {self.server.token}"}
        )
        with urllib.request.urlopen(request, context=self.server.context(), timeout=60) as answer:
            text = answer.read().decode()
        total = 0
        for labels, count in WRITES.findall(text):
            if counts(dict(LABEL.findall(labels))):
                total += int(float(count))
        return total


def counts(labels: dict[str, str]) -> bool:
    """Whether a request is an accepted write, and not one of bench.stub, which plays Kubernetes' controllers."""
    built_in = "." not in labels["group"] or labels["group"].endswith(".k8s.io")
    stub = (built_in and labels["subresource"] == "status") or (
        labels["resource"] == "persistentvolumeclaims" and labels["verb"] == "POST"
    )
    accepted = labels["verb"] in WRITING and labels["code"].startswith("2")
    return accepted and not stub and labels["resource"] not in NOT_COUNTED


def is_write_of_lease(request: str) -> bool:
    verb, _, kind = request.partition(" ")
    return kind == "Lease" and verb not in ("get", "list", "watch")


def write_kubeconfig(path: Path, cluster: Object, user: Object) -> None:
    """A kubeconfig that every contender understands: a server, at most a CA file and a token."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": cluster}],
        "users": [{"name": "bench", "user": user}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))


# --- what is asked and changed through the API itself -----------------------------------------------------------


def each_of(api: Api, items: Iterable[Any], do: Callable[[Client, Any], Awaitable[Any]], seconds: float = 0) -> None:
    """Does something for each item, a few at a time, or evenly over some seconds."""
    asyncio.run(_each_of(api.kubeconfig, list(items), do, seconds))


async def _each_of(
    kubeconfig: Path, items: list[Any], do: Callable[[Client, Any], Awaitable[Any]], seconds: float
) -> None:
    loop = asyncio.get_running_loop()
    async with Client(find_access(str(kubeconfig)), kinds(), timeout=120) as client:
        begun, waiting = loop.time(), iter(enumerate(items))

        async def lane() -> None:
            for index, item in waiting:
                await asyncio.sleep(begun + seconds * index / len(items) - loop.time() if seconds else 0)
                await do(client, item)

        async with asyncio.TaskGroup() as group:
            for _ in range(LANES):
                group.create_task(lane())


def objects_of(api: Api, kind: str) -> list[Object]:
    """All objects of a kind."""

    async def read() -> list[Object]:
        async with Client(find_access(str(api.kubeconfig)), kinds(), timeout=120) as client:
            return await client.list(kind)

    return asyncio.run(read())


def made_in(api: Api, namespace: str) -> int:
    """How many objects of a namespace libre.sh made."""

    async def count() -> int:
        async with Client(find_access(str(api.kubeconfig)), kinds(), timeout=120) as client:
            found = [await client.list(kind, namespace, labels=OURS) for kind in MADE]
            return sum(map(len, found))

    return asyncio.run(count())


def kinds() -> Kinds:
    """Every kind that is measured with."""
    found = Kinds(operator.types())
    found.add(KindInfo("Widget", "bench.libre.sh/v1", "widgets"))
    return found
