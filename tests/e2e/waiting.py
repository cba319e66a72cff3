"""Waiting for something to become true, with a deadline and a reason: never for a time to pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
TICK = 0.2


async def until(
    look: Callable[[], Awaitable[T]], what: str, seconds: float = 60, *, forgive: tuple[type[Exception], ...] = ()
) -> T:
    """The first true answer of `look`. Errors named in `forgive` count as no answer yet."""
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            if answer := await look():
                return answer
            last = answer
        except forgive as error:
            last = error
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}, in vain; last seen: {last!r}"
        await asyncio.sleep(TICK)
