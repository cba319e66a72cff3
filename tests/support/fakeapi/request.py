"""A request, where it points, and what was counted and journalled of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .kinds import Kind


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, without the transport."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "application/json").partition(";")[0].strip()

    @property
    def partial(self) -> bool:
        """Whether only metadata is asked for."""
        return "as=PartialObjectMetadata" in self.headers.get("Accept", "")

    @property
    def lists(self) -> bool:
        """Whether only lists of metadata are asked for, with nothing else accepted."""
        return "as=PartialObjectMetadataList" in self.headers.get("Accept", "").partition(",")[0]

    @property
    def manager(self) -> str:
        """The field manager: named, or the program's name from the user agent."""
        return self.query.get("fieldManager") or self.headers.get("User-Agent", "unknown").partition("/")[0]

    @property
    def strict(self) -> bool:
        return self.query.get("fieldValidation") == "Strict"

    @property
    def dry(self) -> bool:
        return self.query.get("dryRun") == "All"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path of the API names."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def verb(self, request: Request) -> str:
        """The verb as RBAC and audit logs know it."""
        if request.method == "GET":
            if request.query.get("watch") in ("1", "true"):
                return "watch"
            return "get" if self.name else "list"
        if request.method == "PATCH":
            return "apply" if "apply-patch" in request.content_type else "patch"
        if request.method == "DELETE":
            return "delete" if self.name else "deletecollection"
        return {"POST": "create", "PUT": "update"}.get(request.method, request.method.lower())


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered at once."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Write:
    """One accepted write. `changed` is False where the object already was as asked: nothing was stored."""

    verb: str
    kind: str
    namespace: str
    name: str
    subresource: str
    manager: str
    resource_version: int
    changed: bool

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        door = f"/{self.subresource}" if self.subresource else ""
        return f"{self.verb} {self.kind} {place}{door}{'' if self.changed else ' (no change)'}"


__all__ = ["Answer", "Request", "Target", "Write"]
