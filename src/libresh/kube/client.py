"""The Kubernetes REST dialect: what can be asked of an API server, with errors that mean something."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from libresh.kube.errors import NotFound
from libresh.kube.kinds import KindInfo
from libresh.kube.transport import JSON, Transport, encode_query
from libresh.plan.actions import Object
from libresh.plan.naming import FIELD_MANAGER

PAGE = 500
LIST_TIMEOUT = 120.0
PARTIAL = "application/json;as={};g=meta.k8s.io;v=v1,application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
UNFORCED, FORCED = encode_query(STRICT), encode_query({**STRICT, "force": "true"})

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


def encode_labels(labels: Mapping[str, str]) -> str:
    """A label selector by equality."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def place(kind: str, name: str, namespace: str) -> str:
    """How an object is named in messages."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


class Client(Transport):
    """Talks to one API server. Use it as `async with Client(access) as client`."""

    async def __aenter__(self) -> "Client":
        await self.start()
        return self

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
            self.kinds[kind].path(namespace, name, subresource) + (FORCED if force else UNFORCED),
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
            params=STRICT,
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
        info = await self.find_kind(api_version, kind)
        if info is None:
            raise NotFound("kind-unknown", f"The API server serves no {kind} in {api_version}", "is its CRD installed?")
        return self.kinds.add(info)

    async def find_kind(self, api_version: str, kind: str) -> KindInfo | None:
        """Where the API server serves a kind, or None if it does not."""
        root = ("/apis/" if "/" in api_version else "/api/") + api_version
        try:
            found = OBJECT.decode(await self.send("GET", root, what=f"discover {api_version}"))
        except NotFound:
            return None
        for item in found.get("resources") or ():
            if item["kind"] == kind and "/" not in item["name"]:
                return KindInfo(kind, api_version, item["name"], bool(item["namespaced"]))
        return None
