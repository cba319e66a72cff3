"""The queue: cases, and the laws under any order of events."""

import asyncio
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from libresh.runtime.queue import Queue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made(**options: Any) -> tuple["Queue[str]", Clock]:
    clock = Clock()
    return Queue(clock=clock, chance=lambda: 1.0, **options), clock


def taken(queue: "Queue[str]") -> list[str]:
    found = []
    while (key := queue.take()) is not None:
        found.append(key)
    return found


def test_a_key_stands_in_line_once() -> None:
    queue, _ = made()
    for key in "aabab":
        queue.add(key)
    assert len(queue) == 2
    assert taken(queue) == ["a", "b"]


def test_a_key_in_work_comes_again_only_when_done() -> None:
    queue, _ = made()
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    queue.add("a")
    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"
    queue.done("a")
    assert queue.take() is None


def test_a_key_may_rest_after_its_work() -> None:
    queue, clock = made()
    queue.add("a")
    queue.take()
    queue.add("a")
    queue.later("a", 3600)
    queue.done("a", 5)
    assert queue.take() is None
    assert len(queue) == 0
    clock.now += 5
    assert taken(queue) == ["a"]
    queue.done("a", 5)
    clock.now += 5
    assert queue.take() is None, "nothing was added meanwhile: there is nothing to come back for"


def test_what_changed_goes_before_what_is_due() -> None:
    queue, clock = made()
    queue.add("idle", urgent=False)
    queue.later("due", 1)
    clock.now += 2
    queue.add("changed")
    assert taken(queue) == ["changed", "idle", "due"]


def test_a_change_brings_forward_what_was_only_due() -> None:
    queue, _ = made()
    for key in "abc":
        queue.add(key, urgent=False)
    queue.add("c")
    assert taken(queue) == ["c", "a", "b"]


def test_ten_thousand_keys_that_become_urgent_take_no_time() -> None:
    queue, _ = made()
    keys = [str(number) for number in range(10_000)]
    for key in keys:
        queue.add(key, urgent=False)
    began = time.process_time()
    for _ in range(3):
        for key in keys:
            queue.add(key)
    assert time.process_time() - began < 1.0
    assert taken(queue) == keys


def test_the_last_wish_for_later_counts() -> None:
    queue, clock = made()
    queue.later("a", 10)
    queue.later("a", 100)
    clock.now += 50
    assert queue.take() is None
    clock.now += 51
    assert queue.take() == "a"


def test_the_earliest_of_several_wishes_for_soon_counts() -> None:
    queue, clock = made()
    queue.later("a", 3600)
    queue.soon("a", 10)
    queue.soon("a", 100)
    clock.now += 5
    queue.soon("a", 10)
    clock.now += 6
    assert queue.take() == "a"
    assert queue.scheduled == 0


def test_a_recheck_does_not_put_off_what_changed_during_the_pass() -> None:
    queue, clock = made()
    queue.add("a")
    assert queue.take() == "a"
    queue.soon("a", 1)
    queue.later("a", 3600)
    queue.done("a")
    clock.now += 2
    assert queue.take() == "a"


def test_pauses_double_up_to_the_longest_and_start_again_after_success() -> None:
    queue, _ = made(first_pause=1.0, longest_pause=10.0)
    assert [queue.retry("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    queue.succeeded("a")
    assert queue.retry("a") == 1


def test_outdated_wishes_do_not_pile_up() -> None:
    queue, _ = made()
    for turn in range(10_000):
        queue.later(f"k{turn % 10}", 3600)
    assert queue.scheduled == 10
    assert len(queue._heap) < 200


async def test_workers_wait_for_time_and_for_one_another() -> None:
    queue: Queue[str] = Queue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.later("later", 0.05)
    queue.add("now")
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == ["now"]
    assert sorted(await asyncio.wait_for(asyncio.gather(*waiting), 2)) == ["later", "now"]


async def test_later_looks_come_after_a_close_and_a_reopening_too() -> None:
    queue: Queue[str] = Queue()
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.later("far", 3600)
    queue.close()
    queue.reopen()
    queue.later("near", 0.02)
    assert await asyncio.wait_for(waiting, 2) == "near"
    queue.done("near")
    again = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.later("next", 0.02)
    queue.close()
    queue.reopen()
    queue.later("last", 0.02)
    assert await asyncio.wait_for(again, 2) in ("next", "last")


async def test_a_cancelled_worker_loses_nothing() -> None:
    queue: Queue[str] = Queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 2) == "a"


KEYS = st.sampled_from("abcd")


class Laws(RuleBasedStateMachine):
    """Against a simple model: which keys must be looked at, and since when that is known."""

    def __init__(self) -> None:
        super().__init__()
        self.queue, self.clock = made(first_pause=1.0)
        self.owed: set[str] = set()
        self.working: set[str] = set()
        self.due: dict[str, float] = {}
        self.soon: set[str] = set()

    @rule(key=KEYS, urgent=st.booleans())
    def add(self, key: str, urgent: bool) -> None:
        self.queue.add(key, urgent=urgent)
        self.owed.add(key)

    @rule(key=KEYS, delay=st.floats(0.5, 50))
    def later(self, key: str, delay: float) -> None:
        self.queue.later(key, delay)
        when = self.clock.now + delay
        self.due[key] = min(self.due[key], when) if key in self.soon else when

    @rule(key=KEYS, delay=st.floats(0.5, 50))
    def soon_(self, key: str, delay: float) -> None:
        self.queue.soon(key, delay)
        if key not in self.owed:
            self.due[key] = min(self.due.get(key, float("inf")), self.clock.now + delay)
            self.soon.add(key)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.due.pop(key, None)
        self.soon.discard(key)

    @rule(step=st.floats(0.1, 60))
    def wait(self, step: float) -> None:
        self.clock.now += step

    def ripen(self) -> None:
        for key, when in list(self.due.items()):
            if when <= self.clock.now:
                del self.due[key]
                self.soon.discard(key)
                self.owed.add(key)

    @rule()
    def take(self) -> None:
        self.ripen()
        free = self.owed - self.working
        key = self.queue.take()
        if not free:
            assert key is None
            return
        assert key in free
        self.owed.discard(key)
        self.working.add(key)
        if key in self.soon:
            self.soon.discard(key)
            del self.due[key]

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.working.discard(key)
        self.queue.done(key)

    @invariant()
    def nothing_is_in_work_twice(self) -> None:
        assert self.queue.working == len(self.working)

    def teardown(self) -> None:
        """Whatever happened: when all time has passed and all work is done, nothing is owed any more."""
        self.clock.now += 1000
        self.ripen()
        for key in sorted(self.working):
            self.queue.done(key)
        assert set(taken(self.queue)) == self.owed


TestLaws = Laws.TestCase
TestLaws.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("urgent", [True, False])
def test_a_closed_queue_takes_nothing(urgent: bool) -> None:
    queue, _ = made()
    queue.close()
    queue.add("a", urgent=urgent)
    queue.later("b", 0)
    assert taken(queue) == []
