"""Claims that a composition hands to another operator: how long many take at once, and one more beside them.

The class is the founding text's, its claims are the seed's kind, the API server is the real one. Zalando's operator is
a contract stub (bench.zalando), which answers at once: what is measured is libre.sh and the API server.
"""

import asyncio
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import yaml

from bench.contenders import CACHE, describe_machine, environment
from bench.process import Process
from bench.product import manifests
from bench.servers import ROOT, Api, Object, Real, kinds, objects_of
from bench.widgets import is_done
from libresh.drivers.composition import importing
from libresh.kube.auth import find_access
from libresh.kube.client import Client
from support.contracts.zalando import CRD

GIVEN = ROOT / "tests" / "drivers" / "composition"
SPACE = "default"
SETTLED_SECONDS = 60.0
ONE_MORE = 5
"""How many single claims are timed beside the many."""
REQUESTS = re.compile(r"^rest_client_requests_total\{.*\} (\S+)$", re.MULTILINE)
READY = re.compile(r'^libresh_resources\{kind="PostgreSQL",ready="True"\} (\S+)$', re.MULTILINE)


def run(*, count: int = 2000, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """The life of one operator with `count` claims."""
    with Real((*manifests("crds"), CRD)) as api:
        row = measure(api, count)
    tell(f"claims: {row}")
    return {"machine": describe_machine(), "rows": [row]}


def measure(api: Real, count: int) -> dict[str, Any]:
    composition = yaml.safe_load((GIVEN / "zalandopg.yaml").read_text())
    api.load([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "libresh-system"}}])
    api.load([importing.build_class(composition)])
    logs = CACHE / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    env = environment(api.kubeconfig)
    port = free_port()
    told = {"LIBRESH_METRICS_PORT": str(port), "LIBRESH_DOMAIN": "example.org"}
    stub = env | {"PYTHONPATH": f"{env['PYTHONPATH']}:{ROOT / 'tests'}"}
    with (
        Process((sys.executable, "-m", "bench.zalando"), env=stub, log=logs / "zalando.log") as zalando,
        Process((sys.executable, "-m", "libresh.operator"), env={**env, **told}, log=logs / "operator.log") as process,
    ):
        empty = process.work()
        others = {"api_cpu_s": api.cpu, "stub_cpu_s": zalando.cpu}
        before = {name: look() for name, look in others.items()}
        cpu, asked, began = process.cpu(), total(REQUESTS, port), time.monotonic()
        api.load([claim(index) for index in range(count)])
        await_ready(api, port, count)
        wall = time.monotonic() - began
        spent = {name: round(look() - before[name], 1) for name, look in others.items()}
        used = process.work(cpu=cpu)
        answered = total(REQUESTS, port)
        singles = [time_one(api, count + number) for number in range(ONE_MORE)]
        process.work()
        cpu, writes = process.cpu(), api.writes()
        time.sleep(SETTLED_SECONDS)
        return {
            "claims": count,
            "all_ready_s": round(wall, 1),
            "cpu_s": round(used.cpu, 1),
            **spent,
            "requests_each": round((answered - asked) / count, 1),
            "empty_rss_mb": round(empty.rss, 1),
            "rss_mb": round(used.rss, 1),
            "one_more_s": [round(each, 2) for each in singles],
            "stay_s": SETTLED_SECONDS,
            "stay_writes": api.writes() - writes,
            "stay_cpu_percent": round(100 * (process.cpu() - cpu) / SETTLED_SECONDS, 2),
        }


def claim(index: int) -> Object:
    """The seed's claim under another name."""
    found: Object = yaml.safe_load((GIVEN / "claim.yaml").read_text())
    name = f"db-{index}"
    secret = {"name": f"{name}-connection-details"}
    return {
        **found,
        "metadata": {"namespace": SPACE, "name": name},
        "spec": {**found["spec"], "writeConnectionSecretToRef": secret},
    }


def await_ready(api: Api, port: int, count: int) -> None:
    """Until the API server shows all as ready. It is asked once the operator says so: a list of all costs it much."""
    deadline = time.monotonic() + 1800
    while (found := total(READY, port)) < count or (found := sum(map(is_done, objects_of(api, "PostgreSQL")))) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found:.0f} of {count} claims are ready")
        time.sleep(0.5)


def time_one(api: Api, index: int) -> float:
    """Seconds from before the claim is made until a client that looks every twentieth of a second sees it ready."""
    made = claim(index)

    async def one() -> float:
        async with Client(find_access(str(api.kubeconfig)), kinds()) as client:
            began = time.monotonic()
            await client.create(made)
            while not is_done(await client.get("PostgreSQL", made["metadata"]["name"], SPACE) or {}):
                await asyncio.sleep(0.05)
            return time.monotonic() - began

    return asyncio.run(one())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def total(metric: re.Pattern[str], port: int) -> float:
    """What the operator's own metrics say: how many requests it has sent, how many claims it has reported as ready."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return sum(float(count) for count in metric.findall(answer.read().decode()))
