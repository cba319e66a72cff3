"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from typing import Any

from .schema import copied
from .typed import equal


class Unpatchable(ValueError):
    """The patch does not fit the object."""


def merge_patch(target: Any, patch: Any) -> Any:
    """`target` after the merge patch: null removes."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def pointer(path: str) -> list[str]:
    """The parts of a JSON pointer."""
    if path and not path.startswith("/"):
        raise Unpatchable(f"not a JSON pointer: {path}")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def locate(document: Any, parts: list[str], path: str) -> Any:
    """The value at a pointer."""
    for part in parts:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            raise Unpatchable(f"doc is missing path: {path}: missing value")
    return document


def add(document: Any, path: str, value: Any) -> Any:
    """The `add` operation."""
    if not path:
        return value
    *parents, last = pointer(path)
    parent = locate(document, parents, path)
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and (last == "-" or (last.isdigit() and int(last) <= len(parent))):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        raise Unpatchable(f"add operation does not apply: doc is missing path: {path!r}: missing value")
    return document


def take(document: Any, path: str, operation: str) -> Any:
    """Removes and returns what is at `path`."""
    *parents, last = pointer(path)
    try:
        parent = locate(document, parents, path)
        return parent.pop(int(last)) if isinstance(parent, list) else parent.pop(last)
    except (Unpatchable, KeyError, IndexError, ValueError) as error:
        raise Unpatchable(f"{operation} operation does not apply: doc is missing key: {path}: missing value") from error


def json_patch(target: Any, operations: list[dict[str, Any]]) -> Any:
    """`target` after all operations, or Unpatchable."""
    document = copied(target)
    for operation in operations:
        document = operate(document, operation)
    return document


def operate(document: Any, operation: dict[str, Any]) -> Any:
    """One operation of a JSON patch."""
    name, path = operation.get("op"), operation.get("path", "")
    if name == "test":
        if not equal(locate(document, pointer(path), path), operation.get("value")):
            raise Unpatchable(f"testing value {path} failed: test failed")
        return document
    if name == "add":
        return add(document, path, copied(operation.get("value")))
    if name == "remove":
        take(document, path, "remove")
        return document
    if name == "replace":
        take(document, path, "replace")
        return add(document, path, copied(operation.get("value")))
    if name == "move":
        return add(document, path, take(document, operation["from"], "move"))
    if name == "copy":
        return add(document, path, copied(locate(document, pointer(operation["from"]), operation["from"])))
    raise Unpatchable(f"unexpected kind: {name}")


__all__ = ["Unpatchable", "json_patch", "merge_patch"]
