"""What the operator says of itself: metrics, logs, events."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from toys import Toy, crd

from libresh.api.meta import Condition, ObjectMeta
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.runtime import logs
from libresh.runtime.events import BURST, BURST_OF_ALL, Recorder, worth_telling
from libresh.runtime.metrics import Metrics
from support.fakeapi import FakeApi, Server

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_prometheus_reads_our_metrics() -> None:
    metrics = Metrics()
    metrics.passes.add("Matrix", "success")
    metrics.passes.add("Matrix", "success", by=2)
    metrics.requests.add("200", 'odd "method"\n\\')
    series = metrics.time.at("Matrix")
    for value in (0.0005, 0.02, 0.02, 7, 1000):
        series.observe(value)
    families = {family.name: family for family in text_string_to_metric_families(metrics.text())}
    passes = families["controller_runtime_reconcile"].samples[0]
    assert (passes.labels, passes.value) == ({"controller": "Matrix", "result": "success"}, 3)
    assert families["rest_client_requests"].samples[0].labels["method"] == 'odd "method"\n\\'
    found = {
        sample.labels.get("le", sample.name): sample.value
        for sample in families["controller_runtime_reconcile_time_seconds"].samples
    }
    assert found["0.001"] == 1
    assert found["0.025"] == 3
    assert found["10"] == 4
    assert found["+Inf"] == 5
    assert found["controller_runtime_reconcile_time_seconds_count"] == 5
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6


def test_a_log_line_is_json_with_its_pass() -> None:
    record = logging.LogRecord("libresh.x", logging.WARNING, "f", 1, "made %d", (3,), None)
    record.fields = {"writes": 3, "odd": {1}}  # type: ignore[attr-defined]
    token = logs.PASS.set({"kind": "Matrix", "namespace": "ns", "name": "m", "generation": 2, "pass": 9})
    try:
        line = logs.JsonFormatter().format(record)
    finally:
        logs.PASS.reset(token)
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "warning", "logger": "libresh.x", "message": "made 3", "kind": "Matrix", "namespace": "ns",
        "name": "m", "generation": 2, "pass": 9, "writes": 3, "odd": [1],
    }  # fmt: skip


def condition(type: str, status: Any, reason: str) -> Condition:
    return Condition(type=type, status=status, reason=reason, message="Because")


TOLD = {
    "one for a reason": (
        [condition("Ready", "False", "Starting"), condition("Reconciling", "True", "Starting")],
        ["Ready"],
    ),
    "a refusal before the rest": (
        [condition("Ready", "False", "Bad"), condition("Stalled", "True", "Bad")],
        ["Stalled"],
    ),
    "nothing if nothing changed": ([condition("Ready", "True", "Before")], []),
    "a reason is a change": ([condition("Ready", "True", "Settled")], ["Ready"]),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_is_worth_an_event(name: str) -> None:
    after, types = TOLD[name]
    assert [item.type for item in worth_telling([condition("Ready", "True", "Before")], after)] == types


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def toy(name: str = "t") -> Toy:
    return Toy(metadata=ObjectMeta(name=name, namespace="play", uid=f"uid-{name}", resource_version="7"))


async def test_the_same_again_is_counted_and_floods_are_cut() -> None:
    api = FakeApi(crds=[crd()])
    clock = Clock()
    async with Server(api) as server, Client(Access(server.url)) as client:
        recorder = Recorder(client, "me", clock=clock)
        for _ in range(3):
            recorder.record(toy(), [condition("Ready", "False", "Starting")], NOW)
        await recorder.flush()
        (event,) = api.objects("Event", "play")
        assert event["series"]["count"] == 3
        assert event["note"] == "Because"
        assert event["regarding"]["name"] == "t"
        for number in range(50):
            recorder.record(toy(), [condition("Ready", "False", f"R{number}")], NOW)
        assert len(recorder.pending) == BURST - 3
        assert recorder.dropped == 50 - (BURST - 3)
        clock.now += 3600
        await recorder.flush()
        recorder.record(toy(), [condition("Ready", "False", "Later")], NOW)
        assert len(recorder.pending) == 1


async def test_many_objects_do_not_make_a_flood_together() -> None:
    recorder = Recorder(None, clock=Clock())
    for number in range(10_000):
        recorder.record(toy(str(number)), [condition("Ready", "True", "Settled")], NOW)
    assert len(recorder.pending) == BURST_OF_ALL


async def test_an_event_that_cannot_be_written_is_only_lost() -> None:
    api = FakeApi(crds=[crd()])
    async with Server(api) as server, Client(Access(server.url)) as client:
        api.faults.refuse(403, verb="create", kind="Event")
        recorder = Recorder(client, "me", clock=Clock())
        recorder.record(toy(), [condition("Ready", "True", "A")], NOW)
        recorder.record(toy(), [condition("Ready", "True", "B")], NOW)
        await recorder.flush()
        assert [item["reason"] for item in api.objects("Event", "play")] == ["B"]
