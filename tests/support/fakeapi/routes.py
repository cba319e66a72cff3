"""From paths to kinds, and the few answers that are no objects: version, health, discovery."""

from typing import TYPE_CHECKING

from .errors import Refusal, not_found
from .kinds import Kind
from .request import Answer, Request, Target
from .store import ENCODE

if TYPE_CHECKING:
    from .api import FakeApi

JSON = {"Content-Type": "application/json"}
VERSION = {"major": "1", "minor": "36", "gitVersion": "v1.36.3+fake", "platform": "fake"}


class NoSuchGroup(Exception):
    """The server knows nothing under this path: it answers in plain text."""


def missing() -> Refusal:
    """No such resource in a group that is served."""
    return Refusal(404, "NotFound", "the server could not find the requested resource", {})


def find_target(api: "FakeApi", request: Request) -> Target:
    """What the path names."""
    parts = request.path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        api_version, rest = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        api_version, rest = f"{parts[1]}/{parts[2]}", parts[3:]
    else:
        raise NoSuchGroup
    if all(kind.api_version != api_version for kind in api.kinds.values()):
        raise NoSuchGroup
    if rest[0] == "namespaces" and len(rest) > 2 and (kind := find_kind(api, api_version, rest[2])):
        if not kind.namespaced:
            raise missing()
        return finish(kind, rest[1], rest[3:])
    kind = find_kind(api, api_version, rest[0])
    if kind is None:
        raise missing()
    if kind.namespaced and len(rest) > 1:
        raise missing()
    return finish(kind, "", rest[1:])


def finish(kind: Kind, namespace: str, rest: list[str]) -> Target:
    """The name and the door."""
    name = rest[0] if rest else ""
    door = rest[1] if len(rest) > 1 else ""
    if door == "status" and not kind.status and kind.custom:
        raise not_found(kind.plural, kind.group, name)
    if len(rest) > 2 or (door == "status" and not kind.status) or door not in ("", "status"):
        raise missing()
    return Target(kind, namespace, name, door)


def find_kind(api: "FakeApi", api_version: str, plural: str) -> Kind | None:
    """The kind of a collection."""
    for kind in api.kinds.values():
        if kind.plural == plural and kind.api_version == api_version:
            return kind
    return None


def virtual(api: "FakeApi", request: Request) -> Answer | None:
    """Answers about the server itself."""
    path = request.path.rstrip("/")
    if path == "/version":
        return Answer(200, ENCODE(VERSION), JSON)
    if path in ("/healthz", "/livez", "/readyz"):
        return Answer(200, b"ok", {"Content-Type": "text/plain"})
    if path == "/api":
        return Answer(200, ENCODE({"kind": "APIVersions", "versions": ["v1"]}), JSON)
    if path == "/apis":
        return Answer(200, ENCODE(groups(api)), JSON)
    version = path.removeprefix("/apis/").removeprefix("/api/")
    found = [kind for kind in api.kinds.values() if kind.api_version == version]
    return Answer(200, ENCODE(resources(version, found)), JSON) if found else None


def groups(api: "FakeApi") -> dict[str, object]:
    """The list of API groups."""
    versions: dict[str, list[dict[str, str]]] = {}
    for kind in api.kinds.values():
        entry = {"groupVersion": kind.api_version, "version": kind.version}
        if kind.group and entry not in versions.setdefault(kind.group, []):
            versions[kind.group].append(entry)
    found = [{"name": name, "versions": entries, "preferredVersion": entries[0]} for name, entries in versions.items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def resources(version: str, kinds: list[Kind]) -> dict[str, object]:
    """What one version of a group serves."""
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    found = []
    for kind in kinds:
        entry = {
            "name": kind.plural,
            "singularName": kind.kind.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.kind,
        }
        found.append({**entry, "verbs": verbs})
        if kind.status:
            found.append(
                {**entry, "name": f"{kind.plural}/status", "singularName": "", "verbs": ["get", "patch", "update"]}
            )
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": found}


__all__ = ["NoSuchGroup", "find_target", "virtual"]
