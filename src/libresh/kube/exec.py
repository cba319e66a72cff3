"""Runs a program in a container: the WebSocket form of exec, v5.channel.k8s.io (v4 where v5 is not spoken).

Every message starts with the number of its channel.
"""

import asyncio
from collections.abc import AsyncIterable, Callable
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from libresh.errors import LibreshError, Unavailable
from libresh.kube.client import Client, place
from libresh.kube.errors import error_from

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
HEARTBEAT = 30.0

Sink = Callable[[bytes], Any]


class Cause(msgspec.Struct):
    reason: str = ""
    message: str = ""


class Details(msgspec.Struct):
    causes: list[Cause] = []


class ExecStatus(msgspec.Struct):
    """How the program ended, on the error channel."""

    status: str = ""
    message: str = ""
    reason: str = ""
    details: Details | None = None


def exit_code(answer: bytes, what: str) -> int:
    """The program's exit code; an error where it could not be run at all."""
    try:
        status = msgspec.json.decode(answer, type=ExecStatus)
    except msgspec.MsgspecError:
        raise LibreshError("exec-failed", f"Cannot {what}: {answer[:200].decode('utf-8', 'replace')}") from None
    if status.status == "Success":
        return 0
    for cause in status.details.causes if status.details else ():
        if cause.reason == "ExitCode" and cause.message.isdigit():
            return int(cause.message)
    raise LibreshError("exec-failed", f"Cannot {what}: {status.message or status.reason}")


def exec_url(
    client: Client, pod: str, namespace: str, argv: list[str], container: str, *, stdin: bool, tty: bool
) -> URL:
    query = [("command", part) for part in argv]
    query += [("stdout", "true"), ("stderr", "false" if tty else "true")]
    query += [("stdin", "true")] if stdin else []
    query += [("tty", "true")] if tty else []
    query += [("container", container)] if container else []
    path = client.kinds["Pod"].path(namespace, pod, "exec")
    return URL(client.access.server + path).with_query(query)


async def run_in_pod(
    client: Client,
    pod: str,
    namespace: str,
    argv: list[str],
    *,
    container: str = "",
    stdin: bytes | AsyncIterable[bytes] | None = None,
    stdout: Sink = lambda data: None,
    stderr: Sink = lambda data: None,
    tty: bool = False,
    size: tuple[int, int] | None = None,
) -> int:
    """Runs `argv` and returns its exit code. What must stay secret goes through `stdin`, never through `argv`.

    `size` is the terminal's width and height.
    """
    what = f"run {argv[0]} in {place('Pod', pod, namespace)}"
    url = exec_url(client, pod, namespace, argv, container, stdin=stdin is not None, tty=tty)
    headers = {}
    if token := await client.access.credentials.token():
        headers["Authorization"] = f"Bearer {token}"
    tls = client.access.ssl if client.access.ssl is not None else True
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        try:
            async with session.ws_connect(
                url,
                protocols=(V5, V4),
                headers=headers,
                heartbeat=HEARTBEAT,
                max_msg_size=0,
                proxy=client.access.proxy,
                server_hostname=client.access.server_name,
            ) as socket:
                return await converse(socket, what, stdin, stdout, stderr, size)
        except aiohttp.WSServerHandshakeError as error:
            raise error_from(error.status, str(error.message).encode(), what) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable("exec-failed", f"Cannot {what}: {error or type(error).__name__}") from error


async def converse(
    socket: aiohttp.ClientWebSocketResponse,
    what: str,
    stdin: bytes | AsyncIterable[bytes] | None,
    stdout: Sink,
    stderr: Sink,
    size: tuple[int, int] | None,
) -> int:
    """Passes input and output until the program ends."""
    if size is not None:
        width, height = size
        await socket.send_bytes(bytes([RESIZE]) + msgspec.json.encode({"Width": width, "Height": height}))
    sending = asyncio.create_task(send(socket, stdin)) if stdin is not None else None
    result: int | None = None
    try:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == STDOUT and data:
                stdout(data)
            elif channel == STDERR and data:
                stderr(data)
            elif channel == ERROR:
                result = exit_code(data, what)
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    if result is None:
        raise Unavailable("exec-failed", f"Cannot {what}: the connection ended before the program did")
    return result


async def send(socket: aiohttp.ClientWebSocketResponse, stdin: bytes | AsyncIterable[bytes]) -> None:
    """Sends the input, then says that it is over (which only v5 can)."""
    if isinstance(stdin, bytes):
        for start in range(0, len(stdin), 2**15):
            await socket.send_bytes(bytes([STDIN]) + stdin[start : start + 2**15])
    else:
        async for data in stdin:
            await socket.send_bytes(bytes([STDIN]) + data)
    if socket.protocol == V5:
        await socket.send_bytes(bytes([CLOSE, STDIN]))
