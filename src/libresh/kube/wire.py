"""HTTP/1.1 as one API server speaks it: short requests over kept connections, at a third of a general client's cost.

Most of what the operator's processor does is sending requests. This knows what that dialect needs (lengths, chunks,
keep-alive, TLS) and nothing else; watches, proxies and exec go through aiohttp. What it does not understand ends the
connection, and the request with it.

    Pool ── a few connections, each used by one request at a time ── Wire ── parses one answer
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

KEPT = 60.0
"""Seconds an idle connection is kept: less than API servers keep theirs (90)."""
CONNECT_TIMEOUT = 10.0
LONGEST_HEAD = 2**16
END = b"\r\n"
HEAD_END = b"\r\n\r\n"


class Broken(OSError):
    """The connection ended before the answer did. `silent`: not a byte of an answer had come."""

    def __init__(self, message: str, *, silent: bool) -> None:
        super().__init__(message)
        self.silent = silent


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    retry_after: str = ""


class Wire(asyncio.Protocol):
    """One connection. `exchange` sends a request and waits for its answer."""

    def __init__(self) -> None:
        self.closed = False
        self.used = False
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reset()

    def _reset(self) -> None:
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._status = 0
        self._left = 0
        """Bytes of the body, or of the current chunk with its line end, that are still to come; -1: a size comes."""
        self._chunked = False
        self._to_the_end = False
        self._closing = False
        self._retry_after = ""
        self._advance: Callable[[], bool] = self._read_head

    # --- what asyncio calls ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()  # an answer nobody asked for
            return
        self._buffer += data
        try:
            while self._advance():
                if self._waiter is None:
                    return
        except ValueError as error:
            self._fail(Broken(f"the answer is not understood: {error}", silent=False))

    def eof_received(self) -> None:
        if self._to_the_end and self._waiter is not None:
            self._parts.append(bytes(self._buffer))
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._waiter is not None:
            silent = not self._status and not self._buffer
            self._fail(Broken(str(error) if error else "the connection was closed", silent=silent))

    # --- one exchange ----------------------------------------------------------------------------------------

    async def exchange(self, request: bytes, timeout: float) -> Answer:
        """Sends a request and waits for the answer. However it ends, nothing of it stays on the connection."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._reset()
        waiter: asyncio.Future[Answer] = loop.create_future()
        self._waiter = waiter
        self._timer = loop.call_later(timeout, self._expire, timeout)
        try:
            self._transport.write(request)
            return await waiter
        finally:
            self._timer.cancel()
            self.used = True
            if not waiter.done() or waiter.cancelled():
                self.abort()

    def _expire(self, timeout: float) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(TimeoutError(f"no answer within {timeout:.0f} s"))
        self.abort()

    def _fail(self, error: Exception) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.abort()

    def _finish(self) -> None:
        waiter, self._waiter = self._waiter, None
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if self._closing or self._to_the_end or self._buffer:
            self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_result(Answer(self._status, body, self._retry_after))

    def abort(self) -> None:
        """Ends the connection at once."""
        self.closed = True
        self._waiter = None
        if self._transport is not None:
            self._transport.abort()

    # --- parsing: each step says whether to go on with what has come ------------------------------------------

    def _read_head(self) -> bool:
        end = self._buffer.find(HEAD_END)
        if end < 0:
            if len(self._buffer) > LONGEST_HEAD:
                raise ValueError("its head does not end")
            return False
        lines = bytes(self._buffer[:end]).split(END)
        del self._buffer[: end + len(HEAD_END)]
        version, _, rest = lines[0].partition(b" ")
        if version not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise ValueError("it is not HTTP/1")
        self._status = int(rest[:3])
        if 100 <= self._status < 200:
            self._status = 0
            return True
        self._closing = version == b"HTTP/1.0"
        return self._read_headers(lines[1:])

    def _read_headers(self, lines: list[bytes]) -> bool:
        length = -1
        for line in lines:
            name, _, value = line.partition(b":")
            name = name.lower()
            if name == b"content-length":
                length = exact_number(value.strip(), 10)
            elif name == b"transfer-encoding":
                if value.strip().lower() != b"chunked":
                    raise ValueError("its encoding is not known")
                self._chunked = True
            elif name == b"connection":
                self._closing = self._closing or b"close" in value.lower()
            elif name == b"retry-after":
                self._retry_after = value.strip().decode("ascii", "replace")
        if self._chunked:
            self._left, self._advance = -1, self._read_chunk
            return True
        if length < 0 and self._status not in (204, 304):
            self._to_the_end = True
            self._advance = self._read_rest
            return True
        self._left, self._advance = max(length, 0), self._read_body
        return True

    def _read_body(self) -> bool:
        if len(self._buffer) < self._left:
            return False
        self._move(self._left)
        self._finish()
        return False

    def _move(self, size: int) -> None:
        """Takes bytes of the body out of the buffer, with one copy."""
        with memoryview(self._buffer) as view:
            self._parts.append(bytes(view[:size]))
        del self._buffer[:size]

    def _read_rest(self) -> bool:
        return False

    def _read_chunk(self) -> bool:
        if self._left < 0:
            end = self._buffer.find(END)
            if end < 0:
                return False
            size = exact_number(bytes(self._buffer[:end]).partition(b";")[0].strip(), 16)
            del self._buffer[: end + 2]
            if size == 0:
                self._advance = self._read_trailer
                return True
            self._left = size + 2
        if len(self._buffer) < self._left:
            return False
        if self._buffer[self._left - 2 : self._left] != END:
            raise ValueError("a chunk does not end where it says")
        self._move(self._left - 2)
        del self._buffer[:2]
        self._left = -1
        return True

    def _read_trailer(self) -> bool:
        end = self._buffer.find(END)
        if end < 0:
            return False
        del self._buffer[: end + 2]
        if end == 0:
            self._finish()
            return False
        return True


def exact_number(text: bytes, base: int) -> int:
    """A number as the protocol writes it: Python's own reading would allow signs, spaces and underscores."""
    if not text.isalnum():
        raise ValueError("a length is no number")
    return int(text, base)


class Pool:
    """At most `limit` connections to one server; who finds none waits its turn."""

    def __init__(self, server: str, tls: ssl.SSLContext | None, server_name: str | None, limit: int) -> None:
        parts = urlsplit(server)
        self.prefix = parts.path.rstrip("/")
        self.tls = tls or (ssl.create_default_context() if parts.scheme == "https" else None)
        self.host = parts.hostname or "localhost"
        self.port = parts.port or (443 if self.tls else 80)
        self.netloc = parts.netloc.rpartition("@")[2]
        self.server_name = server_name
        self.free = limit
        self._idle: deque[Wire] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def head_of(self, headers: dict[str, str]) -> bytes:
        """The lines of a request's head that do not change."""
        lines = [f"Host: {self.netloc}", *(f"{name}: {value}" for name, value in headers.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header may not hold a line end")
        return "\r\n".join(lines).encode() + END

    async def request(self, method: str, target: str, head: bytes, body: bytes | None, timeout: float) -> Answer:
        """Sends a request. What a kept connection swallowed is sent once more, if that can do no harm."""
        start = f"{method} {self.prefix}{target} HTTP/1.1\r\n".encode("ascii")
        if body is None:
            sent = start + head + END
        else:
            sent = b"%b%bContent-Length: %d\r\n\r\n%b" % (start, head, len(body), body)
        await self._enter()
        try:
            while True:
                wire = self._take() or await self._connect()
                reused = wire.used
                try:
                    answer = await wire.exchange(sent, timeout)
                except Broken as error:
                    if error.silent and reused and method != "POST":
                        continue
                    raise
                if not wire.closed:
                    wire.idle_since = asyncio.get_running_loop().time()
                    self._idle.append(wire)
                return answer
        finally:
            self._leave()

    async def _enter(self) -> None:
        if self.free > 0:
            self.free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1

    def _take(self) -> Wire | None:
        """The connection that was used last: the others may then grow old and go."""
        now = asyncio.get_running_loop().time()
        while self._idle and (self._idle[0].closed or now - self._idle[0].idle_since > KEPT):
            self._idle.popleft().abort()
        while self._idle:
            wire = self._idle.pop()
            if not wire.closed:
                return wire
        return None

    async def _connect(self) -> Wire:
        if self._closed:
            raise Broken("the client was closed", silent=True)
        loop = asyncio.get_running_loop()
        name = (self.server_name or self.host) if self.tls else None
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, wire = await loop.create_connection(Wire, self.host, self.port, ssl=self.tls, server_hostname=name)
        return wire

    def close(self) -> None:
        """Ends the idle connections; those in use end with their requests."""
        self._closed = True
        while self._idle:
            self._idle.pop().abort()
