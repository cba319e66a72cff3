"""Structured logs: one JSON object per line, with the pass it belongs to. Never values of Secrets."""

import contextvars
import logging
import sys
import time
from typing import Any

import msgspec

PASS: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("pass", default=None)
"""kind, namespace, name, generation and id of the pass that is running."""

FIELDS = "fields"
"""`log.info("…", extra={"fields": {…}})` adds fields."""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = msgspec.json.Encoder(enc_hook=str)

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= PASS.get() or {}
        entry |= getattr(record, FIELDS, None) or {}
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return self.encoder.encode(entry).decode()


def set_up(level: str = "info", *, json: bool = True) -> None:
    """Sends all logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if json else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
