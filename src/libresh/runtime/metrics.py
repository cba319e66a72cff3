"""Counts what the operator does, in Prometheus' text form, under the names dashboards of controllers know.

A few dozen lines instead of a library: its import would cost a quarter of the operator's start.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator

Labels = tuple[str, ...]

BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def labelled(names: Labels, values: Labels, extra: str = "") -> str:
    parts = [f'{name}="{escaped(value)}"' for name, value in zip(names, values, strict=True)]
    if extra:
        parts.append(extra)
    return "{" + ",".join(parts) + "}" if parts else ""


def number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


class Metric:
    """A number per combination of labels."""

    kind = "gauge"

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        self.name = name
        self.help = help
        self.labels = labels
        self.values: dict[Labels, float] = {}

    def set(self, value: float, *labels: str) -> None:
        self.values[labels] = value

    def get(self, *labels: str) -> float:
        return self.values.get(labels, 0.0)

    def head(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"

    def lines(self) -> Iterator[str]:
        yield from self.head()
        for labels, value in sorted(self.values.items()):
            yield f"{self.name}{labelled(self.labels, labels)} {number(value)}"


class Gauge(Metric):
    """A number that goes up and down."""


class Counter(Metric):
    """A number that only goes up."""

    kind = "counter"

    def add(self, *labels: str, by: float = 1) -> None:
        self.values[labels] = self.values.get(labels, 0.0) + by


class Series:
    """One distribution."""

    __slots__ = ("counts", "sum", "total")

    def __init__(self) -> None:
        self.counts = [0] * len(BUCKETS)
        self.sum = 0.0
        self.total = 0

    def observe(self, value: float) -> None:
        place = bisect_left(BUCKETS, value)
        if place < len(BUCKETS):
            self.counts[place] += 1
        self.sum += value
        self.total += 1


class Histogram(Metric):
    """A distribution per combination of labels."""

    kind = "histogram"

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        super().__init__(name, help, labels)
        self.series: dict[Labels, Series] = {}

    def at(self, *labels: str) -> Series:
        """The distribution for these labels; keep it where it is used often."""
        return self.series.setdefault(labels, Series())

    def lines(self) -> Iterator[str]:
        yield from self.head()
        for labels, series in sorted(self.series.items()):
            running = 0
            for bound, count in zip(BUCKETS, series.counts, strict=True):
                running += count
                le = f'le="{number(bound)}"'
                yield f"{self.name}_bucket{labelled(self.labels, labels, le)} {running}"
            le = 'le="+Inf"'
            yield f"{self.name}_bucket{labelled(self.labels, labels, le)} {series.total}"
            yield f"{self.name}_sum{labelled(self.labels, labels)} {series.sum!r}"
            yield f"{self.name}_count{labelled(self.labels, labels)} {series.total}"


class Metrics:
    """All metrics of one operator. `collectors` bring gauges up to date when somebody asks."""

    def __init__(self) -> None:
        by_name = ("name", "controller")
        self.requests = Counter("rest_client_requests_total", "HTTP requests to the API server.", ("code", "method"))
        self.passes = Counter("controller_runtime_reconcile_total", "Passes by result.", ("controller", "result"))
        self.errors = Counter("controller_runtime_reconcile_errors_total", "Passes that failed.", ("controller",))
        self.stalled = Counter(
            "controller_runtime_terminal_reconcile_errors_total",
            "Passes that ended in something a person must edit.",
            ("controller",),
        )
        self.time = Histogram("controller_runtime_reconcile_time_seconds", "Duration of a pass.", ("controller",))
        self.workers = Gauge("controller_runtime_max_concurrent_reconciles", "Most passes at a time.", ("controller",))
        self.active = Gauge("controller_runtime_active_workers", "Passes under way.", ("controller",))
        self.depth = Gauge("workqueue_depth", "Keys in line.", by_name)
        self.adds = Counter("workqueue_adds_total", "Keys put in line.", by_name)
        self.retries = Counter("workqueue_retries_total", "Keys put in line after a failure.", by_name)
        self.scheduled = Gauge("libresh_workqueue_scheduled", "Keys to be looked at later.", by_name)
        self.waiting = Histogram("workqueue_queue_duration_seconds", "How long a key stood in line.", by_name)
        self.working = Histogram("workqueue_work_duration_seconds", "How long a key was in work.", by_name)
        self.leading = Gauge("leader_election_master_status", "1 while this one leads.", ("name",))
        self.writes = Counter("libresh_writes_total", "Effects that changed something.", ("controller", "action"))
        self.cached = Gauge("libresh_cache_objects", "Objects kept.", ("kind",))
        self.watch_age = Gauge("libresh_watch_age_seconds", "Seconds since a watch last spoke.", ("kind",))
        self.lists = Gauge("libresh_lists", "How often a kind was listed from the start.", ("kind",))
        self.ready = Gauge(
            "libresh_resources", "Objects by kind and the status of their condition Ready.", ("kind", "ready")
        )
        self.cpu = Counter("process_cpu_seconds_total", "CPU time used.")
        self.memory = Gauge("process_resident_memory_bytes", "Memory in use.")
        self.files = Gauge("process_open_fds", "Open files.")
        self.started = Gauge("process_start_time_seconds", "When the process started.")
        self.started.set(time.time() - time.process_time())
        self.collectors: list[Callable[[], None]] = [self._process]

    def _process(self) -> None:
        times = os.times()
        self.cpu.set(times.user + times.system)
        try:
            with open("/proc/self/statm", "rb") as file:
                self.memory.set(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
            self.files.set(len(os.listdir("/proc/self/fd")))
        except OSError:
            return  # not Linux: these two are then not shown

    def request(self, method: str, code: str) -> None:
        """The hook of the client."""
        self.requests.add(code, method)

    def text(self) -> str:
        """Everything, for a scrape."""
        for collect in self.collectors:
            collect()
        lines: list[str] = []
        for metric in vars(self).values():
            if isinstance(metric, Metric):
                lines += metric.lines()
        return "\n".join(lines) + "\n"
