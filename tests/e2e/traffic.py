"""People who keep sending messages and files, and remember what the homeserver acknowledged."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp

from e2e.matrix import Person, Refused, media_key
from e2e.storage import Storage
from e2e.waiting import until

PAUSE = 0.05
OUTAGE = (Refused, aiohttp.ClientError, TimeoutError, OSError)
"""What a client meets while something is down."""


@dataclass
class Traffic:
    """What was sent and acknowledged so far, and when."""

    person: Person
    room: str
    messages: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Digests by address."""
    answered: dict[str, list[float]] = field(default_factory=lambda: {"messages": [], "files": []})
    """When each kind was acknowledged."""
    troubles: list[str] = field(default_factory=list)

    @property
    def gaps(self) -> dict[str, float]:
        """The longest time in which nothing was acknowledged, for each kind."""
        return {kind: longest(moments) for kind, moments in self.answered.items()}

    async def talk(self) -> None:
        """Send message after message, each as often as it takes under one transaction, as clients do."""
        number = 0
        while True:
            number += 1
            text = f"message {number}"
            while not await self.attempt(self.person.say(self.room, text, f"{self.room}-{number}")):
                await asyncio.sleep(PAUSE)
            self.messages.append(text)
            self.answered["messages"].append(time.monotonic())
            await asyncio.sleep(PAUSE)

    async def share(self) -> None:
        """Upload file after file."""
        while True:
            content = os.urandom(20_000)
            while not (address := await self.attempt(self.person.upload(content))):
                await asyncio.sleep(PAUSE)
            self.files[address] = hashlib.sha256(content).hexdigest()
            self.answered["files"].append(time.monotonic())
            await asyncio.sleep(PAUSE)

    async def attempt(self, doing: Awaitable[str]) -> str:
        """What it came to, or "" while something is down."""
        try:
            # Not wait_for: before Python 3.12 it may swallow the cancellation that ends the traffic.
            async with asyncio.timeout(20):
                return await doing
        except OUTAGE as error:
            self.troubles.append(f"{type(error).__name__}: {error}"[:200])
            return ""

    async def flows(self, more: int = 20, seconds: float = 120) -> None:
        """Until so many more messages, and a few more files, are acknowledged."""
        messages, files = len(self.messages) + more, len(self.files) + more // 5

        async def look() -> bool:
            return len(self.messages) >= messages and len(self.files) >= files

        what = f"{more} more messages and {more // 5} more files to be acknowledged"
        try:
            await until(look, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; the last troubles: {self.troubles[-3:]}") from None

    async def verify(self, bucket: Storage) -> None:
        """Everything acknowledged is there, once, unchanged: files in the bucket too, not only in Synapse's folder."""
        said = await self.person.read(self.room)
        lost = sorted(set(self.messages) - set(said))
        assert not lost, f"{len(lost)} acknowledged messages are lost: {lost[:5]}"
        twice = sorted({text for text in said if said.count(text) > 1})
        assert not twice, f"said twice: {twice[:5]}"
        for address, digest in self.files.items():
            stored = await bucket.read(media_key(address))
            assert hashlib.sha256(stored).hexdigest() == digest, f"{address} is changed in the bucket"
            served = await self.person.download(address)
            assert hashlib.sha256(served).hexdigest() == digest, f"{address} came back changed"


def longest(moments: list[float]) -> float:
    """The longest time between two of them."""
    return max((after - before for before, after in pairwise(moments)), default=0.0)


@asynccontextmanager
async def sending(person: Person) -> AsyncIterator[Traffic]:
    """Traffic in a room of its own; it has begun to flow, and stops in the end."""
    traffic = Traffic(person, await person.create_room("Traffic"))
    tasks = [asyncio.create_task(traffic.talk()), asyncio.create_task(traffic.share())]
    try:
        await traffic.flows()
        yield traffic
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
