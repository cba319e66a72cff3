"""A few long steps that depend on one another: each starts as soon as what it needs is done, several at once.

Steps are repeatable: whatever a killed run left behind, running them again gives the same result.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from libresh.cli.board import Board, Show


@dataclass(frozen=True)
class Step:
    """One step. `run` shows what it is at through the `Show` it gets."""

    name: str
    title: str
    run: Callable[[Show], None]
    needs: tuple[str, ...] = ()


def order(steps: Sequence[Step]) -> list[Step]:
    """The steps in an order that the needs allow; a need that nobody meets is a mistake of ours."""
    done: set[str] = set()
    waiting, sorted_steps = list(steps), []
    while waiting:
        free = [step for step in waiting if set(step.needs) <= done]
        if not free:
            raise ValueError(f"these steps wait for each other: {[step.name for step in waiting]}")
        sorted_steps += free
        done |= {step.name for step in free}
        waiting = [step for step in waiting if step.name not in done]
    return sorted_steps


def run(steps: Sequence[Step], board: Board) -> None:
    """Run all steps. After a failure nothing new is started; what is under way ends first, then the error is raised."""
    waiting = order(steps)
    done: set[str] = set()
    running: dict[Future[None], Step] = {}
    failure: BaseException | None = None
    with ThreadPoolExecutor(max_workers=max(len(waiting), 1)) as pool:
        while waiting or running:
            for step in [] if failure else [step for step in waiting if set(step.needs) <= done]:
                waiting.remove(step)
                running[pool.submit(perform, step, board)] = step
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                step = running.pop(future)
                error = future.exception()
                if error is None:
                    done.add(step.name)
                elif failure is None:
                    failure = error
                    board.tell_failure([each.title for each in running.values()])
    if failure:
        raise failure


def perform(step: Step, board: Board) -> None:
    with board.shown(step.name) as show:
        step.run(show)
