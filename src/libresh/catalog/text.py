"""Configuration files as values: nested data in which some leaves are secrets that only the performer will know."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from libresh.plan.actions import SecretKey, Template

PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_./@-]*(?:://?[A-Za-z0-9_./@-]+)?")
"""Text that means itself in YAML without quotes, but for the words below."""
WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON may hold and YAML may not."""
NAME = re.compile(r"[^A-Za-z0-9]")


@dataclass(frozen=True)
class Hidden:
    """A leaf whose value is in a Secret: a key of the same Secret (a str), or another's. `number`, `truth`: read it as
    a number, as true or false."""

    source: str | SecretKey
    number: bool = False
    truth: bool = False


def build_yaml(data: Mapping[str, Any], head: str = "") -> Template:
    """A YAML file with its secrets left open. `head` is a comment at its top."""
    writer = Writer()
    comment = [f"# {line}" for line in unplaced(head).splitlines()]
    lines = "\n".join([*comment, *writer.mapping(data, "", "")])
    return Template(lines + "\n", writer.values, quote="yaml")


def build_json(data: Mapping[str, Any]) -> str:
    """A JSON file without secrets."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def unplaced(text: str) -> str:
    """Text in which no `${` begins a place."""
    return text.replace("${", "$${")


class Writer:
    """Writes YAML in block style: what PyYAML takes a hundred times as long for, in every pass of every object."""

    def __init__(self) -> None:
        self.values: dict[str, str | SecretKey] = {}

    def mapping(self, data: Mapping[str, Any], indent: str, path: str) -> Iterator[str]:
        for key, value in data.items():
            yield from self.entry(f"{indent}{scalar(key)}:", value, indent + "  ", f"{path}_{key}" if path else key)

    def sequence(self, data: Sequence[Any], indent: str, path: str) -> Iterator[str]:
        for index, value in enumerate(data):
            inner = list(self.entry("", value, indent + "  ", f"{path}_{index}"))
            first = inner[0].strip() or inner[1].strip()
            yield f"{indent}- {first}"
            yield from inner[1 if inner[0].strip() else 2 :]

    def entry(self, lead: str, value: Any, indent: str, path: str) -> Iterator[str]:
        """What follows a key or a dash."""
        match value:
            case Mapping() if value:
                yield lead
                yield from self.mapping(value, indent, path)
            case list() | tuple() if value:
                yield lead
                yield from self.sequence(value, indent, path)
            case Hidden():
                yield f"{lead} {self.place(value, path)}"
            case _:
                yield f"{lead} {scalar(value)}"

    def place(self, hidden: Hidden, path: str) -> str:
        """Where a value is filled in; it comes quoted, which a tag undoes for what is no text."""
        name = NAME.sub("_", path)
        self.values[name] = hidden.source
        tag = "!!int " if hidden.number else "!!bool " if hidden.truth else ""
        return f"{tag}${{{name}}}"


def scalar(value: Any) -> str:
    """A leaf, or an empty collection, as YAML (of which JSON is a part)."""
    match value:
        case str():
            return text(value)
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case None:
            return "null"
        case {} | [] | () if not value:
            return "{}" if isinstance(value, Mapping) else "[]"
    raise TypeError(f"{value!r} cannot be written as YAML")


@lru_cache(maxsize=4096)
def text(value: str) -> str:
    """Text as YAML: bare where that means the same. Most of it is the same for every instance."""
    if PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return unplaced(UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False)))
