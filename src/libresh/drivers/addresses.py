"""Addresses of servers that drivers are given in a class: https only, and what of them a driver needs."""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec

HTTPS = r"^https://([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?(/[-A-Za-z0-9._~/]*)?\Z"
Address = Annotated[str, msgspec.Meta(max_length=512, pattern=HTTPS)]


def place_of(address: str) -> tuple[str, int]:
    """The host and the port of an address; a ValueError where there can be no such port."""
    parts = urlsplit(address)
    return parts.hostname or "", parts.port or 443
