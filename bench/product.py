"""The operator itself, with Matrix objects and all that stands behind each: how much it takes to settle and to stay."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from bench.contenders import CACHE, describe_machine, environment
from bench.process import Process, Used
from bench.servers import ROOT, Api, InMemory, Object, Real, each_of, made_in, objects_of
from bench.widgets import is_done
from libresh.kube.client import Client

CHANGES = 100
CROWD = 1000
"""Matrix objects that share a class for mail and one for identity: a class holds about two thousand accounts."""
SECRET_BYTES = 4096


def run(
    *,
    full: bool = False,
    settled_seconds: float = 0,
    matrices: int = 0,
    largest: int = 0,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """All sizes and servers: `matrices` objects on the real API server, `largest` on the one in memory."""
    seconds = settled_seconds or (600.0 if full else 30.0)
    plan: list[tuple[type[InMemory] | type[Real], int, int, float]] = [
        (Real, 10, 30_000 if full else 0, 0.0),
        (Real, matrices or (1000 if full else 50), 0, seconds),
        (InMemory, largest or (10_000 if full else 200), 30_000, 0.0),
    ]
    rows = []
    for server, count, secrets, quiet in plan:
        rows.append(measure(partial(server, manifests("crds")), count, secrets=secrets, seconds=quiet))
        tell(f"product: {rows[-1]}")
    return {"machine": describe_machine(), "rows": rows}


def measure(server: Callable[[], Api], count: int, *, secrets: int = 0, seconds: float = 0) -> dict[str, Any]:
    """The life of one operator with `count` Matrix objects."""
    log = CACHE / "logs" / "operator.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    with server() as api, controllers(api):
        prepare(api, count)
        with operator(api, log) as process:
            empty = process.work()
            began, cpu, before = time.monotonic(), process.cpu(), api.writes()
            api.load([matrix(index) for index in range(count)])
            settling = process.work(lambda: all_ready(api), since=began, cpu=cpu)
        found = settled_fields(api, count, before, empty, settling)
        with operator(api, log) as process:
            found |= restart_fields(process, api)
            found |= change_fields(process, api, min(count, CHANGES))
            if seconds:
                found |= stay_fields(process, api, seconds)
            if secrets:
                add_secrets(api, secrets)
                process.work()
        if secrets:
            with operator(api, log) as process:
                beside = process.work()
                found |= {"secrets": secrets, "restart_rss_mb_beside_secrets": round(beside.rss, 1)}
    return found


def settled_fields(api: Api, count: int, before: int, empty: Used, settling: Used) -> dict[str, Any]:
    return {
        "server": api.name,
        "matrices": count,
        "empty_rss_mb": round(empty.rss, 1),
        "objects_each": made_in(api, space(0)) + 1,
        "settle_cpu_s": round(settling.cpu, 2),
        "settle_wall_s": round(settling.wall, 1),
        "settle_writes_each": round((api.writes() - before) / count, 1),
        "settle_rss_mb": round(settling.rss, 1),
    }


def restart_fields(process: Process, api: Api) -> dict[str, Any]:
    before = api.writes()
    restart = process.work(lambda: all_ready(api))
    return {
        "restart_cpu_s": round(restart.cpu, 2),
        "restart_wall_s": round(restart.wall, 1),
        "restart_writes": api.writes() - before,
        "restart_rss_mb": round(restart.rss, 1),
    }


def change_fields(process: Process, api: Api, changes: int) -> dict[str, Any]:
    """One setting of some Matrix objects, all at once: configuration, roll-out and status follow."""

    async def one(client: Client, index: int) -> None:
        await client.patch("Matrix", name(index), space(index), {"spec": {"settings": {"maxUploadSize": "40M"}}})

    began, cpu, before = time.monotonic(), process.cpu(), api.writes()
    each_of(api, range(changes), one)
    used = process.work(lambda: all_ready(api), since=began, cpu=cpu)
    return {
        "changes": changes,
        "changes_per_s": round(changes / used.wall, 1),
        "change_cpu_ms": round(1000 * used.cpu / changes, 1),
        "change_writes": round((api.writes() - before) / changes - 1, 1),
    }


def stay_fields(process: Process, api: Api, seconds: float) -> dict[str, Any]:
    """Nothing happens for a while."""
    cpu, before = process.cpu(), api.writes()
    time.sleep(seconds)
    return {
        "stay_s": seconds,
        "stay_writes": api.writes() - before,
        "stay_cpu_percent": round(100 * (process.cpu() - cpu) / seconds, 2),
    }


# --- the world --------------------------------------------------------------------------------------------------


def manifests(what: str) -> list[Object]:
    """What `libresh install` applies: deploy/crds/*.yaml, or deploy/classes.yaml."""
    found = sorted((ROOT / "deploy").glob(f"{what}/*.yaml")) or [ROOT / "deploy" / f"{what}.yaml"]
    return [document for path in found for document in yaml.safe_load_all(path.read_text()) if document]


def prepare(api: Api, count: int) -> None:
    """Namespaces, the default classes, and classes for each thousand."""
    spaces = ["libresh-system", *(space(index) for index in range(count))]
    api.load([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in spaces])
    classes = [document for document in manifests("classes") if document["kind"] == "ServiceClass"]
    crowds = range((count + CROWD - 1) // CROWD)
    api.load([*classes, *(each for crowd in crowds for each in (mail_class(crowd), identity_class(crowd)))])


def space(index: int) -> str:
    return f"team-{index}"


def name(index: int) -> str:
    return f"chat-{index}"


def service_class(name: str, kind: str, **parameters: str) -> Object:
    spec = {"claimKind": kind, "driver": "embedded", "parameters": parameters}
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": name},
        "spec": spec,
    }


def mail_class(crowd: int) -> Object:
    return service_class(f"mail-{crowd}", "SMTPAccount")


def identity_class(crowd: int) -> Object:
    return service_class(f"people-{crowd}", "OIDCClient", host=f"people-{crowd}.example.org")


def matrix(index: int) -> Object:
    crowd = index // CROWD
    spec = {
        "host": f"chat-{index}.example.org",
        "mail": {"className": f"mail-{crowd}"},
        "login": {"className": f"people-{crowd}"},
        "settings": {"maxUploadSize": "50M"},
    }
    return {
        "apiVersion": "apps.libre.sh/v1alpha1",
        "kind": "Matrix",
        "metadata": {"name": name(index), "namespace": space(index)},
        "spec": spec,
    }


def add_secrets(api: Api, count: int) -> None:
    """Secrets that have nothing to do with libre.sh."""
    data = {"value": "QUJD" * (SECRET_BYTES // 4)}
    meta = [{"name": f"foreign-{index}", "namespace": space(0)} for index in range(count)]
    api.load([{"apiVersion": "v1", "kind": "Secret", "metadata": each, "data": data} for each in meta])


def all_ready(api: Api) -> bool:
    return all(is_done(obj) for obj in objects_of(api, "Matrix"))


def operator(api: Api, log: Path) -> Process:
    """The operator, as its image starts it."""
    env = environment(api.kubeconfig)
    told = {"LIBRESH_METRICS_PORT": "0", "LIBRESH_DOMAIN": "example.org", "LIBRESH_IMAGE_PREFIX": "images.example.org"}
    return Process((sys.executable, "-m", "libresh.operator"), env={**env, **told}, log=log)


@contextmanager
def controllers(api: Api) -> Iterator[None]:
    """The stub beside a real API server; the one in memory brings its own."""
    if isinstance(api, InMemory):
        yield
        return
    env = environment(api.kubeconfig)
    env["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'tests'}"
    with Process((sys.executable, "-m", "bench.stub"), env=env, log=CACHE / "logs" / "stub.log"):
        yield
