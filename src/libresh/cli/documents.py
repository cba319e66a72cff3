"""Manifests somebody wrote: YAML documents as JSON values, whatever the text is. Pure.

What cannot be read is a document too, and says why: one broken file must not hide what is wrong in the others. The text
itself is never quoted, as a file may hold Secrets.
"""

from dataclasses import dataclass
from typing import Any

import yaml
from yaml.composer import ComposerError

LIMIT = 1 << 20
"""The largest file in bytes: manifests are smaller, and a larger one would keep the reader busy for long."""
NODES = 50_000
"""The most values a file may hold, and the most a document may once its aliases are written out."""

SUFFIXES = ("str", "int", "float", "bool", "null", "map", "seq")
"""YAML's types that JSON has as well."""


@dataclass(frozen=True)
class Document:
    """One document of one file. `broken` says why there is no content."""

    source: str
    place: str
    content: Any = None
    broken: str = ""
    way_out: str = ""


class TooMuch(Exception):
    """More values than a manifest has."""


class Loader(yaml.SafeLoader):
    """Reads what an API server would understand: JSON's types, dates as text, and no key twice."""

    yaml_constructors = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in SUFFIXES
    }
    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    composed = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Stops early at a file that would take long and cannot be a manifest."""
        self.composed += 1
        if self.composed > NODES:
            raise TooMuch
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Here, before merge keys are written out: of two equal keys one would be lost without a word."""
        node = super().compose_mapping_node(anchor)
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    raise ComposerError(None, None, f"{key.value[:64]!r} stands twice in one map", key.start_mark)
                keys.add(key.value)
        return node


def read(source: str, data: bytes) -> tuple[Document, ...]:
    """Every document of a file. Empty ones are left out; the items of a List are documents of their own."""
    if len(data) > LIMIT:
        return (
            broken(source, 1, f"it is larger than {LIMIT >> 20} MiB", "split it, or leave out what is no manifest"),
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return (broken(source, 1, "it is not text in UTF-8", "name a YAML or JSON file"),)
    found = read_text(source, text)
    return found or (broken(source, 1, "there is no object in it", "name a file with manifests"),)


def read_text(source: str, text: str) -> tuple[Document, ...]:
    """The documents of a text, up to the first one that cannot be read."""
    found: list[Document] = []
    number = 1
    try:
        loader = Loader(text)
        while loader.check_node():
            node = loader.get_node()
            assert node is not None
            if size_of(node, {}) > NODES:
                raise TooMuch
            found += unrolled(source, number, loader.construct_document(node))
            number += 1
    except yaml.YAMLError as error:
        found.append(broken(source, number, f"it is not YAML{said(error)}", "correct it there"))
    except TooMuch:
        found.append(broken(source, number, f"it holds more than {NODES} values", "leave out what is no manifest"))
    except RecursionError:
        found.append(broken(source, number, "it is nested too deeply, or refers to itself", "write it out"))
    except (ValueError, LookupError, OverflowError):
        why = "a value in it does not fit its own YAML type"
        found.append(broken(source, number, why, "write numbers as numbers, and text in quotes"))
    return tuple(found)


def unrolled(source: str, number: int, content: Any) -> list[Document]:
    """One document; or, of a List as kubectl prints it, each of its items."""
    place = f"document {number}"
    if content is None:
        return []
    items = content.get("items") if isinstance(content, dict) and content.get("kind") == "List" else None
    if not isinstance(items, list):
        return [Document(source, place, content)]
    return [Document(source, f"{place}, item {index}", item) for index, item in enumerate(items, 1)]


def broken(source: str, number: int, why: str, way_out: str) -> Document:
    return Document(source, f"document {number}", broken=why, way_out=way_out)


def said(error: yaml.YAMLError) -> str:
    """Where and what the parser stumbled over; the text around it stays untold."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return ": it has characters that YAML does not allow"
    mark = error.problem_mark
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{where}: {error.problem or error.context}"


def size_of(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node holds with its aliases written out, without writing them out."""
    if id(node) in known:
        if not known[id(node)]:
            raise RecursionError  # it is part of itself
        return known[id(node)]
    known[id(node)] = 0
    size = 1
    if isinstance(node, yaml.SequenceNode):
        size += sum(size_of(item, known) for item in node.value)
    elif isinstance(node, yaml.MappingNode):
        size += sum(size_of(key, known) + size_of(value, known) for key, value in node.value)
    known[id(node)] = size
    return size
