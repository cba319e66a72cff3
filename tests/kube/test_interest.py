"""Who is brought back by which change."""

import json
from typing import Any

import pytest

from libresh.kube.cache import FieldIndex
from libresh.kube.interest import Interest
from libresh.kube.kinds import KindInfo
from libresh.kube.objects import Entry, Shape
from libresh.ports import DECLARED, READY

ONE, TWO = ("App", "ns", "one"), ("App", "ns", "two")
SHAPE = Shape(KindInfo("Pod", "v1", "pods"))


def pod(
    name: str = "p", namespace: str = "ns", host: str = "", generation: int = 1, ready: str = "", **labels: str
) -> Entry:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": labels}
    metadata |= {"resourceVersion": "1", "generation": generation}
    status = {"conditions": [{"type": "Ready", "status": ready}]} if ready else {}
    return SHAPE.entry(json.dumps({"metadata": metadata, "spec": {"host": host}, "status": status}).encode())


CASES: dict[str, tuple[Any, Entry | None, Entry | None, bool]] = {
    "the very object": (("Pod", "ns", "p"), None, pod(), True),
    "its deletion": (("Pod", "ns", "p"), pod(), None, True),
    "another object": (("Pod", "ns", "q"), None, pod(), False),
    "another kind": (("Job", "ns", "p"), None, pod(), False),
    "all of its namespace": (("Pod", "ns"), None, pod(), True),
    "all of another namespace": (("Pod", "other"), None, pod(), False),
    "all of its kind": (("Pod",), None, pod(), True),
    "its labels": (("Pod", "ns", (("app", "x"),)), None, pod(app="x", more="y"), True),
    "its labels anywhere": (("Pod", None, (("app", "x"),)), None, pod(app="x"), True),
    "labels it had": (("Pod", "ns", (("app", "x"),)), pod(app="x"), pod(), True),
    "other labels": (("Pod", "ns", (("app", "y"),)), None, pod(app="x"), False),
    "its labels elsewhere": (("Pod", "other", (("app", "x"),)), None, pod(app="x"), False),
    "the value of its field": (("Pod", "=", "spec.host", "h"), None, pod(host="h"), True),
    "the value its field had": (("Pod", "=", "spec.host", "h"), pod(host="h"), pod(host="i"), True),
    "a new one, for what is declared": (("Pod", "=", DECLARED), None, pod(), True),
    "an edit, for what is declared": (("Pod", "=", DECLARED), pod(), pod(generation=2), True),
    "a label, for what is declared": (("Pod", "=", DECLARED), pod(), pod(app="x"), True),
    "its deletion, for what is declared": (("Pod", "=", DECLARED), pod(), None, True),
    "its status alone, for what is declared": (("Pod", "=", DECLARED), pod(), pod(), False),
    "its edit, for what it declares": (("Pod", "ns", "p", DECLARED), pod(), pod(generation=2), True),
    "its deletion, for what it declares": (("Pod", "ns", "p", DECLARED), pod(), None, True),
    "its status alone, for what it declares": (("Pod", "ns", "p", DECLARED), pod(), pod(ready="True"), False),
    "its becoming ready": (("Pod", "ns", "p", READY), pod(ready="False"), pod(ready="True"), True),
    "its being ready no more": (("Pod", "ns", "p", READY), pod(ready="True"), pod(ready="Unknown"), True),
    "the end of a ready one": (("Pod", "ns", "p", READY), pod(ready="True"), None, True),
    "an edit of one that stays ready": (
        ("Pod", "ns", "p", READY),
        pod(ready="True"),
        pod(ready="True", generation=2),
        False,
    ),
    "another value": (("Pod", "=", "spec.host", "h"), None, pod(host="i"), False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_change_touches(name: str) -> None:
    token, old, new, touched = CASES[name]
    interest = Interest()
    interest.record(ONE, [token])
    assert (ONE in set(interest.touched("Pod", old, new, [FieldIndex("spec.host")]))) is touched


def test_what_is_read_no_more_matters_no_more() -> None:
    dropped: list[Any] = []
    interest = Interest(dropped.append)
    interest.record(ONE, [("Pod", "ns", "p"), ("Pod",)])
    interest.record(TWO, [("Pod", "ns", "p")])
    interest.record(ONE, [("Pod",)])
    assert set(interest.touched("Pod", None, pod())) == {ONE, TWO}
    assert dropped == []
    interest.forget(TWO)
    assert dropped == [("Pod", "ns", "p")]
    interest.forget(ONE)
    assert set(interest.touched("Pod", None, pod(app="x"))) == set()
    assert len(interest) == 0


def test_selections_by_several_labels_and_by_none() -> None:
    interest = Interest()
    interest.record(ONE, [("Pod", "ns", (("app", "x"), ("instance", "a-long-name")))])
    interest.record(TWO, [("Pod", "ns", ())])
    assert set(interest.touched("Pod", None, pod(app="x", instance="a-long-name"))) == {ONE, TWO}
    assert set(interest.touched("Pod", None, pod(instance="a-long-name"))) == {TWO}
    assert set(interest.touched("Pod", None, pod(app="x", instance="b"))) == {TWO}


def test_many_readers_of_one_thing() -> None:
    interest = Interest()
    keys = {("App", "ns", str(number)) for number in range(50)}
    for key in keys:
        interest.record(key, [("Profile",), ("Pod", None, (("a", "b"),))])
    assert set(interest.readers(("Profile",))) == keys
    for key in keys:
        interest.record(key, ())
    assert len(interest) == 0


def test_what_a_pass_reads_matters_before_the_pass_ends() -> None:
    dropped: list[Any] = []
    interest = Interest(dropped.append)
    tokens = [("Pod", "ns", "p"), ("Pod", "ns", (("app", "x"),))]
    interest.add(ONE, tokens)
    assert set(interest.touched("Pod", None, pod())) == {ONE}
    interest.record(ONE, tokens)
    interest.add(ONE, tokens)
    interest.record(ONE, [])
    assert sorted(dropped, key=str) == sorted(tokens, key=str)
    assert len(interest) == 0
