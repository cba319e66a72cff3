"""A small client for a real API server, which shows what it answers, and the definitions it is given."""

import json
from functools import cached_property
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import yaml

from support.apiserver import RealApi
from support.manifests import crds

Object = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
JSON, MERGE = "application/json", "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"

CRDS: dict[str, Object] = {crd["spec"]["names"]["kind"]: crd for crd in crds()}
"""The definition of each of our kinds."""


def documents(folder: str) -> list[Object]:
    """Every object in the YAML files of a folder of the repository."""
    files = sorted((ROOT / folder).glob("**/*.yaml"))
    return [each for path in files for each in yaml.safe_load_all(path.read_text()) if each]


def collection_of(obj: Object) -> str:
    """The path an object of ours is posted to."""
    spec = CRDS[obj["kind"]]["spec"]
    place = f"/namespaces/{obj['metadata'].get('namespace', 'default')}" if spec["scope"] == "Namespaced" else ""
    return f"/apis/{obj['apiVersion']}{place}/{spec['names']['plural']}"


class Server(RealApi):
    """An API server one may do anything on."""

    @cached_property
    def connection(self) -> HTTPSConnection:
        """Kept open: a new one for each request would cost more than most requests."""
        return HTTPSConnection("127.0.0.1", self.port, context=self.context(), timeout=30)

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON
    ) -> tuple[int, Object]:
        """The status and the JSON that the server answers."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "Accept": accept}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else {"text": text.decode()}

    def post(self, obj: Object, *, dry_run: bool = False) -> tuple[int, Object]:
        """Creates an object of ours under strict validation."""
        return self.call("POST", f"{collection_of(obj)}?fieldValidation=Strict{'&dryRun=All' * dry_run}", obj)
