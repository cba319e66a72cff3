"""The small reconcile: libre.sh's runtime beside kopf and controller-runtime, doing the same on the same objects."""

import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from bench.contenders import BUILDERS, CACHE, Contender, describe_machine, environment
from bench.process import Process
from bench.servers import Api, InMemory, Real, each_of, objects_of
from bench.widgets import CRD, KIND, NAMESPACE, is_done, widget
from libresh.kube.client import Client

TOUCHES = 1000
TOUCH_SECONDS = 10.0


def run(*, full: bool = False, rounds: int = 3, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """All sizes and servers. The quick form repeats only the smallest."""
    contenders = {name: build() for name, build in BUILDERS.items()}
    plan: list[tuple[type[InMemory] | type[Real], int, int]] = [
        (InMemory, 1_000, rounds),
        (Real, 1_000, rounds if full else 1),
        (InMemory, 10_000, rounds if full else 1),
    ]
    rows = []
    for server, count, times in plan:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
        for contender in [*contenders.values()] * times:  # in turns: a busy moment of the machine meets all
            found[contender.name].append(measure(partial(server, [CRD]), contender, count))
            tell(f"small, {count} objects, {server.name}: {found[contender.name][-1]}")
        for each in found.values():
            rows.append({"server": server.name, "objects": count, "rounds": times, **medians(each)})
    versions = {contender.name: contender.version for contender in contenders.values()}
    return {"machine": describe_machine(), "versions": versions, "rows": rows}


def measure(server: Callable[[], Api], contender: Contender, count: int) -> dict[str, Any]:
    """Adoption, restart and changes of one contender on a fresh server."""
    log = CACHE / "logs" / f"{contender.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    with server() as api:
        if isinstance(api, Real):
            api.load([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}])
        api.load([widget(index) for index in range(count)])
        before = api.writes()
        with start(contender, api, log) as process:
            adoption = process.work(lambda: all_done(api))
        adopted = api.writes()
        with start(contender, api, log) as process:
            restart = process.work()
            restarted = api.writes()
            touches = min(count, TOUCHES)
            began, cpu = time.monotonic(), process.cpu()
            touch(api, range(touches))
            change = process.work(lambda: all_done(api), since=began, cpu=cpu)
        changed = api.writes()
    return {
        "contender": contender.name,
        "adoption_cpu_s": adoption.cpu,
        "adoption_wall_s": adoption.wall,
        "adoption_writes": adopted - before,
        "adoption_peak_mb": adoption.peak,
        "restart_cpu_s": restart.cpu,
        "restart_writes": restarted - adopted,
        "restart_rss_mb": restart.rss,
        "change_cpu_ms": 1000 * change.cpu / touches,
        "change_writes": (changed - restarted - touches) / touches,
        "rss_mb": change.rss,
    }


def start(contender: Contender, api: Api, log: Path) -> Process:
    return Process(contender.argv, env=environment(api.kubeconfig), log=log)


def touch(api: Api, indexes: Iterable[int]) -> None:
    """Changes the spec of some widgets, as people would."""

    async def one(client: Client, index: int) -> None:
        await client.patch(KIND, f"widget-{index}", NAMESPACE, {"spec": {"size": 2}})

    each_of(api, indexes, one, TOUCH_SECONDS)


def all_done(api: Api) -> bool:
    return all(is_done(obj) for obj in objects_of(api, KIND))


def medians(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number; what is a text is the same in all rows."""
    first = rows[0]
    return {
        key: value if isinstance(value, str) else round(statistics.median(row[key] for row in rows), 3)
        for key, value in first.items()
    }
