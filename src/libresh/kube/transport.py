"""Requests and streams to one API server: connections, credentials, patience, errors."""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
from yarl import URL

from libresh import __version__
from libresh.errors import LibreshError
from libresh.kube.auth import Access
from libresh.kube.errors import Unavailable, error_from
from libresh.kube.kinds import Kinds
from libresh.kube.wire import Answer, Pool

REQUEST_TIMEOUT = 30.0
IN_FLIGHT = 32
PATIENCE = 5
"""How often a request that met 429 is sent again."""
LONGEST_PAUSE = 30.0
JSON = "application/json"


def encode_query(params: Mapping[str, str] | None) -> str:
    """The query string, with what is empty left out."""
    if not params:
        return ""
    parts = [f"{key}={quote(value, safe='')}" for key, value in params.items() if value]
    return "?" + "&".join(parts) if parts else ""


def no_report(method: str, code: str) -> None:
    """The metrics hook where nobody counts."""


class Transport:
    """The way to one API server."""

    def __init__(
        self,
        access: Access,
        kinds: Kinds | None = None,
        *,
        in_flight: int = IN_FLIGHT,
        timeout: float = REQUEST_TIMEOUT,
        agent: str = "libresh",
    ) -> None:
        self.access = access
        self.kinds = kinds or Kinds()
        self.report: Callable[[str, str], None] = no_report
        self.reachable_at = float("-inf")
        """When (monotonic) the API server last answered anything."""
        self._in_flight = in_flight
        self._timeout = timeout
        self._agent = f"{agent}/{__version__}"
        self._pool: Pool | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._headers: dict[tuple[str, str, str], dict[str, str]] = {}
        self._heads: dict[tuple[str, str, str], bytes] = {}

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Opens the ways: a limited pool for requests, an unlimited one for watches and logs."""
        if self._streams is not None:
            return
        # A cluster is reached directly or by its kubeconfig's proxy-url; proxies of the environment are for the web.
        tls = self.access.ssl if self.access.ssl is not None else True
        self._streams = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=60),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=2**18,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
        )
        if self.access.proxy is None:
            self._pool = Pool(self.access.server, self.access.ssl, self.access.server_name, self._in_flight)

    async def close(self) -> None:
        """Closes all connections."""
        if self._streams is not None:
            await self._streams.close()
        if self._pool is not None:
            self._pool.close()
        self._streams = self._pool = None

    async def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content: str = "",
        accept: str = JSON,
        timeout: float = 0,
        what: str = "",
        secret: bool = False,
    ) -> bytes:
        """One request and its answer. 429 is waited out, a refused token renewed once; the rest becomes an error."""
        target = path + encode_query(params)
        what = what or f"{method} {path}"
        renew = False
        for attempt in range(1, PATIENCE + 1):
            found = await self._once(method, target, body, (content, accept), timeout or self._timeout, what, renew)
            code, answer = found.status, found.body
            if code < 400:
                return answer
            if code == 401 and not renew:
                renew = True
            elif code == 429 and attempt < PATIENCE:
                pause = retry_after(found.retry_after)
                await asyncio.sleep(pause + random.uniform(0, 0.1 + pause / 4))
            else:
                raise error_from(code, answer, what, secret=secret)
        raise error_from(code, answer, what, secret=secret)

    async def _once(
        self,
        method: str,
        target: str,
        body: bytes | None,
        forms: tuple[str, str],
        timeout: float,
        what: str,
        renew: bool,
    ) -> Answer:
        """Sends once. `forms` are the media types of what is sent and of what is asked for."""
        if self._streams is None:
            raise LibreshError("client-closed", f"Cannot {what}: this client is not open", "use `async with Client(…)`")
        token = await self.access.credentials.token(renew=renew)
        try:
            if self._pool is not None:
                answer = await self._pool.request(method, target, self._bytes(token, *forms), body, timeout)
            else:
                answer = await self._by_proxy(method, target, self._head(token, *forms), body, timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.report(method, "error")
            raise self._unreachable(what, error) from error
        self.reachable_at = time.monotonic()
        self.report(method, str(answer.status))
        return answer

    async def _by_proxy(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None, timeout: float
    ) -> Answer:
        assert self._streams is not None
        async with self._streams.request(
            method,
            URL(self.access.server + target, encoded=True),
            data=body,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout),
            proxy=self.access.proxy,
            server_hostname=self.access.server_name,
            allow_redirects=False,
        ) as response:
            return Answer(response.status, await response.read(), response.headers.get("Retry-After", ""))

    def _bytes(self, token: str, content: str, accept: str) -> bytes:
        """The headers as they are sent."""
        assert self._pool is not None
        key = (token, content, accept)
        found = self._heads.get(key)
        if found is None:
            if len(self._heads) > 64:
                self._heads.clear()
            found = self._heads[key] = self._pool.head_of(self._head(token, content, accept))
        return found

    def _head(self, token: str, content: str, accept: str) -> dict[str, str]:
        key = (token, content, accept)
        found = self._headers.get(key)
        if found is None:
            found = {"User-Agent": self._agent, "Accept": accept, "Accept-Encoding": "identity"}
            if content:
                found["Content-Type"] = content
            if token:
                found["Authorization"] = f"Bearer {token}"
            if len(self._headers) > 64:
                self._headers.clear()
            self._headers[key] = found
        return found

    def _unreachable(self, what: str, error: Exception) -> Unavailable:
        if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
            self.access.reload_ca()
        said = str(error) or type(error).__name__
        return Unavailable(
            "api-unreachable", f"Cannot {what}: {said}", f"is the API server at {self.access.server} running?"
        )

    @asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], *, silence: float | None, accept: str = JSON, what: str = ""
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that goes on. After `silence` seconds without a byte the connection counts as dead."""
        if self._streams is None:
            raise LibreshError("client-closed", f"Cannot {what}: this client is not open")
        url = URL(self.access.server + path + encode_query(params), encoded=True)
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)
        what = what or f"GET {path}"
        renew = False
        while True:
            token = await self.access.credentials.token(renew=renew)
            try:
                async with self._streams.get(
                    url,
                    headers=self._head(token, "", accept),
                    timeout=limit,
                    proxy=self.access.proxy,
                    server_hostname=self.access.server_name,
                    allow_redirects=False,
                ) as response:
                    self.report("WATCH", str(response.status))
                    if response.status == 401 and not renew:
                        renew = True
                        continue
                    if response.status >= 400:
                        raise error_from(response.status, await response.read(), what)
                    self.reachable_at = time.monotonic()
                    yield response
                    return
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._unreachable(what, error) from error


def retry_after(value: str) -> float:
    """Seconds from a Retry-After header (only its number form is used by the API server)."""
    return min(float(value), LONGEST_PAUSE) if value.isdigit() else 1.0
