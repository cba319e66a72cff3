"""Configuration files as values: nested data in which some leaves are secrets that only the performer will know."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from libresh.plan.actions import SecretKey, Template

Leaf = str | int | float | bool | None
PLACEHOLDER = "${%s}"


@dataclass(frozen=True)
class Hidden:
    """A leaf whose value is in a Secret: a key of the same Secret (a str), or another's. `number`: read it as one."""

    source: str | SecretKey
    number: bool = False


class Writer(yaml.SafeDumper):
    """Writes YAML without anchors, indenting lists, and `Slot`s bare."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


class Slot(str):
    """A place in the text where a quoted value will be put."""


class NumberSlot(Slot):
    """The same, for a number: the quotes are undone by a YAML tag."""


def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Plain text, in which `${` must not begin a placeholder. Text of several lines reads best as a block."""
    safe = text.replace("${", "$${")
    return dumper.represent_scalar("tag:yaml.org,2002:str", safe, style="|" if "\n" in safe else None)


def represent_slot(dumper: yaml.SafeDumper, slot: Slot) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(slot))


Writer.add_representer(str, represent_text)
Writer.add_representer(Slot, represent_slot)
Writer.add_representer(NumberSlot, represent_slot)

NUMBER_MARK = "libresh-number:"
NUMBER = re.compile(rf"'?{NUMBER_MARK}(\$\{{[A-Za-z0-9_]+\}})'?")


def build_yaml(data: Mapping[str, Any], head: str = "") -> Template:
    """A YAML file with its secrets left open."""
    values: dict[str, str | SecretKey] = {}
    text = yaml.dump(open_slots(data, (), values), Dumper=Writer, sort_keys=False, width=10**6, allow_unicode=True)
    text = NUMBER.sub(r"!!int \1", text)
    comment = "".join(f"# {line}\n" for line in head.replace("${", "$${").splitlines())
    return Template(comment + text, values, quote="yaml")


def build_json(data: Mapping[str, Any]) -> str:
    """A JSON file without secrets."""
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def open_slots(data: Any, path: tuple[str, ...], values: dict[str, str | SecretKey]) -> Any:
    """The same data with each `Hidden` leaf turned into a named slot, noted in `values`."""
    match data:
        case Hidden(source=source, number=number):
            name = "_".join(re.sub(r"[^A-Za-z0-9]", "_", step) for step in path)
            values[name] = source
            return NumberSlot(NUMBER_MARK + PLACEHOLDER % name) if number else Slot(PLACEHOLDER % name)
        case Mapping():
            return {key: open_slots(value, (*path, str(key)), values) for key, value in data.items()}
        case list() | tuple():
            return [open_slots(value, (*path, str(index)), values) for index, value in enumerate(data)]
        case _:
            return data
