"""The cache under any order of lists, events, echoes and answers: it never goes back, and ends at the truth."""

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from libresh.kube.cache import Cache
from libresh.kube.kinds import KindInfo
from libresh.kube.objects import Entry, Shape

SHAPE = Shape(KindInfo("ConfigMap", "v1", "configmaps"))


def stored(name: str, version: int, *, uid: str = "", owner: str = "", **data: str) -> bytes:
    references = [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": owner, "controller": True}] if owner else []
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "ownerReferences": references,
        "managedFields": [{"manager": "somebody"}],
    }
    return json.dumps({"metadata": metadata, "data": data}, separators=(",", ":")).encode()


def entry(name: str, version: int, **more: Any) -> Entry:
    return SHAPE.entry(stored(name, version, **more))


def test_managed_fields_are_not_kept() -> None:
    found = entry("a", 1, k="v")
    assert found.body == b'{"data":{"k":"v"}}'
    assert SHAPE.value(found)["metadata"] == {"name": "a", "namespace": "ns", "uid": "uid-a", "resourceVersion": "1"}


def test_an_older_echo_is_ignored() -> None:
    cache = Cache("ConfigMap", SHAPE)
    assert cache.put(entry("a", 10))
    assert not cache.put(entry("a", 9))
    assert not cache.put(entry("a", 10))
    assert cache.put(entry("a", 100))


def test_versions_are_numbers_not_text() -> None:
    cache = Cache("ConfigMap", SHAPE)
    cache.put(entry("a", 9))
    assert cache.put(entry("a", 10))


def test_what_we_deleted_does_not_come_back_by_a_late_event() -> None:
    cache = Cache("ConfigMap", SHAPE)
    old = entry("a", 5)
    cache.put(old)
    cache.removed(old)
    assert not cache.put(entry("a", 7))
    cache.deleted(entry("a", 8))
    assert cache.put(entry("a", 9, uid="another"))


def test_a_late_deletion_does_not_take_the_next_object_of_that_name() -> None:
    cache = Cache("ConfigMap", SHAPE)
    cache.put(entry("a", 12, uid="new"))
    cache.deleted(entry("a", 11, uid="old"))
    assert cache.get("ns", "a") is not None


def test_a_list_does_not_undo_what_was_written_after_it() -> None:
    cache = Cache("ConfigMap", SHAPE)
    cache.put(entry("ours", 20))
    cache.put(entry("gone", 8))
    cache.settle(set(), 15)
    assert [item.meta.name for item in cache.entries()] == ["ours"]


def test_owners_are_found_and_followed() -> None:
    cache = Cache("ConfigMap", SHAPE)
    cache.put(entry("a", 1, owner="u1"))
    cache.put(entry("b", 2, owner="u1"))
    cache.put(entry("b", 3, owner="u2"))
    assert [item.meta.name for item in cache.owned("u1")] == ["a"]
    assert [item.meta.name for item in cache.owned("u2")] == ["b"]
    cache.deleted(entry("a", 4, owner="u1"))
    assert cache.owned("u1") == []


def test_the_index_follows_the_field() -> None:
    cache = Cache("ConfigMap", SHAPE)
    cache.put(entry("a", 1, host="x"))
    assert [item.meta.name for item in cache.find("data.host", "x")] == ["a"]
    cache.put(entry("b", 2, host="x"))
    cache.put(entry("a", 3, host="y"))
    assert [item.meta.name for item in cache.find("data.host", "x")] == ["b"]
    cache.deleted(entry("b", 4, host="x"))
    assert cache.find("data.host", "x") == []


NAMES = st.sampled_from("abc")


class Truth(RuleBasedStateMachine):
    """A server with a history, a watch that falls behind and breaks, and our own writes whose answers come early."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 0
        self.births = 0
        self.server: dict[str, bytes] = {}
        self.versions: dict[str, int] = {}
        self.events: list[tuple[str, bytes]] = []
        self.seen: dict[str, int] = {}
        self.cache = Cache("ConfigMap", SHAPE, listener=self.listen)
        self.told: dict[str, int] = {}

    def listen(self, kind: str, old: Entry | None, new: Entry | None, source: Any) -> None:
        item = new or old
        assert item is not None
        if new is None:
            self.told.pop(item.meta.name, None)
        else:
            assert new.version > self.told.get(item.meta.name, -1)
            self.told[item.meta.name] = new.version

    @rule(name=NAMES, ours=st.booleans())
    def write(self, name: str, ours: bool) -> None:
        self.version += 1
        fresh = name not in self.server
        self.births += fresh
        uid = f"uid-{self.births}" if fresh else json.loads(self.server[name])["metadata"]["uid"]
        self.server[name] = stored(name, self.version, uid=uid, v=str(self.version))
        self.events.append(("ADDED" if fresh else "MODIFIED", self.server[name]))
        if ours:
            self.cache.put(SHAPE.entry(self.server[name]))

    @rule(name=NAMES, ours=st.booleans())
    def delete(self, name: str, ours: bool) -> None:
        if name not in self.server:
            return
        self.version += 1
        last = json.loads(self.server.pop(name))
        last["metadata"]["resourceVersion"] = str(self.version)
        self.events.append(("DELETED", json.dumps(last).encode()))
        known = self.cache.get("ns", name)
        if ours and known is not None and known.meta.uid == last["metadata"]["uid"]:
            self.cache.removed(known)

    @precondition(lambda self: self.events)
    @rule()
    def watch(self) -> None:
        self.deliver(self.events.pop(0))

    def deliver(self, event: tuple[str, bytes]) -> None:
        item = SHAPE.entry(event[1])
        if event[0] == "DELETED":
            self.cache.deleted(item)
        else:
            self.cache.put(item)

    @rule()
    def gap_and_list(self) -> None:
        """The history is lost: list anew."""
        self.events.clear()
        for body in self.server.values():
            self.cache.put(SHAPE.entry(body))
        self.cache.settle({("ns", name) for name in self.server}, self.version)
        self.check()

    @invariant()
    def the_listener_knows_what_is_cached(self) -> None:
        assert self.told == {item.meta.name: item.version for item in self.cache.entries()}
        assert self.cache.size == len(self.told)

    def check(self) -> None:
        cached = {item.meta.name: item.version for item in self.cache.entries()}
        assert cached == {name: SHAPE.entry(body).version for name, body in self.server.items()}

    def teardown(self) -> None:
        while self.events:
            self.watch()
        self.check()


TestTruth = Truth.TestCase
TestTruth.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
