"""A Matrix client as small as the stories need it."""

import itertools
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from e2e.web import ask

COUNTER = itertools.count(1)
CLIENT = "/_matrix/client/v3"


class Refused(Exception):
    """The homeserver did not do it."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Homeserver:
    """A homeserver as it is seen from outside."""

    session: aiohttp.ClientSession
    host: str

    async def call(self, method: str, path: str, *, token: str = "", **more: Any) -> Any:
        status, body = await ask(self.session, method, f"https://{self.host}{path}", token=token, **more)
        if status != 200:
            raise Refused(status, body)
        return body

    async def log_in(self, name: str, password: str) -> "Person":
        who = {"type": "m.id.user", "user": name}
        return await self.enter({"type": "m.login.password", "identifier": who, "password": password})

    async def enter(self, proof: dict[str, Any]) -> "Person":
        """Log in with any proof of who one is."""
        body = await self.call("POST", f"{CLIENT}/login", json=proof)
        return Person(self, body["user_id"], body["access_token"])


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in."""

    server: Homeserver
    user_id: str
    token: str

    async def call(self, method: str, path: str, **more: Any) -> Any:
        return await self.server.call(method, path, token=self.token, **more)

    async def create_room(self, name: str, **more: Any) -> str:
        body = await self.call("POST", f"{CLIENT}/createRoom", json={"name": name, "preset": "private_chat", **more})
        return str(body["room_id"])

    async def invite(self, room: str, other: "Person") -> None:
        await self.call("POST", f"{CLIENT}/rooms/{quote(room)}/invite", json={"user_id": other.user_id})

    async def join(self, room: str) -> None:
        await self.call("POST", f"{CLIENT}/join/{quote(room)}", json={})

    async def say(self, room: str, text: str, transaction: str = "") -> str:
        """Send a message; the event's name once the server has acknowledged it."""
        transaction = transaction or f"{time.time_ns()}-{next(COUNTER)}"
        path = f"{CLIENT}/rooms/{quote(room)}/send/m.room.message/{transaction}"
        body = await self.call("PUT", path, json={"msgtype": "m.text", "body": text})
        return str(body["event_id"])

    async def read(self, room: str, limit: int = 1000) -> list[str]:
        """What was said in a room, the latest first."""
        found: list[str] = []
        start = ""
        while True:
            path = f"{CLIENT}/rooms/{quote(room)}/messages?dir=b&limit={limit}" + (f"&from={start}" if start else "")
            body = await self.call("GET", path)
            events = [each for each in body["chunk"] if each["type"] == "m.room.message"]
            found += [each["content"]["body"] for each in events]
            start = body.get("end", "")
            if not start:
                return found

    async def sync(self, since: str = "", wait: float = 0) -> dict[str, Any]:
        query = f"timeout={int(wait * 1000)}" + (f"&since={since}" if since else "")
        body: dict[str, Any] = await self.call("GET", f"{CLIENT}/sync?{query}")
        return body

    async def is_invited(self, room: str, since: str, seconds: float = 20) -> bool:
        """Whether an invitation comes by syncing."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            body = await self.sync(since, wait=5)
            if room in body.get("rooms", {}).get("invite", {}):
                return True
            since = body["next_batch"]
        return False

    async def hear(self, room: str, since: str, seconds: float = 20) -> list[str]:
        """The first words that come by syncing."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            body = await self.sync(since, wait=5)
            events = body.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", ())
            if words := [each["content"]["body"] for each in events if each["type"] == "m.room.message"]:
                return words
            since = body["next_batch"]
        return []

    async def search(self, words: str) -> list[str]:
        wish = {"search_categories": {"room_events": {"search_term": words}}}
        body = await self.call("POST", f"{CLIENT}/search", json=wish)
        results = body["search_categories"]["room_events"]["results"]
        return [each["result"]["content"]["body"] for each in results]

    async def upload(self, content: bytes, kind: str = "application/octet-stream") -> str:
        """Store a file; its mxc address once the server has acknowledged it."""
        body = await self.call("POST", "/_matrix/media/v3/upload", data=content, headers={"Content-Type": kind})
        return str(body["content_uri"])

    async def download(self, address: str) -> bytes:
        found = urlsplit(address)
        path = f"/_matrix/client/v1/media/download/{found.netloc}{found.path}"
        async with self.server.session.get(
            f"https://{self.server.host}{path}", headers={"Authorization": f"Bearer {self.token}"}
        ) as answer:
            body = await answer.read()
        if answer.status != 200:
            raise Refused(answer.status, body)
        return body


def media_key(address: str) -> str:
    """Where a file that was uploaded here lies, in the bucket as in the local folder."""
    name = urlsplit(address).path.lstrip("/")
    return f"local_content/{name[:2]}/{name[2:4]}/{name[4:]}"
