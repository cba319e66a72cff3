"""The fake and the real API server get the same requests and must give the same answers, to the last managed field.

Uids, versions, times and the order of several complaints may differ. Where a script says `loose`, both refuse alike
but in other words.
"""

import asyncio
import time
from collections.abc import Callable
from random import Random

import pytest

from support.apiserver import RealApi
from support.chance import deployment_step, widget_step
from support.door import Door, Reply, door_to, fake_door_to
from support.fakeapi import FakeApi
from support.likeness import comparable, differences, wordless
from support.scripts import DEPLOYMENTS, SCRIPTS, Step
from support.widgets import CRDS, WIDGETS

pytestmark = pytest.mark.apiserver
SEEDS, STEPS = 24, 25


def compare(step: Step, doors: tuple[Door, Door], replies: tuple[Reply, Reply]) -> list[str]:
    """What differs between two answers."""
    fake, real = replies
    if fake.status != real.status:
        return [f"fake {fake.status} {fake.body}, real {real.status} {real.body}"]
    if step.loose and real.status >= 400:
        return differences(wordless(fake.body), wordless(real.body))
    left, right = (comparable(reply.body, door.namespace) for door, reply in zip(doors, replies, strict=True))
    return differences(left, right)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_script_gets_the_same_answers(fake_door: Door, real_door: Door, script: str) -> None:
    for number, step in enumerate(SCRIPTS[script], 1):
        replies = await step.take(fake_door), await step.take(real_door)
        found = compare(step, (fake_door, real_door), replies)
        assert not found, f"step {number}, {step}: " + "\n".join(found)


async def next_second() -> None:
    """Sleeps into the next second: managedFields are ordered by time, so servers asked on both sides of a second's
    end may rightly differ in what they store."""
    await asyncio.sleep(1.02 - time.time() % 1)


async def same_fate(doors: tuple[Door, Door], path: str, make: Callable[[Random], Step], seed: int) -> None:
    """Random writes, a third of them repeated: the same answers, the same object after each, and the same writes
    that store nothing."""
    chance, taken, before = Random(seed), list[Step](), [None, None]
    for _ in range(STEPS):
        step = taken[-1] if taken and chance.random() < 0.3 else make(chance)
        taken.append(step)
        await next_second()
        replies = await step.take(doors[0]), await step.take(doors[1])
        found = compare(step, doors, replies)
        after = await doors[0].get(path), await doors[1].get(path)
        found += compare(Step("GET", path), doors, after)
        versions = [reply["metadata.resourceVersion"] for reply in after]
        changed = [now != then for now, then in zip(versions, before, strict=True)]
        if changed[0] != changed[1]:
            found.append(f"stored by the fake: {changed[0]}, by the real one: {changed[1]}")
        before = versions
        assert not found, "\n".join([f"seed {seed}", *map(str, taken), *found])


async def test_random_writes_meet_the_same_fate(real_api: RealApi) -> None:
    """Many objects at once, because each waits for the clock most of the time."""

    async def one(seed: int) -> None:
        custom = seed % 2 == 0
        path, make = (f"{WIDGETS}/w", widget_step) if custom else (f"{DEPLOYMENTS}/w", deployment_step)
        async with fake_door_to(FakeApi(crds=CRDS)) as fake, door_to(real_api) as real:
            await same_fate((fake, real), path, make, seed)

    await asyncio.gather(*(one(seed) for seed in range(SEEDS)))
