"""Requests and streams to one API server: connections, credentials, patience, errors."""

import asyncio
import asyncio.sslproto
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from functools import lru_cache
from urllib.parse import quote

import aiohttp
from yarl import URL

from libresh import __version__
from libresh.errors import LibreshError
from libresh.kube.auth import Access
from libresh.kube.errors import Unavailable, error_from
from libresh.kube.kinds import Kinds

REQUEST_TIMEOUT = 30.0
IN_FLIGHT = 32
PATIENCE = 5
"""How often a request that met 429 is sent again."""
LONGEST_PAUSE = 30.0
JSON = "application/json"

# asyncio keeps this much for each TLS connection, and reads into a fresh piece of that size. Its 256 KiB, times sixty
# connections, were a third of the operator's memory; a TLS record has 16 KiB.
asyncio.sslproto.SSLProtocol.max_size = 64 * 1024


def encode_query(params: Mapping[str, str] | None) -> str:
    """The query string, with what is empty left out."""
    if not params:
        return ""
    parts = [f"{key}={quote(value, safe='')}" for key, value in params.items() if value]
    return "?" + "&".join(parts) if parts else ""


@lru_cache(maxsize=16)
def timeout_of(seconds: float) -> aiohttp.ClientTimeout:
    """The limit of a whole request."""
    return aiohttp.ClientTimeout(total=seconds)


LEASES = "/apis/coordination.k8s.io/"


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
        self._line = asyncio.Semaphore(in_flight)
        """Requests stand in line, first come, first served; how long one may take counts from when it is sent."""
        self._timeout = timeout
        self._agent = f"{agent}/{__version__}"
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._headers: dict[tuple[str, str, str], dict[str, str]] = {}

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Opens the connection pools: one for requests, one for watches and logs."""
        if self._requests is None:
            self._requests = self._session()
            self._streams = self._session()

    def _session(self) -> aiohttp.ClientSession:
        # A cluster is reached directly or by its kubeconfig's proxy-url; proxies of the environment are for the web.
        tls = self.access.ssl if self.access.ssl is not None else True
        connector = aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=60, enable_cleanup_closed=False)
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=2**18,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Content-Type"),
        )

    async def close(self) -> None:
        """Closes all connections."""
        for session in (self._requests, self._streams):
            if session is not None:
                await session.close()
        self._requests = self._streams = None

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
        url = URL(self.access.server + path + encode_query(params), encoded=True)
        limit = timeout_of(timeout or self._timeout)
        what = what or f"{method} {path}"
        renew = False
        for attempt in range(1, PATIENCE + 1):
            # Who holds the lease says so past the line: it must not be lost to the very work it stands for.
            async with nullcontext() if path.startswith(LEASES) else self._line:
                code, answer, pause = await self._once(method, url, body, content, accept, limit, what, renew)
            if code < 400:
                return answer
            if code == 401 and not renew:
                renew = True
            elif code == 429 and attempt < PATIENCE:
                await asyncio.sleep(pause + random.uniform(0, 0.1 + pause / 4))
            else:
                raise error_from(code, answer, what, secret=secret)
        raise error_from(code, answer, what, secret=secret)

    async def _once(
        self,
        method: str,
        url: URL,
        body: bytes | None,
        content: str,
        accept: str,
        limit: aiohttp.ClientTimeout,
        what: str,
        renew: bool,
    ) -> tuple[int, bytes, float]:
        """Sends once. Returns the code, the answer, and how long a 429 asks us to wait."""
        if self._requests is None:
            raise LibreshError("client-closed", f"Cannot {what}: this client is not open", "use `async with Client(…)`")
        token = await self.access.credentials.token(renew=renew)
        try:
            async with self._requests.request(
                method,
                url,
                data=body,
                headers=self._head(token, content, accept),
                timeout=limit,
                proxy=self.access.proxy,
                server_hostname=self.access.server_name,
                allow_redirects=False,
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.report(method, "error")
            raise self._unreachable(what, error) from error
        self.reachable_at = time.monotonic()
        self.report(method, str(response.status))
        pause = 1.0
        if response.status == 429:
            pause = retry_after(response.headers.get("Retry-After", ""))
        return response.status, answer, pause

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
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
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
