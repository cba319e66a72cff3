"""Refusals of the API server, as the Status objects it answers with."""

from typing import Any

from .schema import Complaint


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            found["reason"] = self.reason
        if self.details is not None:
            found["details"] = self.details
        return {**found, "code": self.code}


def qualified(plural: str, group: str) -> str:
    """`deployments.apps`."""
    return f"{plural}.{group}" if group else plural


def about(kind: str, group: str, name: str, **more: Any) -> dict[str, Any]:
    """The details of a Status."""
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = kind
    return details | more


def not_found(plural: str, group: str, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{qualified(plural, group)} "{name}" not found', about(plural, group, name))


def exists(plural: str, group: str, name: str, *, ending: bool = False) -> Refusal:
    message = f'{qualified(plural, group)} "{name}" already exists'
    if ending:
        message = f"object is being deleted: {message}"
    return Refusal(409, "AlreadyExists", message, about(plural, group, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(plural: str, group: str, name: str, why: str = MODIFIED) -> Refusal:
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return Refusal(409, "Conflict", message, about(plural, group, name))


def unlike(kind: str, group: str, name: str, what: str, asked: str, found: str) -> Refusal:
    """A delete's precondition does not hold."""
    guess = {"UID": "deleted and then recreated", "ResourceVersion": "modified"}[what]
    why = (
        f"the {what} in the precondition ({asked}) does not match the {what} in record ({found}). "
        f"The object might have been {guess}"
    )
    return conflict(kind, group, name, why)


def untyped(message: str) -> Refusal:
    """An apply whose body does not fit the schema."""
    return Refusal(500, "", message)


def not_acceptable(message: str) -> Refusal:
    return Refusal(406, "NotAcceptable", message)


def invalid(kind: str, group: str, name: str, complaints: list[Complaint]) -> Refusal:
    texts = list(dict.fromkeys(f"{complaint.field}: {complaint.message}" for complaint in complaints))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes = [{"reason": c.reason, "message": c.message, "field": c.field} for c in complaints]
    qualified_kind = f"{kind}.{group}" if group else kind
    return Refusal(
        422, "Invalid", f'{qualified_kind} "{name}" is invalid: {text}', about(kind, group, name, causes=causes)
    )


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def expired(message: str) -> Refusal:
    return Refusal(410, "Expired", message)


def too_many(seconds: int = 1) -> Refusal:
    message = "the server has received too many requests and has asked us to try again later"
    return Refusal(429, "TooManyRequests", message, {"retryAfterSeconds": seconds})


def internal(message: str = "Internal error occurred: injected by a test") -> Refusal:
    return Refusal(500, "InternalError", message, {"causes": [{"message": message}]})


def unauthorized() -> Refusal:
    return Refusal(401, "Unauthorized", "Unauthorized")


def unsupported(content_type: str, plural: str, group: str) -> Refusal:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    )
    return Refusal(415, "UnsupportedMediaType", message, {})


__all__ = [
    "Refusal",
    "about",
    "bad_request",
    "conflict",
    "exists",
    "expired",
    "internal",
    "invalid",
    "not_acceptable",
    "not_found",
    "qualified",
    "too_many",
    "unauthorized",
    "unlike",
    "unsupported",
    "untyped",
]
