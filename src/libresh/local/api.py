"""The few words the local cluster speaks to its API server: is it ready, apply this, read that."""

from __future__ import annotations

import http.client
import json
import ssl
from datetime import datetime
from typing import Any

from libresh.errors import LibreshError, Unavailable
from libresh.local.spec import API_PORT, Cluster

FIELD_MANAGER = "libresh-local"
Object = dict[str, Any]


class API:
    """A connection per request: these are a handful, and the server restarts under them."""

    def __init__(self, cluster: Cluster) -> None:
        self.host = str(cluster.address)
        context = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
        context.load_cert_chain(cluster.pki / "admin.crt", cluster.pki / "admin.key")
        self.context = context

    def request(self, method: str, path: str, body: Object | None = None, *, seconds: float = 10) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(self.host, API_PORT, context=self.context, timeout=seconds)
        try:
            raw = json.dumps(body) if body is not None else None
            connection.request(method, path, raw, {"Content-Type": "application/apply-patch+yaml"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            where = f"https://{self.host}:{API_PORT}"
            raise Unavailable("api-unreachable", f"{method} {where}{path} had no answer: {error}") from error
        finally:
            connection.close()

    def is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz", seconds=3)[0] == 200
        except Unavailable:
            return False

    def read(self, path: str) -> Object | None:
        """An object or a list; None if there is none."""
        status, raw = self.request("GET", path)
        if status == 404:
            return None
        if status != 200:
            raise _refused("reading", path, status, raw)
        found: Object = json.loads(raw)
        return found

    def apply(self, wanted: Object) -> None:
        path = f"{path_of(wanted)}?fieldManager={FIELD_MANAGER}&force=true"
        status, raw = self.request("PATCH", path, wanted)
        if status not in (200, 201):
            raise _refused("applying", path_of(wanted), status, raw)

    def delete(self, path: str) -> None:
        status, raw = self.request("DELETE", path)
        if status not in (200, 202, 404):
            raise _refused("deleting", path, status, raw)


def path_of(wanted: Object) -> str:
    version, kind, meta = wanted["apiVersion"], wanted["kind"], wanted["metadata"]
    prefix = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    inside = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    plural = kind.lower() + ("es" if kind.endswith("s") else "s")
    return f"{prefix}{inside}/{plural}/{meta['name']}"


def is_node_ready(found: Object, since: datetime | None = None) -> bool:
    """Whether a node says it is ready, and said so at that time or later."""
    for each in found.get("status", {}).get("conditions", ()):
        if each["type"] == "Ready" and each["status"] == "True":
            # The server keeps whole seconds.
            said = datetime.fromisoformat(each["lastHeartbeatTime"])
            return since is None or said >= since.replace(microsecond=0)
    return False


def _refused(doing: str, path: str, status: int, raw: bytes) -> LibreshError:
    try:
        why = json.loads(raw).get("message", "")
    except ValueError:
        why = raw[:200].decode(errors="replace")
    return LibreshError("api-refused", f"{doing} {path} was answered {status}: {why}")
