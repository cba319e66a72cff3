"""How long a Matrix takes to be ready on the local cluster, beside `kubectl apply` of the very same objects by hand.

The operator's way ends when the Matrix says Ready. By hand ends when everything that runs is available: the same pods,
pulled from the same images, without waiting for one another as far as Kubernetes lets them.
"""

import asyncio
import json
import statistics
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.contenders import describe_machine
from bench.servers import MADE, OURS, Object, kinds
from bench.widgets import is_done
from libresh.cli.kubectl import find_kubectl
from libresh.kube.auth import find_access
from libresh.kube.client import Client
from libresh.kube.errors import NotFound

BY_OPERATOR, BY_HAND = "bench-operator", "bench-by-hand"
SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences")
JOB_LABELS = frozenset(
    prefix + name for prefix in ("", "batch.kubernetes.io/") for name in ("controller-uid", "job-name")
)
OWN_KINDS = frozenset(("PostgreSQL", "Redis", "Bucket", "SMTPAccount", "OIDCClient"))
LOOK, PATIENCE = 0.1, 300.0
MATRIX: Object = {
    "apiVersion": "apps.libre.sh/v1alpha1",
    "kind": "Matrix",
    "metadata": {"name": "chat", "namespace": BY_OPERATOR},
    "spec": {"host": "chat.bench.localhost", "mail": {}, "login": {}},
}


def run(kubeconfig: Path, *, rounds: int = 3, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Takes turns, so that a slow moment of the machine meets both."""
    return asyncio.run(compare(kubeconfig, rounds, tell))


async def compare(kubeconfig: Path, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    async with Client(find_access(str(kubeconfig)), kinds()) as client:
        operator: list[float] = []
        by_hand: list[float] = []
        count = 0
        try:
            for _ in range(rounds):
                seconds, objects = await by_operator(client)
                operator.append(seconds)
                count = len(objects)
                by_hand.append(await by_hands(client, kubeconfig, objects))
                tell(f"ready: operator {operator[-1]:.1f} s, by hand {by_hand[-1]:.1f} s, {count} objects")
        finally:
            await remove(client, BY_OPERATOR)
            await remove(client, BY_HAND)
    return {
        "machine": describe_machine(),
        "objects": count,
        "operator_s": [round(each, 2) for each in operator],
        "by_hand_s": [round(each, 2) for each in by_hand],
        "ratio": round(statistics.median(operator) / statistics.median(by_hand), 3),
    }


async def by_operator(client: Client) -> tuple[float, list[Object]]:
    """Creates a Matrix in a fresh namespace; when it is ready, what it consists of."""
    await fresh(client, BY_OPERATOR)
    begun = time.monotonic()
    await client.create(MATRIX)
    await until(lambda: matrix_ready(client), "the Matrix is ready")
    seconds = time.monotonic() - begun
    objects = [clean(obj, BY_HAND) for kind in MADE if kind not in OWN_KINDS for obj in await made(client, kind)]
    await remove(client, BY_OPERATOR)
    return seconds, objects


async def by_hands(client: Client, kubeconfig: Path, objects: list[Object]) -> float:
    """Applies the objects all at once, as a person with a folder of manifests would."""
    await fresh(client, BY_HAND)
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}).encode()
    begun = time.monotonic()
    command = [str(find_kubectl()), f"--kubeconfig={kubeconfig}", "apply", "--server-side", "-f", "-"]
    program = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    await program.communicate(manifests)
    if program.returncode:
        raise RuntimeError("kubectl apply failed; its words are above")
    await until(lambda: workloads_ready(client), "everything applied by hand is available")
    seconds = time.monotonic() - begun
    await remove(client, BY_HAND)
    return seconds


async def made(client: Client, kind: str) -> list[Object]:
    """What the operator made of a kind. What other controllers make of it in turn is left to them."""
    return await client.list(kind, BY_OPERATOR, labels=OURS)


def clean(obj: Object, namespace: str) -> Object:
    """The object as a person would write it, for another namespace: nothing of the server's, nobody's child."""
    text = json.dumps({key: value for key, value in obj.items() if key != "status"})
    found: Object = json.loads(text.replace(BY_OPERATOR, namespace))
    meta = {key: value for key, value in found["metadata"].items() if key not in SERVER_FIELDS}
    found["metadata"] = {**meta, "labels": {k: v for k, v in meta["labels"].items() if (k, v) not in OURS.items()}}
    found["metadata"]["namespace"] = namespace
    spec = found.get("spec", {})
    match found["kind"]:
        case "Service":
            for key in ("clusterIP", "clusterIPs"):
                if spec.get(key) not in ("None", ["None"]):
                    spec.pop(key, None)
        case "PersistentVolumeClaim":
            spec.pop("volumeName", None)
            found["metadata"].pop("annotations", None)
        case "Job":
            spec.pop("selector", None)
            labels = spec["template"]["metadata"]["labels"]
            spec["template"]["metadata"]["labels"] = {k: v for k, v in labels.items() if k not in JOB_LABELS}
        case "Secret":
            data = {
                key: b64decode(value).replace(BY_OPERATOR.encode(), namespace.encode())
                for key, value in (found.get("data") or {}).items()
            }
            found["data"] = {key: b64encode(value).decode() for key, value in data.items()}
    return found


async def matrix_ready(client: Client) -> bool:
    found = await client.get("Matrix", "chat", BY_OPERATOR)
    return found is not None and is_done(found)


async def workloads_ready(client: Client) -> bool:
    """Whether all replicas of everything are ready, and all Jobs have completed."""
    for kind in ("Deployment", "StatefulSet"):
        for obj in await client.list(kind, BY_HAND):
            if obj.get("status", {}).get("readyReplicas", 0) < obj["spec"].get("replicas", 1):
                return False
    jobs = await client.list("Job", BY_HAND)
    return all(obj.get("status", {}).get("succeeded") for obj in jobs)


async def until(done: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {PATIENCE:.0f} s it is not so that {what}")
        await asyncio.sleep(LOOK)


async def fresh(client: Client, namespace: str) -> None:
    """A namespace with nothing in it, as strict as those that libre.sh asks for."""
    await remove(client, namespace)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    await asyncio.sleep(2)  # its service account and the authority's certificate come a moment later


async def remove(client: Client, namespace: str) -> None:
    """Deletes a namespace and waits until it is gone."""
    try:
        await client.delete("Namespace", namespace)
    except NotFound:
        return

    async def gone() -> bool:
        return await client.get("Namespace", namespace) is None

    await until(gone, f"the namespace {namespace} is gone")
