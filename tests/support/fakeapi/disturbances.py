"""What a test does to time and to watches: forget history, delay, drop and repeat events, show stale lists."""

from . import reads
from .kinds import Kind
from .storage import Storage
from .store import Event


class Disturbances(Storage):
    """Everything is honest until asked for."""

    def compact(self) -> None:
        """Forgets history: watches and continue tokens from before now are too old."""
        self.snapshots.kept.clear()
        for table in self.tables.values():
            table.forget(self.rv)

    def bookmark(self) -> None:
        """Makes every watch that allows bookmarks send one."""
        for watch in self.watches:
            watch.asked = True
            watch.table.wake()

    def break_watches(self, kind: str = "", how: str = "reset") -> None:
        """Ends open watches: `reset` (connection lost), `end` (in order) or `expire` (410)."""
        for watch in list(self.watches):
            if kind in ("", watch.table.kind.kind):
                watch.ended = how
                watch.table.wake()

    def hold(self, kind: str) -> None:
        """Events of a kind are late from now on, until `release`."""
        self.held[self.kind(kind).resource] = self.rv

    def release(self, kind: str) -> None:
        """Delivers what `hold` kept back."""
        found = self.kind(kind)
        self.held.pop(found.resource, None)
        self.table(found).wake()

    def freeze_lists(self, kind: str) -> None:
        """LISTs of a kind show this moment (stale) until `thaw_lists`."""
        found = self.kind(kind)
        self.frozen[found.resource] = reads.Snapshot(self.rv, list(self.table(found).select("")))

    def thaw_lists(self) -> None:
        """LISTs are current again."""
        self.frozen.clear()

    def drop_events(self, kind: str, count: int = 1) -> None:
        """The next events of a kind never reach any watch."""
        self.lies.append((kind, count, 0))

    def repeat_events(self, kind: str, count: int = 1) -> None:
        """The next events of a kind reach every watch twice."""
        self.lies.append((kind, count, 2))

    def copies(self, kind: Kind, event: Event) -> int:
        """How often a watch tells an event."""
        return self.told.get((kind.kind, event.rv), 1) if self.told else 1

    def horizon(self, kind: Kind) -> int:
        """How far a watch of this kind may say it has seen."""
        return self.held.get(kind.resource, self.rv)
