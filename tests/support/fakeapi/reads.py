"""Get, list in pages of one moment, and watch."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import Refusal, bad_request, expired, not_acceptable, not_found
from .kinds import Kind
from .request import Answer, Request, Target
from .selectors import parse_fields, parse_labels
from .store import ENCODE, META_HEAD, Event, Stored, Table

if TYPE_CHECKING:
    from .api import FakeApi

JSON = {"Content-Type": "application/json"}
Filter = Callable[[Stored], bool]


def get(api: "FakeApi", request: Request, target: Target) -> Answer:
    """GET of one object, through any door that shows the whole object."""
    stored = api.table(target.kind).get(target.namespace, target.name)
    if stored is None:
        raise not_found(target.kind.plural, target.kind.group, target.name)
    if request.partial and request.lists:
        raise not_acceptable(
            f"you requested PartialObjectMetadataList, but the requested object is not a list ({go_name(target.kind)})"
        )
    return Answer(200, stored.meta() if request.partial else stored.raw, JSON)


def go_name(kind: Kind) -> str:
    """How the server's own words name a kind's type."""
    return "*unstructured.Unstructured" if kind.custom else f"*{kind.group.partition('.')[0] or 'core'}.{kind.kind}"


def filter_for(request: Request, target: Target) -> Filter | None:
    """The selectors of a request, or None for everything."""
    labels, fields = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
    tests: list[Filter] = []
    if labels:
        fit = parse_labels(labels)
        tests.append(lambda stored: fit(stored.labels))
    if fields:
        tests.append(parse_fields(fields, target.kind))
    if target.name:
        tests.append(lambda stored: stored.name == target.name)
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else lambda stored: all(test(stored) for test in tests)


@dataclass(eq=False)
class Snapshot:
    """What a list showed at one moment, for its further pages."""

    rv: int
    items: list[Stored]


@dataclass(eq=False)
class Snapshots:
    """The snapshots that continue tokens refer to."""

    kept: dict[str, Snapshot] = field(default_factory=dict)
    made: int = 0

    def keep(self, snapshot: Snapshot) -> str:
        self.made += 1
        name = f"{snapshot.rv}-{self.made}"
        self.kept[name] = snapshot
        if len(self.kept) > 64:
            del self.kept[next(iter(self.kept))]
        return name


def token(name: str, rv: int, position: int) -> str:
    """A continue token. Clients must not look inside."""
    text = json.dumps({"v": "fake/v1", "rv": rv, "snapshot": name, "start": position})
    return base64.urlsafe_b64encode(text.encode()).decode()


TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


def take_up(api: "FakeApi", text: str) -> tuple[Snapshot, str, int]:
    """The snapshot, its name and the position a continue token stands for."""
    try:
        held = json.loads(base64.urlsafe_b64decode(text))
        name, position = held["snapshot"], held["start"]
    except (ValueError, KeyError, TypeError) as error:
        raise bad_request("continue key is not valid: illegal base64 data") from error
    snapshot = api.snapshots.kept.get(name)
    if snapshot is None:
        raise expired(TOO_OLD)
    return snapshot, name, position


def list_objects(api: "FakeApi", request: Request, target: Target) -> Answer:
    """LIST. All pages of one list show one moment."""
    if request.partial and not request.lists:
        raise not_acceptable(
            f"you requested PartialObjectMetadata, but the requested object is a list ({go_name(target.kind)}List)"
        )
    limit = int(request.query.get("limit") or 0)
    if going_on := request.query.get("continue"):
        if request.query.get("resourceVersion") not in (None, "", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        snapshot, name, start = take_up(api, going_on)
    else:
        snapshot, name, start = take_snapshot(api, request, target), "", 0
    end = min(start + limit, len(snapshot.items)) if limit else len(snapshot.items)
    more, left = "", len(snapshot.items) - end
    if left:
        name = name or api.snapshots.keep(snapshot)
        more = token(name, snapshot.rv, end)
    plain = not request.query.get("labelSelector") and not request.query.get("fieldSelector")
    return page(api, request, target.kind, snapshot, (start, end), more, left if plain else 0)


def take_snapshot(api: "FakeApi", request: Request, target: Target) -> Snapshot:
    """The objects a list shows, as of now (or as of the moment `stale_lists` froze)."""
    table = api.table(target.kind)
    wanted = request.query.get("resourceVersion", "")
    if version_of(wanted) > api.rv:
        raise too_large(int(wanted), api.rv)
    frozen = api.frozen.get(target.kind.resource)
    fits = filter_for(request, target)
    found = frozen.items if frozen else list(table.select(target.namespace))
    if frozen and target.namespace:
        found = [stored for stored in found if stored.namespace == target.namespace]
    items = found if fits is None else [stored for stored in found if fits(stored)]
    return Snapshot(frozen.rv if frozen else api.rv, items)


def version_of(text: str) -> int:
    """A resourceVersion as a number."""
    if text and not text.isdigit():
        raise bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{text}": strconv.ParseUint: '
            f'parsing "{text}": invalid syntax'
        )
    return int(text or 0)


def too_large(wanted: int, current: int) -> Refusal:
    """The client has seen a later moment than this server."""
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return Refusal(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})


def page(
    api: "FakeApi", request: Request, kind: Kind, snapshot: Snapshot, part: tuple[int, int], more: str, left: int
) -> Answer:
    """One page, put together from encoded objects."""
    metadata: dict[str, object] = {"resourceVersion": str(snapshot.rv)}
    if kind.custom and not request.partial:
        metadata["continue"] = ""
    if more:
        metadata["continue"] = more
        if left:
            metadata["remainingItemCount"] = left
    items = snapshot.items[part[0] : part[1]]
    if request.partial:
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        parts = [stored.meta() for stored in items]
    else:
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata}
        cut = api.table(kind).head
        parts = [stored.item(cut) for stored in items]
    return Answer(200, ENCODE(head)[:-1] + b',"items":[' + b",".join(parts) + b"]}", JSON)


# --- watch -----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Watch:
    """One watch: where it stands, what it may see, and what is done to it."""

    api: "FakeApi"
    table: Table
    namespace: str
    fits: Filter | None
    partial: bool
    bookmarks: bool
    position: int
    seen: int
    ended: str = ""
    """`end`: the stream ends well; `reset`: the connection breaks; `expire`: it ends with 410."""
    asked: bool = False

    def frame(self, type: str, stored: Stored) -> bytes:
        shown = stored.meta() if self.partial else stored.raw
        return b'{"type":"' + type.encode() + b'","object":' + shown + b"}\n"

    def show(self, event: Event) -> bytes:
        """The line for an event, or nothing where this watch does not see it."""
        if self.namespace and event.stored.namespace != self.namespace:
            return b""
        if self.fits is None:
            return self.frame(event.type, event.stored)
        now = event.type != "DELETED" and self.fits(event.stored)
        before = event.before is not None and self.fits(event.before)
        if now:
            return self.frame("MODIFIED" if before else "ADDED", event.stored)
        return self.frame("DELETED", event.stored) if before else b""

    def pull(self) -> bytes:
        """The lines that came since."""
        table, lines = self.table, []
        if self.position < table.base:
            self.ended = "expire"
            return b""
        limit = self.api.held.get(table.kind.resource)
        for event in table.history[self.position - table.base :]:
            if limit is not None and event.rv > limit:
                break
            self.position += 1
            self.seen = event.rv
            lines += [self.show(event)] * self.api.copies(table.kind, event)
        return b"".join(lines)

    def bookmark(self, initial: bool = False) -> bytes:
        """A line that only tells how far the stream is."""
        kind = self.table.kind
        metadata: dict[str, object] = {"resourceVersion": str(self.seen)}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        if self.partial:
            shown = META_HEAD + ENCODE(metadata) + b"}"
        else:
            shown = ENCODE({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata})
        return b'{"type":"BOOKMARK","object":' + shown + b"}\n"

    def too_old(self, asked: int) -> bytes:
        """The line that ends a watch from too long ago."""
        refusal = expired(f"too old resource version: {asked} ({self.table.oldest})")
        return b'{"type":"ERROR","object":' + ENCODE(refusal.status) + b"}\n"


def open_watch(api: "FakeApi", request: Request, target: Target) -> tuple[Watch, bytes]:
    """A watch and what it says first."""
    table = api.table(target.kind)
    query = request.query
    asked = query.get("resourceVersion", "")
    version_of(asked)
    initial = query.get("sendInitialEvents") == "true"
    bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
    watch = Watch(
        api,
        table,
        target.namespace,
        filter_for(request, target),
        request.partial,
        bookmarks,
        table.base + len(table.history),
        api.rv,
    )
    if asked in ("", "0") or initial:
        if initial and (query.get("resourceVersionMatch") != "NotOlderThan"):
            raise bad_watch()
        fits = watch.fits or (lambda stored: True)
        found = b"".join(watch.frame("ADDED", stored) for stored in table.select(target.namespace) if fits(stored))
        return watch, found + (watch.bookmark(initial=True) if initial and bookmarks else b"")
    version = version_of(asked)
    if version < table.oldest:
        watch.ended = "told"
        return watch, watch.too_old(version)
    watch.position, watch.seen = table.since(version), version
    return watch, b""


def bad_watch() -> Refusal:
    """A WatchList request must say how old its answer may be."""
    text = (
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires '
        "setting resourceVersionMatch to NotOlderThan"
    )
    return Refusal(422, "Invalid", text, {"group": "meta.k8s.io", "kind": "ListOptions"})


async def stream(api: "FakeApi", watch: Watch, first: bytes, seconds: float) -> AsyncIterator[bytes]:
    """The lines of a watch until its time is over or something ends it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    next_mark = loop.time() + api.bookmark_every
    api.watches.add(watch)
    try:
        if first:
            yield first
        while not watch.ended:
            if lines := watch.pull():
                yield lines
                continue
            now = loop.time()
            if watch.bookmarks and (watch.asked or now >= next_mark):
                watch.asked, next_mark = False, now + api.bookmark_every
                watch.seen = api.horizon(watch.table.kind)
                yield watch.bookmark()
            if now >= deadline:
                break
            until = min(deadline, next_mark) if watch.bookmarks else deadline
            await pause(watch.table, max(0.0, until - now))
        if watch.ended == "expire":
            yield watch.too_old(watch.seen)
    finally:
        api.watches.discard(watch)


async def pause(table: Table, seconds: float) -> None:
    """Waits for news, at most so long."""
    try:
        async with asyncio.timeout(seconds):
            await table.changed()
    except TimeoutError:
        return


__all__ = ["Snapshot", "Snapshots", "Watch", "get", "list_objects", "open_watch", "stream"]
