"""Liveness, readiness and metrics over HTTP. What they say is looked at, not assumed."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from libresh.runtime.metrics import Metrics

Check = Callable[[], list[str]]
"""What is wrong, in sentences; nothing if all is well."""


class HealthServer:
    """Serves /healthz, /readyz and /metrics."""

    def __init__(
        self, metrics: Metrics, alive: Check, ready: Check, *, host: str = "0.0.0.0", port: int = 8080
    ) -> None:
        self.metrics = metrics
        self.alive = alive
        self.ready = ready
        self.host = host
        self.port = port
        """0 lets the system choose; `start` puts the chosen one here."""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/healthz", self._check(self.alive))
        app.router.add_get("/livez", self._check(self.alive))
        app.router.add_get("/readyz", self._check(self.ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, shutdown_timeout=1)
        await site.start()
        for address in self._runner.addresses:
            self.port = address[1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _check(self, check: Check) -> Callable[[web.Request], "asyncio.Future[web.Response]"]:
        async def answer(request: web.Request) -> web.Response:
            wrong = check()
            return web.Response(status=503 if wrong else 200, text="\n".join(wrong or ["ok"]) + "\n")

        return answer  # type: ignore[return-value]

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self.metrics.text().encode(), content_type="text/plain", charset="utf-8")
