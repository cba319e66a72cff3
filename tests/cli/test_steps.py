"""Steps overlap where they can, wait where they must, and fail with the first error."""

import io
import threading
from pathlib import Path

import pytest

from libresh.cli import steps
from libresh.cli.board import Board, Show, Timings, clip, remaining
from libresh.cli.steps import Step
from libresh.errors import LibreshError


def board_for(planned: list[Step], tmp_path: Path, *, live: bool = False) -> Board:
    timings = Timings(tmp_path / "timings.json", {"a": 10.0})
    return Board({step.name: step.title for step in planned}, timings, output=io.StringIO(), live=live)


def said(board: Board) -> str:
    assert isinstance(board.output, io.StringIO)
    return board.output.getvalue()


def test_independent_steps_overlap(tmp_path: Path) -> None:
    meeting = threading.Barrier(2, timeout=10)
    planned = [Step(name, name, lambda _: meeting.wait() and None) for name in "ab"]
    with board_for(planned, tmp_path) as board:
        steps.run(planned, board)  # a barrier of two is passed only by both at once


def test_a_step_waits_for_what_it_needs(tmp_path: Path) -> None:
    done: list[str] = []

    def note(name: str) -> Step:
        needs = {"c": ("a", "b"), "b": ("a",)}.get(name, ())
        return Step(name, name, lambda _: done.append(name), needs)

    planned = [note("c"), note("b"), note("a")]
    with board_for(planned, tmp_path) as board:
        steps.run(planned, board)
    assert done == ["a", "b", "c"]


def test_after_a_failure_nothing_new_starts_and_what_runs_ends(tmp_path: Path) -> None:
    failed, done = threading.Event(), []

    def fail(_: Show) -> None:
        failed.set()
        raise LibreshError("broken", "it broke", "mend it")

    def slow(_: Show) -> None:
        assert failed.wait(10)
        done.append("slow")

    planned = [
        Step("fail", "fail", fail),
        Step("slow", "slow", slow),
        Step("after", "after", lambda _: done.append("after"), ("slow",)),
    ]
    board = board_for(planned, tmp_path)
    with board, pytest.raises(LibreshError, match="it broke"):
        steps.run(planned, board)
    assert done == ["slow"]
    assert "!! fail" in said(board)
    assert "ok slow" in said(board)
    assert "after" not in said(board)


def test_steps_that_wait_for_each_other_are_a_mistake() -> None:
    planned = [Step("a", "a", lambda _: None, ("b",)), Step("b", "b", lambda _: None, ("a",))]
    with pytest.raises(ValueError, match="wait for each other"):
        steps.order(planned)


def test_plain_output_tells_times_and_parts(tmp_path: Path) -> None:
    def work(show: Show) -> None:
        with show.step("compile", 30):
            show.say("now linking")

    planned = [Step("a", "build it", work)]
    board = board_for(planned, tmp_path)
    with board:
        steps.run(planned, board)
    lines = said(board).splitlines()
    assert len(lines) == 4
    assert lines[0] == "…  build it (about 10 s)"
    assert lines[1] == "   build it: compile (about 30 s)"
    assert lines[2] == "   build it: now linking"
    assert lines[3].startswith("ok build it (")
    assert "\x1b" not in said(board)


def test_a_step_that_is_over_at_once_is_one_plain_line(tmp_path: Path) -> None:
    planned = [Step("a", "build it", lambda _: None)]
    board = board_for(planned, tmp_path)
    with board:
        steps.run(planned, board)
    assert said(board).splitlines() == ["ok build it (0.0 s)"]


def test_the_live_table_redraws_in_place_and_never_wraps(tmp_path: Path) -> None:
    planned = [Step("a", "x" * 300, lambda _: None), Step("b", "second", lambda _: None)]
    board = board_for(planned, tmp_path, live=True)
    with board:
        steps.run(planned, board)
    text = said(board)
    assert "ok" in text
    assert all(len(clip(line, 80)) <= 80 for line in text.splitlines() if "\x1b" not in line)
    board._redraw()
    assert "\x1b[3F" in said(board)  # up by two rows and the total


def test_times_are_remembered_only_when_the_work_was_done(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    timings = Timings(path, {"a": 10.0})
    timings.record("a", 100.0)
    timings.record("b", 0.1)
    again = Timings(path, {"a": 10.0, "b": 7.0})
    assert again.expected("a") == 100.0
    assert again.expected("b") == 7.0
    again.record("a", 0.5)
    again.record("a", 20.0)  # most of it was there already
    assert Timings(path, {}).expected("a") == 100.0
    again.record("a", 80.0)
    assert Timings(path, {}).expected("a") == 80.0


@pytest.mark.parametrize("broken", ["", "[]", '{"a": "x"}', "{"])
def test_unreadable_times_are_no_reason_to_fail(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "timings.json"
    path.write_text(broken)
    assert Timings(path, {"a": 3.0}).expected("a") == 3.0


def test_what_remains_is_the_longest_that_runs_and_all_that_waits(tmp_path: Path) -> None:
    board = board_for([Step("a", "a", lambda _: None), Step("b", "b", lambda _: None)], tmp_path)
    rows = list(board.rows.values())
    rows[0].mark, rows[0].began, rows[0].expected = "… ", 100.0, 30.0
    rows[1].expected = 5.0
    assert remaining(rows, now=110.0) == 25.0
