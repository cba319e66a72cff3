"""What a person sees while something long goes on: steps, the time they take, and the time they should.

On a terminal the running step's line counts; elsewhere each step is two plain lines. Steps may run side by side.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

TICK = 0.5


class Progress:
    """Shows steps. Thread-safe; one line per step remains."""

    def __init__(self, output: TextIO | None = None, *, live: bool | None = None) -> None:
        self.output = output or sys.stderr
        self.live = self.output.isatty() if live is None else live
        self.lock = threading.Lock()
        self.running: dict[str, tuple[float, float]] = {}
        self.ticker: threading.Thread | None = None

    @contextlib.contextmanager
    def step(self, title: str, expected: float = 0) -> Iterator[None]:
        """A step that should take `expected` seconds; 0 if nobody knows."""
        began = time.monotonic()
        with self.lock:
            self.running[title] = (began, expected)
            if self.live:
                self._start_ticker()
            elif expected >= 2:
                self._write(f"  …  {title} (about {format_seconds(expected)})")
        done = False
        try:
            yield
            done = True
        finally:
            with self.lock:
                self.running.pop(title, None)
                self._write(f"  {'ok' if done else '!!'} {title} ({format_seconds(time.monotonic() - began)})")

    def say(self, text: str) -> None:
        with self.lock:
            self._write(f"     {text}")

    def _write(self, line: str) -> None:
        clear = "\r\x1b[K" if self.live else ""
        self.output.write(f"{clear}{line}\n")
        self.output.flush()

    def _start_ticker(self) -> None:
        if self.ticker is None or not self.ticker.is_alive():
            self.ticker = threading.Thread(target=self._tick, daemon=True)
            self.ticker.start()

    def _tick(self) -> None:
        while True:
            time.sleep(TICK)
            with self.lock:
                if not self.running:
                    self.ticker = None
                    return
                self.output.write(f"\r\x1b[K  …  {describe(self.running, time.monotonic())}")
                self.output.flush()


class Silence(Progress):
    """Shows nothing."""

    def _write(self, line: str) -> None:
        pass

    def _start_ticker(self) -> None:
        pass


def describe(running: dict[str, tuple[float, float]], now: float) -> str:
    parts = []
    for title, (began, expected) in running.items():
        of = f" of about {format_seconds(expected)}" if expected else ""
        parts.append(f"{title} {format_seconds(now - began)}{of}")
    return " · ".join(parts)


def format_seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
