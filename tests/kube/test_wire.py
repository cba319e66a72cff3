"""The wire: answers cut anywhere, connections that end anywhere, and what is never sent twice."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libresh.kube.wire import Answer, Broken, Pool, Wire

BODY = b'{"kind":"Status"}'
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n" + BODY
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
    b"5\r\n" + BODY[:5] + b"\r\nC;ext=1\r\n" + BODY[5:] + b"\r\n0\r\nTrailer: x\r\n\r\n"
)
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

ANSWERS = {
    "by length": (LENGTH, Answer(200, BODY), True),
    "in chunks": (CHUNKED, Answer(201, BODY), True),
    "empty": (EMPTY, Answer(204, b""), True),
    "after a continue": (CONTINUED, Answer(200, BODY), True),
    "busy": (BUSY, Answer(429, b"", "7"), False),
}


def parsed(pieces: list[bytes], *, end: bool = False) -> tuple[Any, Wire]:
    """What a wire makes of an answer that comes in pieces: an Answer, an error, or None while it waits."""
    loop = asyncio.new_event_loop()
    try:
        wire = Wire()
        wire._transport = Mock(spec=asyncio.Transport)
        waiter = wire._waiter = loop.create_future()
        for piece in pieces:
            wire.data_received(piece)
        if end:
            wire.eof_received()
            wire.connection_lost(None)
        if not waiter.done():
            return None, wire
        return waiter.exception() or waiter.result(), wire
    finally:
        loop.close()


@pytest.mark.parametrize("name", ANSWERS)
@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_an_answer_may_be_cut_anywhere(name: str, cuts: list[int]) -> None:
    raw, answer, kept = ANSWERS[name]
    places = sorted({0, len(raw), *(cut % len(raw) for cut in cuts)})
    pieces = [raw[start:end] for start, end in itertools.pairwise(places)]
    found, wire = parsed(pieces)
    assert found == answer
    assert wire.closed is not kept


@pytest.mark.parametrize("name", ["by length", "in chunks"])
def test_an_answer_that_ends_too_early_is_broken_at_every_place(name: str) -> None:
    raw, _, _ = ANSWERS[name]
    for cut in range(len(raw)):
        found, wire = parsed([raw[:cut]] if cut else [], end=True)
        assert isinstance(found, Broken), cut
        assert found.silent is (cut == 0)
        assert wire.closed


def test_an_answer_without_length_goes_to_the_end() -> None:
    found, wire = parsed([b"HTTP/1.1 200 OK\r\n\r\nabc", b"def"], end=True)
    assert found == Answer(200, b"abcdef")
    assert wire.closed


NONSENSE = {
    "no HTTP": b"SSH-2.0-OpenSSH\r\n\r\n\r\n",
    "no number": b"HTTP/1.1 abc\r\n\r\n",
    "a length below nothing": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    "a length with an underscore": b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n0123456789",
    "an unknown encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "a chunk size that is none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk longer than it says": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_not_understood_ends_the_connection(name: str) -> None:
    found, wire = parsed([NONSENSE[name]])
    assert isinstance(found, Broken)
    assert wire.closed


def test_more_than_the_answer_ends_the_connection() -> None:
    found, wire = parsed([LENGTH + b"HTTP/1.1 200 OK"])
    assert found == Answer(200, BODY)
    assert wire.closed


# --- the pool --------------------------------------------------------------------------------------------------

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(talk: Talk, limit: int = 4) -> AsyncIterator[Pool]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    pool = Pool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", None, None, limit)
    try:
        yield pool
    finally:
        pool.close()
        server.close()


async def ask(pool: Pool, method: str = "GET", body: bytes | None = None, timeout: float = 5) -> Answer:
    return await pool.request(method, "/x", pool.head_of({"Accept": "a/b"}), body, timeout)


async def read(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return head + await reader.readexactly(int(line.split(b":")[1]))
    return head


async def test_one_connection_serves_many_requests() -> None:
    seen: list[bytes] = []
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            seen.append(await read(reader))
            writer.write(LENGTH)

    async with serving(talk) as pool:
        for _ in range(5):
            assert await ask(pool, "PATCH", b"{}") == Answer(200, BODY)
    assert connections == 1
    assert seen[0].startswith(b"PATCH /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert seen[0].endswith(b"\r\nAccept: a/b\r\nContent-Length: 2\r\n\r\n{}")


async def test_no_more_connections_than_allowed() -> None:
    now = most = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        while True:
            await read(reader)
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1
            writer.write(LENGTH)

    async with serving(talk, limit=3) as pool:
        answers = await asyncio.gather(*(ask(pool) for _ in range(20)))
    assert len(answers) == 20
    assert most == 3


@pytest.mark.parametrize(("method", "again"), [("GET", True), ("PATCH", True), ("DELETE", True), ("POST", False)])
async def test_what_a_dead_connection_swallowed_is_sent_again_if_it_does_no_harm(method: str, again: bool) -> None:
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await read(reader)).split(b" ")[0])
        writer.write(LENGTH)
        asked.append((await read(reader)).split(b" ")[0])  # and then it goes away without a word

    async with serving(talk) as pool:
        await ask(pool)
        if again:
            assert await ask(pool, method, b"{}") == Answer(200, BODY)
        else:
            with pytest.raises(Broken):
                await ask(pool, method, b"{}")
    assert asked.count(method.encode()) == (2 if again else 1) + (method == "GET")


async def test_a_fresh_connection_that_dies_is_an_error() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read(reader)

    async with serving(talk) as pool:
        with pytest.raises(Broken):
            await ask(pool)


async def test_silence_ends_in_time_and_a_cancelled_request_leaves_nothing_behind() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await read(reader)
        await asyncio.sleep(0.2)
        writer.write(LENGTH.replace(b"Status", b"Stalee") if b"PATCH" in first else LENGTH)
        await read(reader)
        writer.write(LENGTH)

    async with serving(talk, limit=1) as pool:
        with pytest.raises(TimeoutError, match="no answer within"):
            await ask(pool, timeout=0.05)
        task = asyncio.create_task(ask(pool, "PATCH", b"{}"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The late answer of the cancelled request must not be taken for that of the next.
        assert await ask(pool) == Answer(200, BODY)
        assert pool.free == 1


async def test_one_who_gives_up_waiting_takes_no_turn() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read(reader)
            await asyncio.sleep(0.05)
            writer.write(LENGTH)

    async with serving(talk, limit=1) as pool:
        first, second, third = (asyncio.create_task(ask(pool)) for _ in range(3))
        await asyncio.sleep(0.01)
        second.cancel()
        assert await first == await third == Answer(200, BODY)
        assert pool.free == 1


def test_a_header_cannot_begin_another() -> None:
    pool = Pool("http://localhost:1/prefix/", None, None, 1)
    assert pool.prefix == "/prefix"
    with pytest.raises(ValueError, match="line end"):
        pool.head_of({"Authorization": "Bearer a\r\nX: y"})
