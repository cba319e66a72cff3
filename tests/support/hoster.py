"""A fake: the hoster of examples/outside-driver, over HTTP. It keeps names and passwords, and runs no PostgreSQL.

async with Hoster() as hoster:      # hoster.url, hoster.token
    hoster.databases                # what clients made, by id
    hoster.away = True              # from now on it answers 503
"""

import secrets
from types import TracebackType

from aiohttp import web


class Hoster:
    def __init__(self) -> None:
        self.token = secrets.token_hex(8)
        self.databases: dict[str, dict[str, str]] = {}
        self.away = False
        self.url = ""

    async def __aenter__(self) -> "Hoster":
        app = web.Application()
        app.router.add_put("/databases/{id}", self.make)
        app.router.add_delete("/databases/{id}", self.remove)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.runner.cleanup()

    def refuse(self, request: web.Request) -> web.Response | None:
        if self.away:
            return web.Response(status=503)
        known = request.headers.get("Authorization") == f"Bearer {self.token}"
        return None if known else web.Response(status=401)

    async def make(self, request: web.Request) -> web.Response:
        if refused := self.refuse(request):
            return refused
        name = request.match_info["id"]
        number = len(self.databases) + 1
        given = {"host": "db.example.org", "port": "5432", "database": f"d{number}", "username": f"u{number}"}
        made = self.databases.setdefault(name, given | {"password": secrets.token_urlsafe(12) + "/@"})
        return web.json_response(made)

    async def remove(self, request: web.Request) -> web.Response:
        if refused := self.refuse(request):
            return refused
        self.databases.pop(request.match_info["id"], None)
        return web.json_response({})
