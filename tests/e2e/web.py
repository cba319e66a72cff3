"""A browser's side: HTTPS with the local authority verified, names under the cluster's suffix, forms, cookies."""

import html.parser
import itertools
import random
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from e2e.world import World

BROWSERS = itertools.count(random.randrange(250 * 250))
PATIENCE = aiohttp.ClientTimeout(total=60)


class EdgeResolver(AbstractResolver):
    """Every name under the suffix is the cluster's edge, which for this cluster is not 127.0.0.1."""

    def __init__(self, world: World) -> None:
        self.address = str(world.cluster.edge_address)
        self.suffix = world.cluster.suffix

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        assert host.endswith(self.suffix), f"{host} is not a name of this cluster"
        return [ResolveResult(hostname=host, host=self.address, port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


def open_session(world: World) -> aiohttp.ClientSession:
    """A browser of its own: its cookies, and its address, as homeservers count attempts to log in by address."""
    trust = ssl.create_default_context(cafile=str(world.authority))
    number = next(BROWSERS)
    own = (f"127.50.{number // 250}.{1 + number % 250}", 0)
    connector = aiohttp.TCPConnector(resolver=EdgeResolver(world), ssl=trust, local_addr=own)
    return aiohttp.ClientSession(connector=connector, timeout=PATIENCE)


@dataclass
class Page:
    """What a browser shows."""

    url: str
    status: int
    text: str
    inputs: dict[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()


class Parsed(html.parser.HTMLParser):
    """The named inputs and the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inputs: dict[str, str] = {}
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "input" and (name := named.get("name")):
            self.inputs[name] = named.get("value") or ""
        if tag == "a" and (link := named.get("href")):
            self.links.append(link)


async def open_page(session: aiohttp.ClientSession, url: str, form: dict[str, str] | None = None) -> Page:
    """Open an address or send a form, and follow redirections as long as they stay in the cluster."""
    method, data, referer = ("POST", form, url) if form else ("GET", None, url)
    for _ in range(12):
        headers = {"Referer": referer}
        async with session.request(method, url, data=data, headers=headers, allow_redirects=False) as answer:
            text = await answer.text()
            if answer.status not in (301, 302, 303, 307, 308):
                parsed = Parsed(text)
                return Page(url, answer.status, text, parsed.inputs, tuple(parsed.links))
            referer, url = url, urljoin(url, answer.headers["Location"])
            method, data = "GET", None
    raise AssertionError(f"redirected for ever, last to {url}")


async def ask(
    session: aiohttp.ClientSession, method: str, url: str, *, token: str = "", **more: Any
) -> tuple[int, Any]:
    """One request of an API: the status and the JSON that came, or the bytes."""
    headers = {**more.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
    async with session.request(method, url, headers=headers, **more) as answer:
        is_json = answer.content_type == "application/json"
        return answer.status, await (answer.json() if is_json else answer.read())
