"""The way to a server beside the cluster passes bytes on, and is all there is to end."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libresh.errors import LibreshError
from libresh.kube.auth import Access
from libresh.kube.client import Client
from support import neighbours
from support.apiserver import LOOPBACK, die_with_parent, free_ports
from support.fakeapi import FakeApi, Server

ASKED, ANSWERED = b"a question" * 20_000, b"an answer" * 20_000


@contextmanager
def way(to: int) -> Iterator[int]:
    """The program of the way's pod, at a port of its own."""
    (port,) = free_ports(1)
    words = (sys.executable, "-c", neighbours.PASS_ON, LOOPBACK, str(port), LOOPBACK, str(to))
    with subprocess.Popen(words, preexec_fn=die_with_parent) as program:
        try:
            yield port
        finally:
            program.kill()


def call(port: int) -> socket.socket:
    """A connection to the way, once it is open."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection((LOOPBACK, port), timeout=30)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def take(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or fewer where the other end closes before."""
    found = b""
    while len(found) < size and (part := connection.recv(65536)):
        found += part
    return found


def test_the_way_carries_both_ways_and_ends_with_the_server() -> None:
    with socket.create_server((LOOPBACK, 0)) as server, way(server.getsockname()[1]) as port, call(port) as caller:
        called, _ = server.accept()
        with called:
            caller.sendall(ASKED)
            assert take(called, len(ASKED)) == ASKED
            called.sendall(ANSWERED)
        assert take(caller, len(ANSWERED) + 1) == ANSWERED


def test_a_server_that_is_away_is_away_behind_the_way_too() -> None:
    (nobody,) = free_ports(1)
    with way(nobody) as port:
        for _ in range(2):
            with call(port) as caller:
                assert take(caller, 1) == b""


async def test_only_a_namespace_of_ours_is_cleared_away() -> None:
    api = FakeApi()
    async with Server(api) as server, Client(Access(server=server.url)) as client:
        await neighbours.clear(client)
        api.create(neighbours.build_space())
        async with api.live():
            await neighbours.clear(client)
        assert api.get("Namespace", neighbours.SPACE) is None
        theirs = neighbours.build_space()
        del theirs["metadata"]["labels"][neighbours.MARK]
        api.create(theirs)
        with pytest.raises(LibreshError, match="already"):
            await neighbours.clear(client)
        assert api.get("Namespace", neighbours.SPACE) is not None


def test_servers_run_beside_local_clusters_only() -> None:
    with pytest.raises(LibreshError, match="no local cluster of this machine"):
        neighbours.address_beside("https://203.0.113.1:6443")
