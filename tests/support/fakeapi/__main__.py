"""The fake as a process of its own, for benchmarks: `python -m support.fakeapi [--port N] [--crds FOLDER]`.

It prints its URL. Besides the API it serves `/-/state` (GET: requests, journal length, resource version) and
`/-/load` (POST: a JSON list of objects, stored as they are), and settles dependants and workloads as it goes.
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import msgspec
import yaml
from aiohttp import web

from .api import FakeApi
from .server import Server
from .workloads import Workloads


class OpenServer(Server):
    """A server with doors for whoever measures."""

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/-/state", self.state)
        app.router.add_post("/-/load", self.load)
        super().routes(app)

    async def state(self, http: web.Request) -> web.Response:
        api = self.api
        requests = {f"{verb} {kind}": count for (verb, kind), count in api.requests.items()}
        changed = sum(write.changed for write in api.journal)
        found = {"requests": requests, "writes": len(api.journal), "changes": changed, "resourceVersion": api.rv}
        return web.json_response(found)

    async def load(self, http: web.Request) -> web.Response:
        objects: list[dict[str, Any]] = msgspec.json.decode(await http.read())
        self.api.load(objects)
        return web.json_response({"loaded": len(objects)})


async def run(port: int, folder: str) -> None:
    """Serves until it is killed."""
    files = sorted(Path(folder).glob("*.yaml")) if folder else []
    crds = [crd for path in files for crd in yaml.safe_load_all(path.read_text()) if crd]
    api = FakeApi(crds=crds)
    # As every API server makes it.
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    Workloads(api)
    async with OpenServer(api, port=port) as server, api.live(0.05):
        print(server.url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="A Kubernetes API server in memory.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--crds", default="", help="a folder of CustomResourceDefinitions")
    found = parser.parse_args()
    asyncio.run(run(found.port, found.crds))


if __name__ == "__main__":
    main()
