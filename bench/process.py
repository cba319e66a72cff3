"""A measured process: started, watched by /proc until it is quiet, ended by its pid."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
LOOK = 0.5
QUIET_CPU = 0.06
"""CPU seconds in one look that still count as quiet."""
BUSY_CPU = 0.02
"""More than this was work: the wall time ends with the last such look."""
CALM = 8
"""So many quiet looks in a row, and the work is over."""
PATIENCE = 3600.0


@dataclass(frozen=True)
class Used:
    """What some work took: CPU seconds of all threads, wall seconds until the last busy moment, memory after it."""

    cpu: float
    wall: float
    rss: float
    peak: float


class Process:
    """One program under measurement."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self.child = subprocess.Popen(argv, env={**os.environ, **env}, stdout=out, stderr=out)
        self.started = time.monotonic()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def cpu(self) -> float:
        """CPU seconds of the process and its threads, user and system, since it began."""
        if self.child.poll() is not None:
            raise RuntimeError(f"it ended with {self.child.returncode}; see {self.log}")
        return cpu_of(self.child.pid)

    def starving(self) -> bool:
        """Whether it waits for a processor: on a busy machine, using none does not mean having nothing to do."""
        tasks = Path(f"/proc/{self.child.pid}/task").glob("*/stat")
        return any(task.read_text().rpartition(")")[2].split()[0] in "RD" for task in tasks)

    def memory(self, what: str = "VmRSS") -> float:
        """Resident memory in MB: now, or (VmHWM) at its highest."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError(f"it is gone; see {self.log}")

    def work(self, done: Callable[[], bool] = lambda: True, *, since: float | None = None, cpu: float = 0.0) -> Used:
        """Waits until it is quiet and the work is `done`. Counts from `since` and `cpu`: by default from its start."""
        begun = self.started if since is None else since
        calm, last, busy = 0, self.cpu(), time.monotonic()
        while calm < CALM or not done():
            if calm >= CALM:
                calm = 0
            if time.monotonic() - begun > PATIENCE:
                raise RuntimeError(f"it is not done after {PATIENCE:.0f} s; see {self.log}")
            time.sleep(LOOK)
            now = self.cpu()
            calm = 0 if now - last > QUIET_CPU or self.starving() else calm + 1
            if now - last > BUSY_CPU:
                busy = time.monotonic()
            last = now
        return Used(last - cpu, max(busy - begun, 0.0), self.memory(), self.memory("VmHWM"))


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its threads, user and system, since it began."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK
