"""Reading the mail that the local mail server keeps."""

import re
from dataclasses import dataclass
from typing import Any

import aiohttp

from e2e.kubernetes import Kube
from e2e.waiting import until

SYSTEM = "libresh-system"
SERVER = "embedded-smtpaccount-mail"
PORT = 8025


@dataclass(frozen=True)
class MailBox:
    """The viewer of the mail server."""

    session: aiohttp.ClientSession
    url: str

    async def read(self, path: str) -> Any:
        async with self.session.get(f"{self.url}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def wait_for(self, recipient: str, subject: str = "", seconds: float = 60) -> dict[str, Any]:
        """The newest message to somebody, with its text."""

        async def look() -> Any:
            found = await self.read(f"/messages?to={recipient}")
            return next((each for each in found if subject in each["subject"]), None)

        found = await until(look, f"a mail to {recipient}", seconds)
        message: dict[str, Any] = await self.read(f"/messages/{found['key']}")
        return message


async def find_viewer(kube: Kube) -> tuple[str, dict[str, str]]:
    """Where mail is read, and the header that lets one in."""
    accounts = await kube.secret(f"{SERVER}-accounts", SYSTEM)
    address = await kube.address(SYSTEM, "mail", PORT)
    header = {"Authorization": aiohttp.encode_basic_auth(accounts["viewer-username"], accounts["viewer-password"])}
    return f"http://{address}", header


def link_in(message: dict[str, Any]) -> str:
    """The link a mail asks people to follow."""
    found = re.search(r"https://[^\s\"<>]+", message["text"])
    assert found, message["text"]
    return found[0]
