"""The Kubernetes REST dialect: one small client, with errors that mean something."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from libresh import __version__
from libresh.errors import LibreshError
from libresh.kube.auth import Access
from libresh.kube.errors import NotFound, Unavailable, error_from
from libresh.kube.kinds import KindInfo, Kinds
from libresh.plan.actions import Object
from libresh.plan.naming import FIELD_MANAGER

PAGE = 500
REQUEST_TIMEOUT = 30.0
LIST_TIMEOUT = 120.0
IN_FLIGHT = 32
PATIENCE = 5
"""How often a request that met 429 is sent again."""
LONGEST_PAUSE = 30.0
JSON = "application/json"
PARTIAL = "application/json;as={};g=meta.k8s.io;v=v1,application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"

ENCODER = msgspec.json.Encoder()
OBJECT = msgspec.json.Decoder(dict[str, Any])


class PageMeta(msgspec.Struct, gc=False, rename={"next": "continue", "resource_version": "resourceVersion"}):
    """Where a list goes on, and which moment it shows."""

    resource_version: str = ""
    next: str = ""


class PageHead(msgspec.Struct, gc=False):
    """A page without its items."""

    metadata: PageMeta = msgspec.field(default_factory=PageMeta)


class Items(msgspec.Struct, gc=False):
    """A page's items as JSON values."""

    items: list[Object] | None = None


PAGE_HEAD = msgspec.json.Decoder(PageHead)
ITEMS = msgspec.json.Decoder(Items)


def encode_query(params: Mapping[str, str] | None) -> str:
    """The query string, with what is empty left out."""
    if not params:
        return ""
    parts = [f"{key}={quote(value, safe='')}" for key, value in params.items() if value]
    return "?" + "&".join(parts) if parts else ""


def encode_labels(labels: Mapping[str, str]) -> str:
    """A label selector by equality."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def no_report(method: str, code: str) -> None:
    """The metrics hook where nobody counts."""


class Client:
    """Talks to one API server. Use it as `async with Client(access) as client`."""

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
        self._requests: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._headers: dict[tuple[str, str, str], dict[str, str]] = {}

    async def __aenter__(self) -> "Client":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Opens the connection pools: a limited one for requests, an unlimited one for watches and logs."""
        if self._requests is None:
            self._requests = self._session(limit=self._in_flight)
            self._streams = self._session(limit=0)

    def _session(self, limit: int) -> aiohttp.ClientSession:
        # A cluster is reached directly or by its kubeconfig's proxy-url; proxies of the environment are for the web.
        tls = self.access.ssl if self.access.ssl is not None else True
        connector = aiohttp.TCPConnector(limit=limit, ssl=tls, keepalive_timeout=60, enable_cleanup_closed=False)
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

    # --- sending ---------------------------------------------------------------------------------------------

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
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout)
        what = what or f"{method} {path}"
        renew = False
        for attempt in range(1, PATIENCE + 1):
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

    # --- reading ---------------------------------------------------------------------------------------------

    async def read(self, kind: str, name: str, namespace: str = "", *, metadata: bool = False) -> bytes | None:
        """One object as the API server sent it, or None."""
        info = self.kinds[kind]
        accept = PARTIAL.format("PartialObjectMetadata") if metadata else JSON
        try:
            return await self.send(
                "GET", info.path(namespace, name), accept=accept, what=f"read {place(kind, name, namespace)}"
            )
        except NotFound:
            return None

    async def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object as JSON, or None."""
        body = await self.read(kind, name, namespace)
        return None if body is None else OBJECT.decode(body)

    async def pages(
        self,
        info: KindInfo,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        metadata: bool = False,
        size: int = PAGE,
    ) -> AsyncIterator[tuple[bytes, PageMeta]]:
        """A list, page by page; all pages show the same moment."""
        accept = PARTIAL.format("PartialObjectMetadataList") if metadata else JSON
        params = {"limit": str(size), "labelSelector": labels, "fieldSelector": fields}
        while True:
            body = await self.send(
                "GET",
                info.path(namespace),
                params=params,
                accept=accept,
                timeout=LIST_TIMEOUT,
                what=f"list {info.plural}",
            )
            head = PAGE_HEAD.decode(body).metadata
            yield body, head
            if not head.next:
                return
            params["continue"] = head.next

    async def list(
        self, kind: str, namespace: str = "", *, labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> list[Object]:
        """All objects of a kind as JSON. `apiVersion` and `kind`, which lists leave out, are filled in."""
        info = self.kinds[kind]
        found: list[Object] = []
        async for body, _ in self.pages(info, namespace, labels=encode_labels(labels or {}), fields=fields):
            for item in ITEMS.decode(body).items or ():
                found.append({"apiVersion": info.api_version, "kind": info.kind, **item})
        return found

    async def logs(
        self,
        pod: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        tail: int | None = None,
        previous: bool = False,
    ) -> AsyncIterator[bytes]:
        """A container's log, line by line, without line ends."""
        params = {
            "container": container,
            "follow": "true" if follow else "",
            "tailLines": "" if tail is None else str(tail),
            "previous": "true" if previous else "",
        }
        path = self.kinds["Pod"].path(namespace, pod, "log")
        what = f"read the log of {place('Pod', pod, namespace)}"
        rest = b""
        async with self.stream(path, params, silence=None, accept="*/*", what=what) as response:
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line
        if rest:
            yield rest

    # --- writing ---------------------------------------------------------------------------------------------

    async def apply_raw(
        self, kind: str, name: str, namespace: str, body: bytes, *, subresource: str = "", force: bool = True
    ) -> bytes:
        """Server-side apply with our field manager. Returns the object as it now is."""
        return await self.send(
            "PATCH",
            self.kinds[kind].path(namespace, name, subresource),
            params={
                "fieldManager": FIELD_MANAGER,
                "force": "true" if force else "",
                "fieldValidation": "Strict",
            },
            body=body,
            content=APPLY,
            what=f"apply {place(kind, name, namespace)}",
            secret=kind == "Secret",
        )

    async def apply(self, obj: Object, *, force: bool = True, subresource: str = "") -> Object:
        """Server-side apply of an object given as JSON."""
        kind = self.kinds.name_of(obj["apiVersion"], obj["kind"])
        meta = obj["metadata"]
        namespace = meta.get("namespace", "")
        body = await self.apply_raw(
            kind, meta["name"], namespace, ENCODER.encode(obj), subresource=subresource, force=force
        )
        return OBJECT.decode(body)

    async def create(self, obj: Object) -> Object:
        """Creates an object; AlreadyExists if there is one of that name."""
        kind = self.kinds.name_of(obj["apiVersion"], obj["kind"])
        meta = obj["metadata"]
        namespace = meta.get("namespace", "")
        body = await self.send(
            "POST",
            self.kinds[kind].path(namespace),
            params={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
            body=ENCODER.encode(obj),
            content=JSON,
            what=f"create {place(kind, meta.get('name') or meta.get('generateName', ''), namespace)}",
            secret=kind == "Secret",
        )
        return OBJECT.decode(body)

    async def replace(self, obj: Object, *, subresource: str = "") -> Object:
        """Replaces an object; Conflict if its resourceVersion is no longer the current one."""
        kind = self.kinds.name_of(obj["apiVersion"], obj["kind"])
        meta = obj["metadata"]
        namespace = meta.get("namespace", "")
        body = await self.send(
            "PUT",
            self.kinds[kind].path(namespace, meta["name"], subresource),
            params={"fieldManager": FIELD_MANAGER},
            body=ENCODER.encode(obj),
            content=JSON,
            what=f"replace {place(kind, meta['name'], namespace)}",
            secret=kind == "Secret",
        )
        return OBJECT.decode(body)

    async def patch_raw(
        self, kind: str, name: str, namespace: str, patch: Any, *, content: str = MERGE, subresource: str = ""
    ) -> bytes:
        """A merge or JSON patch. Returns the object as it now is."""
        return await self.send(
            "PATCH",
            self.kinds[kind].path(namespace, name, subresource),
            params={"fieldManager": FIELD_MANAGER},
            body=ENCODER.encode(patch),
            content=content,
            what=f"patch {place(kind, name, namespace)}",
            secret=kind == "Secret",
        )

    async def patch(
        self, kind: str, name: str, namespace: str, patch: Any, *, content: str = MERGE, subresource: str = ""
    ) -> Object:
        """As `patch_raw`, as JSON."""
        return OBJECT.decode(
            await self.patch_raw(kind, name, namespace, patch, content=content, subresource=subresource)
        )

    async def delete(
        self,
        kind: str,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "Background",
        grace: int | None = None,
    ) -> bytes | None:
        """Deletes one object: None if there was none. With `uid` only that very object (else Conflict)."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        wanted = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {key: value for key, value in wanted.items() if value}:
            options["preconditions"] = preconditions
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            return await self.send(
                "DELETE",
                self.kinds[kind].path(namespace, name),
                body=ENCODER.encode(options),
                content=JSON,
                what=f"delete {place(kind, name, namespace)}",
            )
        except NotFound:
            return None

    async def version(self) -> Object:
        """The API server's version."""
        return OBJECT.decode(await self.send("GET", "/version", what="ask the API server for its version"))

    async def discover(self, api_version: str, kind: str) -> str:
        """Makes a kind known that is not in the table, by asking the API server. Returns its name in the table."""
        root = ("/apis/" if "/" in api_version else "/api/") + api_version
        found = OBJECT.decode(await self.send("GET", root, what=f"discover {api_version}"))
        for item in found.get("resources") or ():
            if item["kind"] == kind and "/" not in item["name"]:
                return self.kinds.add(KindInfo(kind, api_version, item["name"], bool(item["namespaced"])))
        raise NotFound("kind-unknown", f"The API server serves no {kind} in {api_version}", "is its CRD installed?")


def place(kind: str, name: str, namespace: str) -> str:
    """How an object is named in messages."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def retry_after(value: str) -> float:
    """Seconds from a Retry-After header (only its number form is used by the API server)."""
    return min(float(value), LONGEST_PAUSE) if value.isdigit() else 1.0
