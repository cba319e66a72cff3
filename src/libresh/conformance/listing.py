"""Every kind of thing that can be in a namespace, and asking for many things at once."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from libresh.errors import Unavailable
from libresh.kube.client import OBJECT, Client
from libresh.kube.errors import NotFound

T = TypeVar("T")
AT_ONCE = 25
"""Requests."""
UNCOUNTED = ("events", "metrics.k8s.io")
"""Resources and groups that tell of what is there, and are not left behind by anybody."""


async def listable(client: Client) -> list[tuple[str, str]]:
    """Every kind of thing a namespace can hold: its root and its plural."""
    groups = OBJECT.decode(await client.send("GET", "/apis", what="discover groups"))["groups"]
    roots = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
    wanted = [root for root in roots if not any(word in root for word in UNCOUNTED)]
    return [kind for kinds in await in_turn([listable_below(client, root) for root in wanted]) for kind in kinds]


async def listable_below(client: Client, root: str) -> list[tuple[str, str]]:
    """Those of one group."""
    try:
        listed = OBJECT.decode(await client.send("GET", root, what=f"discover {root}"))
    except (NotFound, Unavailable):
        return []  # an aggregated API that is away
    found = [item for item in listed["resources"] if item["namespaced"] and "list" in item["verbs"]]
    return [(root, item["name"]) for item in found if item["name"] not in UNCOUNTED]


async def in_turn(work: Sequence[Awaitable[T]]) -> list[T]:
    """A few at a time: what is many is the operator's to bear, not the connection's."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(each: Awaitable[T]) -> T:
        async with gate:
            return await each

    return list(await asyncio.gather(*(one(each) for each in work)))
