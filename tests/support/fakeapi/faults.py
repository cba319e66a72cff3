"""Faults on demand: refusals, broken connections, crashes after a write, and watches that lie."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import Refusal, conflict, expired, internal, too_many
from .request import Request, Target


class Broken(Exception):
    """The connection dies without an answer."""


@dataclass(eq=False, slots=True)
class Fault:
    """What happens to matching requests, `times` times (-1: always).

    Empty fields match everything. `when` is "before" (nothing is applied) or "after" (it is, but the answer is lost).
    """

    refusal: Refusal | None = None
    verb: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    subresource: str | None = None
    when: str = "before"
    delay: float = 0.0
    times: int = 1
    matches: Callable[[Request, Target], bool] | None = None
    hits: int = 0

    def fits(self, request: Request, target: Target, verb: str) -> bool:
        """Whether this fault is for this request."""
        if self.times >= 0 and self.hits >= self.times:
            return False
        pairs = (
            (self.verb, verb),
            (self.kind, target.kind.kind),
            (self.name, target.name),
            (self.namespace, target.namespace),
        )
        if any(wanted and wanted != found for wanted, found in pairs):
            return False
        if self.subresource is not None and self.subresource != target.subresource:
            return False
        return self.matches is None or self.matches(request, target)


@dataclass(eq=False)
class Faults:
    """The faults of one fake. Everything is off until asked for."""

    active: list[Fault] = field(default_factory=list)
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a planned crash happened. Until `heal` every request then meets a dead connection."""
    dead: bool = False
    crash_at: int = 0
    crash_when: str = "after"
    writes: int = 0

    def add(self, fault: Fault) -> Fault:
        """Adds any fault."""
        self.active.append(fault)
        return fault

    def refuse(self, code: int, verb: str = "", kind: str = "", name: str = "", times: int = 1) -> Fault:
        """Answers matching requests with 429, 500, 409, 410, or another code."""
        made = {429: too_many, 500: internal, 410: lambda: expired("injected by a test")}.get(code)
        if made is not None:
            refusal = made()
        elif code == 409:
            refusal = conflict(kind.lower() or "objects", "", name or "injected")
        else:
            refusal = Refusal(code, "Injected", f"injected by a test: {code}")
        return self.add(Fault(refusal, verb, kind, name, times=times))

    def reset(self, verb: str = "", kind: str = "", name: str = "", when: str = "before", times: int = 1) -> Fault:
        """Breaks the connection of matching requests, before or after they are applied."""
        return self.add(Fault(None, verb, kind, name, when=when, times=times))

    def slow(self, seconds: float, verb: str = "", kind: str = "", times: int = -1) -> Fault:
        """Delays matching requests."""
        return self.add(Fault(None, verb, kind, when="delay", delay=seconds, times=times))

    def crash_after(self, writes: int) -> None:
        """The client dies right after its Nth write from now was applied: the answer is lost, nothing more gets in."""
        self.crash_at, self.crash_when, self.writes, self.dead = writes, "after", 0, False
        self.crashed = asyncio.Event()

    def crash_before(self, writes: int) -> None:
        """The client dies right before its Nth write from now is applied."""
        self.crash_after(writes)
        self.crash_when = "before"

    def heal(self) -> None:
        """Ends all faults."""
        self.active.clear()
        self.crash_at, self.dead = 0, False

    def find(self, request: Request, target: Target, verb: str, when: str) -> Fault | None:
        """The first fault for this request, counted as used."""
        for fault in self.active:
            if (fault.when == when) and fault.fits(request, target, verb):
                fault.hits += 1
                return fault
        return None

    def count_write(self, when: str) -> None:
        """Dies if this is the write to die at."""
        if not self.crash_at:
            return
        if when == "before":
            self.writes += 1
        if self.writes == self.crash_at and when == self.crash_when:
            self.dead = True
            self.crashed.set()
            raise Broken(f"crashed {when} write {self.writes}")


__all__ = ["Broken", "Fault", "Faults"]
