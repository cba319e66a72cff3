"""What the API server's answers mean to us.

LibreshError
├── Unavailable     libresh.errors: no answer, 429 that outlasted our patience, 5xx
├── Conflict        libresh.errors: 409, the object changed under our hands
├── NotFound        404
├── AlreadyExists   409 on create
├── Expired         410: too old a resourceVersion or continue token
├── Refused         400, 403, 405, 422…: the same request will be refused again
│   └── Unauthorized  401: our credentials are not accepted (any more)
├── NotOurs         the object exists and somebody else made it: it is never taken over
└── Pending         something the write needs is not there yet; its arrival brings us back
"""

from datetime import timedelta

import msgspec

from libresh.errors import Conflict, LibreshError, Unavailable

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Expired",
    "NotFound",
    "NotOurs",
    "Pending",
    "Refused",
    "Unauthorized",
    "Unavailable",
    "error_from",
]


class NotFound(LibreshError):
    """The object (or its kind, or its namespace) does not exist."""


class AlreadyExists(LibreshError):
    """An object of this name exists already."""


class Expired(LibreshError):
    """The history asked for is gone: list again."""


class Refused(LibreshError):
    """The API server understood and said no. `fields` names what it complained about."""

    def __init__(self, message: str, *, code: int = 0, fields: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__("refused", message, hint)
        self.code = code
        self.fields = fields


class Unauthorized(Unavailable):
    """The API server does not know us."""


class NotOurs(LibreshError):
    """An object of the name we need exists and belongs to somebody else."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__("not-ours", message, hint)


class Pending(LibreshError):
    """A write must wait for something. `reason` is a condition's reason; `recheck` is when to look again, where
    nothing tells that it has come."""

    def __init__(self, reason: str, message: str, recheck: timedelta = timedelta(minutes=10)) -> None:
        super().__init__("pending", message)
        self.reason = reason
        self.recheck = recheck


class Cause(msgspec.Struct, gc=False):
    """One complaint of a Status."""

    field: str = ""
    message: str = ""
    reason: str = ""


class Details(msgspec.Struct, rename="camel", gc=False):
    """What a Status is about."""

    name: str = ""
    kind: str = ""
    causes: list[Cause] = []
    retry_after_seconds: int = 0


class Status(msgspec.Struct, gc=False):
    """The API server's own form of an error."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: Details | None = None


STATUS = msgspec.json.Decoder(Status)
TERMINATING = "NamespaceTerminating"
"""What the API server calls its refusal to make anything in a namespace that is being deleted."""


def parse_status(body: bytes) -> Status:
    """The Status in an answer; what is not one (a proxy's page) becomes a message of limited length."""
    try:
        return STATUS.decode(body)
    except msgspec.MsgspecError:
        return Status(message=body[:200].decode("utf-8", "replace").strip())


def error_from(code: int, body: bytes, what: str, *, secret: bool = False) -> LibreshError:
    """The error for an answer of `code` >= 400 to `what` (a phrase such as "apply Secret acme/db").

    With `secret` the server's words are left out: they may quote values.
    """
    status = parse_status(body)
    causes = status.details.causes if status.details else []
    fields = tuple(dict.fromkeys(cause.field for cause in causes if cause.field))
    said = status.message
    if secret:
        said = ", ".join(filter(None, (status.reason, *fields))) or "no reason that may be shown"
    message = f"The API server could not {what}: {said or f'HTTP {code}'}"
    match code:
        case 404:
            return NotFound("not-found", message)
        case 409 if status.reason == "AlreadyExists":
            return AlreadyExists("already-exists", message)
        case 409:
            return Conflict("conflict", message)
        case 410:
            return Expired("expired", message)
        case 401:
            return Unauthorized("unauthorized", message, "check the credentials of this client")
        case 403 if any(cause.reason == TERMINATING for cause in causes):
            return Pending(TERMINATING, f"{message}: what is in it goes with it")
        case 408 | 429 | 500 | 502 | 503 | 504:
            return Unavailable("api-unavailable", message)
    return Refused(message, code=code, fields=fields)
