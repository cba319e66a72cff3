"""What a person sees of a run of steps: a live table on a terminal, plain lines elsewhere.

Every step has an expected time: what it took when it was last done in earnest, else what it took us.
"""

import contextlib
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import click

from libresh.local.progress import Progress, format_seconds
from libresh.local.state import write_json

TICK = 0.25
HEARTBEAT = 60.0
"""How often plain output says that something still goes on."""
EARNEST = 2.0
"""A step that took less found its work done already: that is not how long it takes."""
PARTIAL = 0.3
"""Nor is this part of what it took before: most was there."""
WAITING, RUNNING, DONE, FAILED = "  ", "… ", "ok", "!!"
COLOURS = {WAITING: "bright_black", RUNNING: "yellow", DONE: "green", FAILED: "red"}


@dataclass
class Row:
    """One step as it stands."""

    title: str
    expected: float
    mark: str = WAITING
    began: float = 0.0
    took: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    said: str = ""
    announced: bool = False

    @property
    def detail(self) -> str:
        """What it is at just now."""
        return " · ".join(self.parts) or self.said


class Board:
    """All steps of a run. Threads report to it; one thread draws."""

    def __init__(
        self, titles: Mapping[str, str], timings: "Timings", *, output: TextIO | None = None, live: bool | None = None
    ) -> None:
        self.output = output or sys.stderr
        self.live = self.output.isatty() if live is None else live
        self.timings = timings
        self.rows = {name: Row(title, timings.expected(name)) for name, title in titles.items()}
        self.lock = threading.RLock()
        self.began = time.monotonic()
        self.drawn = 0
        self._ended = threading.Event()
        self._drawer: threading.Thread | None = None

    # --- a run -----------------------------------------------------------------------------------------------

    def __enter__(self) -> "Board":
        self._drawer = threading.Thread(target=self._draw_on, name="board", daemon=True)
        self._drawer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        assert self._drawer is not None
        self._drawer.join()
        with self.lock:
            self._redraw()

    @contextlib.contextmanager
    def shown(self, name: str) -> Iterator["Show"]:
        """A step from its beginning to its end."""
        row = self.rows[name]
        with self.lock:
            row.mark, row.began = RUNNING, time.monotonic()
        mark = FAILED
        try:
            yield Show(self, row)
            mark = DONE
        finally:
            with self.lock:
                row.mark, row.took = mark, time.monotonic() - row.began
                row.parts.clear()
                self._line(f"{mark} {row.title} ({format_seconds(row.took)})")
            if mark == DONE:
                self.timings.record(name, row.took)

    def tell_failure(self, running: Sequence[str]) -> None:
        """A step failed while others are at work."""
        if running:
            with self.lock:
                self._line(f"   one step failed; waiting for {', '.join(running)} (what they make is kept)")

    def say(self, row: Row, text: str) -> None:
        """A line about what a step does."""
        with self.lock:
            row.said = text
            self._announce(row)
            self._line(f"   {row.title}: {text}")

    # --- drawing ---------------------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        """A plain line; on a terminal the table says it."""
        if not self.live:
            self.output.write(f"{text}\n")
            self.output.flush()

    def _announce(self, row: Row) -> None:
        """Say once that a step goes on. One that is over at once needs no announcement."""
        if not row.announced:
            row.announced = True
            about = f" (about {format_seconds(row.expected)})" if row.expected >= EARNEST else ""
            self._line(f"{RUNNING} {row.title}{about}")

    def _draw_on(self) -> None:
        beat = time.monotonic()
        while not self._ended.wait(TICK):
            with self.lock:
                now = time.monotonic()
                running = [row for row in self.rows.values() if row.mark == RUNNING]
                if self.live:
                    self._redraw()
                for row in running:
                    if now - row.began > EARNEST:
                        self._announce(row)
                if now - beat > HEARTBEAT:
                    beat = now
                    for row in running:
                        self._line(f"   still: {render(row, now)}")

    def _redraw(self) -> None:
        if not self.live:
            return
        now = time.monotonic()
        width = shutil.get_terminal_size().columns - 1
        total = f"   {format_seconds(now - self.began)} so far"
        if left := remaining(list(self.rows.values()), now):
            total += f", about {format_seconds(left)} to go"
        lines = [*(draw(row, now) for row in self.rows.values()), click.style(total, fg="bright_black")]
        up = f"\x1b[{self.drawn}F" if self.drawn else ""
        self.output.write(up + "".join(f"\x1b[2K{clip(line, width)}\n" for line in lines))
        self.output.flush()
        self.drawn = len(lines)


class Show(Progress):
    """What one step shows of itself: also the progress that the local cluster and the image builder ask for."""

    def __init__(self, board: Board, row: Row) -> None:
        super().__init__(board.output, live=False)
        self.board = board
        self.row = row

    @contextlib.contextmanager
    def step(self, title: str, expected: float = 0) -> Iterator[None]:
        """A part of the step."""
        with self.board.lock:
            self.row.parts[title] = time.monotonic()
        if expected >= EARNEST:
            self.board.say(self.row, f"{title} (about {format_seconds(expected)})")
        try:
            yield
        finally:
            with self.board.lock:
                self.row.parts.pop(title, None)

    def say(self, text: str) -> None:
        """What is being done now."""
        if text != self.row.said:
            self.board.say(self.row, text)


def draw(row: Row, now: float) -> str:
    """A row of the live table."""
    return f"{click.style(row.mark, fg=COLOURS[row.mark])} {render(row, now)}"


def render(row: Row, now: float) -> str:
    """A step, how long it takes, and what it is at."""
    if row.mark == WAITING:
        time_said = f"about {format_seconds(row.expected)}" if row.expected >= EARNEST else ""
    elif row.mark == RUNNING:
        of = f" of about {format_seconds(row.expected)}" if row.expected >= EARNEST else ""
        time_said = f"{format_seconds(now - row.began)}{of}"
    else:
        time_said = format_seconds(row.took)
    detail = row.detail if row.mark == RUNNING else ""
    return f"{row.title:<34} {time_said:<30} {detail}".rstrip()


def remaining(rows: Sequence[Row], now: float) -> float:
    """Roughly what is left: the longest that runs, and what waits after it."""
    running = [max(row.expected - (now - row.began), 0) for row in rows if row.mark == RUNNING]
    waiting = sum(row.expected for row in rows if row.mark == WAITING)
    return max(running, default=0) + waiting


def clip(line: str, width: int) -> str:
    """A line no wider than the terminal: a wrapped one would break the table."""
    if len(click.unstyle(line)) <= width:
        return line
    return click.unstyle(line)[: max(width - 1, 0)] + "…"


class Timings:
    """How long steps take, remembered from run to run."""

    def __init__(self, path: Path, usual: Mapping[str, float]) -> None:
        self.path = path
        self.usual = usual
        self.lock = threading.Lock()
        try:
            kept = json.loads(path.read_text())
            self.seen = {str(name): float(seconds) for name, seconds in kept.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            # Only a comfort: without it the usual times are shown.
            self.seen = {}

    def expected(self, name: str) -> float:
        return self.seen.get(name, self.usual.get(name, 0.0))

    def record(self, name: str, seconds: float) -> None:
        """Remember a step that was done in earnest."""
        if seconds < max(EARNEST, PARTIAL * self.expected(name)):
            return
        with self.lock:
            self.seen[name] = round(seconds, 1)
            with contextlib.suppress(OSError):
                write_json(self.path, self.seen, mode=0o644)
