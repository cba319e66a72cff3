"""Which of the machine's name servers answer at all: only those are asked for names outside the cluster."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

# A query for the root's name servers: any server that resolves answers it.
QUERY = b"\x4c\x52\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
PATIENCE = 1.0


def read_servers(resolv_conf: str) -> tuple[str, ...]:
    """The name servers of a resolv.conf, in order."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                found.append(str(ip_address(words[1].split("%")[0])))
            except ValueError:
                continue
    return tuple(dict.fromkeys(found))


def find_upstreams(path: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The machine's name servers that answer now; with none, names outside are refused at once instead of late."""
    try:
        servers = read_servers(path.read_text())
    except FileNotFoundError:
        return ()
    return _answering(servers)


def _answering(servers: Iterable[str]) -> tuple[str, ...]:
    asked = list(servers)
    if not asked:
        return ()
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        return tuple(server for server, ok in zip(asked, pool.map(_answers, asked), strict=True) if ok)


def _answers(server: str) -> bool:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE)
        try:
            asking.connect((server, 53))
            asking.send(QUERY)
            reply = asking.recv(512)
        except OSError:
            return False
    return reply[:2] == QUERY[:2] and reply[3] & 0x0F in (0, 3)
