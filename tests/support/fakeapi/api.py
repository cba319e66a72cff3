"""The fake API server itself: its state, its doors for tests, and the way of a request through it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from . import applies, reads, writes
from .disturbances import Disturbances
from .errors import Refusal
from .faults import Broken
from .kinds import Kind
from .request import Answer, Request, Target
from .routes import NoSuchGroup, find_target, virtual
from .store import DECODE, ENCODE

Object = dict[str, Any]
WRITING = frozenset({"create", "update", "patch", "apply", "delete", "deletecollection"})
JSON = {"Content-Type": "application/json"}
NOTHING_HERE = Answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})


class FakeApi(Disturbances):
    """An API server in memory. Use `serve` (server.py) to reach it over HTTP, or `call` directly.

    Everything random comes from `seed`. `clock` gives the times the server writes.
    """

    # --- what a test asks and does, outside of the counted requests --------------------------------------------

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """One object, or None."""
        stored = self.table(self.kind(kind)).get(namespace, name)
        return stored.decode() if stored else None

    def objects(self, kind: str, namespace: str = "") -> list[Object]:
        """All objects of a kind, in order."""
        return [stored.decode() for stored in self.table(self.kind(kind)).select(namespace)]

    def create(self, obj: Object, manager: str = "test") -> Object:
        """Creates an object as a person would. A status in it is set too."""
        kind, namespace, name = self.place(obj)
        made = self.do("POST", kind, namespace, "", obj, manager)
        if obj.get("status") and kind.status:
            made["status"] = obj["status"]
            made = self.do("PUT", kind, namespace, name or made["metadata"]["name"], made, manager, "status")
        return made

    def apply(self, obj: Object, manager: str = "test", *, force: bool = False, subresource: str = "") -> Object:
        """Server-side apply as a person would."""
        kind, namespace, name = self.place(obj)
        more = {"force": "true"} if force else {}
        return self.do("PATCH", kind, namespace, name, obj, manager, subresource, "application/apply-patch+yaml", more)

    def edit(self, kind: str, name: str, namespace: str = "", *, manager: str = "test", **merge: Any) -> Object:
        """Merge-patches an object: `edit("Matrix", "m", "ns", spec={...})`; `status` goes through its own door."""
        found, result = self.kind(kind), {}
        status = merge.pop("status", None)
        content = "application/merge-patch+json"
        if merge:
            result = self.do("PATCH", found, namespace, name, merge, manager, "", content)
        if status is not None:
            door = "status" if found.status else ""
            result = self.do("PATCH", found, namespace, name, {"status": status}, manager, door, content)
        return result

    def delete(self, kind: str, name: str, namespace: str = "", propagation: str = "") -> None:
        """Deletes an object as a person would."""
        options = {"propagationPolicy": propagation} if propagation else {}
        self.do("DELETE", self.kind(kind), namespace, name, options, "test")

    def place(self, obj: Object) -> tuple[Kind, str, str]:
        kind = self.kinds.get((obj["apiVersion"], obj["kind"]))
        if kind is None:
            raise KeyError(f"the fake serves no {obj['apiVersion']} {obj['kind']}: install its CRD")
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default") if kind.namespaced else ""
        return kind, namespace, metadata.get("name", "")

    def do(
        self,
        method: str,
        kind: Kind,
        namespace: str,
        name: str,
        body: Object,
        manager: str,
        door: str = "",
        content: str = "application/json",
        more: Mapping[str, str] | None = None,
    ) -> Object:
        """A request that is neither counted, journalled nor hit by faults. Raises Refusal."""
        query = {"fieldManager": manager, **(more or {})}
        request = Request(method, "", query, {"Content-Type": content}, ENCODE(body))
        target = Target(kind, namespace if kind.namespaced else "", name, door)
        journal, self.journal = self.journal, []
        try:
            answer = self.perform(request, target, target.verb(request))
        finally:
            self.journal = journal
        return reads_decode(answer.body)

    async def settle(self) -> bool:
        """Lets garbage collection, namespace deletion and controllers run until nothing is left to do.

        Returns whether anything was. Nothing of it happens by itself, unless inside `live`.
        """
        await asyncio.sleep(0)
        first = self.rv
        while True:
            before = self.rv
            self.deletion.settle()
            for step in self.controllers:
                step()
            if self.rv == before:
                return self.rv != first

    @asynccontextmanager
    async def live(self, every: float = 0.01) -> AsyncIterator[None]:
        """Settles again and again in the background, as controllers in a cluster would."""

        async def run() -> None:
            while True:
                await self.settle()
                await asyncio.sleep(every)

        task = asyncio.create_task(run())
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])

    # --- requests ----------------------------------------------------------------------------------------------

    async def call(self, request: Request) -> Answer:
        """Answers anything but a watch. Raises Broken where the connection dies."""
        if self.faults.dead:
            raise Broken("the client has crashed")
        try:
            if found := virtual(self, request):
                return found
            target = find_target(self, request)
            verb = target.verb(request)
            self.requests[verb, target.kind.kind] += 1
            await self.suffer(request, target, verb)
            if verb not in WRITING:
                return self.perform(request, target, verb)
            self.faults.count_write("before")
            answer = self.perform(request, target, verb)
            self.faults.count_write("after")
            if self.faults.find(request, target, verb, "after"):
                raise Broken("reset after the write")
            return answer
        except NoSuchGroup:
            return NOTHING_HERE
        except Refusal as refusal:
            self.refused.append((request.method, request.path, refusal.code))
            return refuse(refusal)

    async def suffer(self, request: Request, target: Target, verb: str) -> None:
        """Whatever a test planned for this request."""
        if not self.faults.active:
            return
        if slow := self.faults.find(request, target, verb, "delay"):
            await asyncio.sleep(slow.delay)
        if fault := self.faults.find(request, target, verb, "before"):
            if fault.refusal is None:
                raise Broken("reset before the request")
            raise fault.refusal

    def perform(self, request: Request, target: Target, verb: str) -> Answer:
        """Answers a request that nothing stands in the way of."""
        if verb == "get":
            return reads.get(self, request, target)
        if verb == "list":
            return reads.list_objects(self, request, target)
        if verb in ("delete", "deletecollection"):
            return self.deletion.answer(request, target, verb)
        if verb == "create":
            status, stored = 201, writes.create_from_body(self, request, target)
        elif verb == "update":
            status, stored = writes.replace_from_body(self, request, target)
        elif verb == "apply":
            status, stored = applies.apply(self, request, target)
        else:
            status, stored = writes.patch(self, request, target)
        return Answer(status, stored.meta() if request.partial else stored.raw, JSON)


def reads_decode(body: bytes) -> Object:
    """An answer's body as JSON."""
    return DECODE(body)


def refuse(refusal: Refusal) -> Answer:
    """A refusal as an answer."""
    headers = dict(JSON)
    if seconds := (refusal.details or {}).get("retryAfterSeconds"):
        headers["Retry-After"] = str(seconds)
    return Answer(refusal.code, ENCODE(refusal.status), headers)


__all__ = ["FakeApi"]
