"""The fake over HTTP on a loopback port, in the process of the test."""

import asyncio
from types import TracebackType

from aiohttp import web

from .api import NOTHING_HERE, FakeApi, refuse
from .errors import Refusal, unauthorized
from .faults import Broken
from .reads import open_watch, stream
from .request import Request
from .routes import NoSuchGroup, find_target

STDOUT, ERROR, CLOSE = 1, 3, 255
"""Channels of exec."""


class Server:
    """Serves a FakeApi: `async with Server(api) as server: server.url`."""

    def __init__(self, api: FakeApi, *, port: int = 0, token: str = "") -> None:
        self.api = api
        self.port = port
        self.token = token
        """When set, only requests with this bearer token are served."""
        self.url = ""
        self.runner: web.AppRunner | None = None

    async def __aenter__(self) -> "Server":
        app = web.Application(client_max_size=2**30)
        self.routes(app)
        self.runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def routes(self, app: web.Application) -> None:
        """Everything is the API's."""
        app.router.add_route("*", "/{path:.*}", self.answer)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all watches and stops listening."""
        self.api.break_watches(how="end")
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def answer(self, http: web.Request) -> web.StreamResponse:
        """One request."""
        if self.token and http.headers.get("Authorization") != f"Bearer {self.token}":
            return self.response(unauthorized())
        if self.api.programs is not None and http.path.endswith("/exec"):
            return await self.execute(http)
        body = await http.read() if http.can_read_body else b""
        request = Request(http.method, http.path, http.query, http.headers, body)
        try:
            if request.method == "GET" and request.query.get("watch") in ("1", "true"):
                return await self.watch(http, request)
            answer = await self.api.call(request)
        except NoSuchGroup:
            answer = NOTHING_HERE
        except Broken:
            return abort(http)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def execute(self, http: web.Request) -> web.StreamResponse:
        """A program in a pod, by WebSocket (v5.channel.k8s.io): it is given all of its input, and answers."""
        assert self.api.programs is not None
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io",))
        await socket.prepare(http)
        given = b""
        async for message in socket:
            if message.data[0] == CLOSE:
                break
            given += message.data[1:]
        _, _, _, _, namespace, _, pod, _ = http.path.split("/")
        await socket.send_bytes(bytes([STDOUT]) + self.api.programs(namespace, pod, given))
        await socket.send_bytes(bytes([ERROR]) + b'{"status": "Success"}')
        await socket.close()
        return socket

    def response(self, refusal: Refusal) -> web.Response:
        answer = refuse(refusal)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def watch(self, http: web.Request, request: Request) -> web.StreamResponse:
        """A stream of events, a line each."""
        api = self.api
        if api.faults.dead:
            raise Broken("the client has crashed")
        try:
            target = find_target(api, request)
            api.requests["watch", target.kind.kind] += 1
            await api.suffer(request, target, "watch")
            watch, first = open_watch(api, request, target)
        except Refusal as refusal:
            return self.response(refusal)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(http)
        seconds = float(request.query.get("timeoutSeconds") or api.random.uniform(1800, 3600))
        try:
            async for lines in stream(api, watch, first, seconds):
                await response.write(lines)
            if watch.ended == "reset" or api.faults.dead:
                return abort(http)
            await response.write_eof()
        except (ConnectionResetError, asyncio.CancelledError):
            api.watches.discard(watch)
            raise
        return response


def abort(http: web.Request) -> web.Response:
    """Breaks the connection: the client sees it die without an answer."""
    if http.transport is not None:
        http.transport.abort()
    return web.Response(status=500)


__all__ = ["Server"]
