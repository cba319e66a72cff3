"""What exists besides what our caches hold: asked before something is made, so that nothing is ever taken over.

One object at a time is asked for by name. Where many are made at once, the names of all that is not ours in that
place are asked for once and hold for a moment; where there are too many of those, names are asked for one by one.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from libresh.kube.client import Client
from libresh.kube.objects import Entry, Shape
from libresh.plan import naming

MOMENT = 1.0
"""How long an answer holds, and within which time many questions are a burst."""
BURST = 4
MANY = 250
LONG = 300.0
"""How long we remember that a place holds too many objects to list them."""
NOT_OURS = f"{naming.MANAGED_LABEL}!={naming.MANAGED_BY}"


@dataclass(slots=True)
class Window:
    """The questions about one kind in one namespace within a moment."""

    until: float
    asked: int = 0
    names: set[str] | None = None
    crowded: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Strangers:
    """Finds objects that our caches do not hold."""

    def __init__(self, client: Client, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.client = client
        self.clock = clock
        self._windows: dict[tuple[str, str], Window] = {}

    async def find(self, kind: str, namespace: str, name: str) -> Entry | None:
        """The object of this name (its metadata), or None if there is none."""
        window = self._window(kind, namespace)
        window.asked += 1
        if window.asked > BURST and not window.crowded:
            async with window.lock:
                if window.names is None and not window.crowded:
                    await self._list(kind, namespace, window)
            if window.names is not None and name not in window.names:
                return None
        body = await self.client.read(kind, name, namespace, metadata=True)
        return None if body is None else Shape(self.client.kinds[kind], metadata=True).entry(body)

    def _window(self, kind: str, namespace: str) -> Window:
        now = self.clock()
        found = self._windows.get((kind, namespace))
        if found is None or found.until <= now:
            if len(self._windows) > MANY:
                self._windows = {key: each for key, each in self._windows.items() if each.until > now}
            found = self._windows[kind, namespace] = Window(now + MOMENT)
        return found

    async def _list(self, kind: str, namespace: str, window: Window) -> None:
        """Asks for all names, if they fit one page."""
        shape = Shape(self.client.kinds[kind], metadata=True)
        pages = self.client.pages(shape.info, namespace, labels=NOT_OURS, metadata=True, size=MANY)
        async for page, head in pages:
            if head.next:
                window.crowded = True
                window.until = self.clock() + LONG
            else:
                window.names = {entry.meta.name for entry in shape.entries(page)}
            break
        await pages.aclose()  # type: ignore[attr-defined]
