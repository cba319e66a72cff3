"""The same small reconcile with kopf, as its documentation has it; children by server-side apply over aiohttp."""

import json
import os
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import yaml

CONFIG = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
CLUSTER, USER = CONFIG["clusters"][0]["cluster"], CONFIG["users"][0]["user"]
SESSION: dict[str, aiohttp.ClientSession] = {}


@kopf.on.login()
def login(**_: Any) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(
        server=CLUSTER["server"], ca_path=CLUSTER.get("certificate-authority"), token=USER.get("token")
    )


@kopf.on.startup()
async def startup(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    settings.watching.chunk_size = 500
    # Progress and what was last seen are kept in the status, not in annotations: fewer writes.
    settings.persistence.progress_storage = kopf.StatusProgressStorage()
    settings.persistence.diffbase_storage = kopf.StatusDiffBaseStorage()
    tls = (
        ssl.create_default_context(cafile=CLUSTER["certificate-authority"])
        if "certificate-authority" in CLUSTER
        else True
    )
    headers = {"Authorization": f"Bearer {USER['token']}"} if USER.get("token") else {}
    SESSION["only"] = aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=tls, limit=32))


@kopf.on.cleanup()
async def cleanup(**_: Any) -> None:
    await SESSION["only"].close()


@kopf.on.create("bench.libre.sh", "v1", "widgets")
@kopf.on.update("bench.libre.sh", "v1", "widgets", field="spec")
async def reconcile(spec: Any, name: str, namespace: str, meta: Any, uid: str, patch: Any, **_: Any) -> None:
    owner = {"apiVersion": "bench.libre.sh/v1", "kind": "Widget", "name": name, "uid": uid, "controller": True}
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-config", "namespace": namespace, "ownerReferences": [owner]},
        "data": {"size": str(spec["size"]), "first": spec["settings"]["setting00"]},
    }
    url = f"{CLUSTER['server']}/api/v1/namespaces/{namespace}/configmaps/{name}-config?fieldManager=kopf&force=true"
    headers = {"Content-Type": "application/apply-patch+yaml"}
    async with SESSION["only"].patch(url, data=json.dumps(child), headers=headers) as answer:
        answer.raise_for_status()
    generation = meta["generation"]
    patch.status["observedGeneration"] = generation
    patch.status["conditions"] = [
        {"type": "Ready", "status": "True", "reason": "Settled", "observedGeneration": generation}
    ]
