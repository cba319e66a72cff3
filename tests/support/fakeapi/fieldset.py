"""Sets of field paths, as metadata.managedFields writes them (FieldsV1).

A path is a tuple of elements in their written form: `f:name`, `k:{"name":"x"}`, `v:"value"`.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

sorted_json = msgspec.json.Encoder(order="sorted").encode

Path = tuple[str, ...]


class FieldSet:
    """A set of paths as a tree: `members` end here, `children` go on."""

    __slots__ = ("children", "members")

    def __init__(self, members: set[str] | None = None, children: "dict[str, FieldSet] | None" = None) -> None:
        self.members: set[str] = members if members is not None else set()
        self.children: dict[str, FieldSet] = children if children is not None else {}

    def __bool__(self) -> bool:
        return bool(self.members) or any(self.children.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSet) and set(self) == set(other)

    def __iter__(self) -> Iterator[Path]:
        for element in sorted(self.members, key=order):
            yield (element,)
        for element in sorted(self.children, key=order):
            for rest in self.children[element]:
                yield (element, *rest)

    def __contains__(self, path: Path) -> bool:
        *parents, last = path
        here: FieldSet | None = self
        for element in parents:
            here = here.children.get(element) if here else None
        return here is not None and last in here.members

    def insert(self, path: Path) -> None:
        """Adds one path. The root itself is no path."""
        if not path:
            return
        here = self
        for element in path[:-1]:
            here = here.children.setdefault(element, FieldSet())
        here.members.add(path[-1])

    def union(self, other: "FieldSet") -> "FieldSet":
        """What is in either."""
        children = dict(self.children)
        for element, child in other.children.items():
            mine = children.get(element)
            children[element] = mine.union(child) if mine else child
        return FieldSet(self.members | other.members, children)

    def intersection(self, other: "FieldSet") -> "FieldSet":
        """What is in both."""
        children = {}
        for element in self.children.keys() & other.children.keys():
            if common := self.children[element].intersection(other.children[element]):
                children[element] = common
        return FieldSet(self.members & other.members, children)

    def difference(self, other: "FieldSet") -> "FieldSet":
        """What is here and not in `other`, path by path: a path in `other` does not take what lies below it."""
        children = {}
        for element, child in self.children.items():
            theirs = other.children.get(element)
            if left := child.difference(theirs) if theirs else child:
                children[element] = left
        return FieldSet(self.members - other.members, children)

    def without(self, other: "FieldSet") -> "FieldSet":
        """What is here and not in `other` nor below a path of `other`."""
        children = {}
        for element, child in self.children.items():
            if element in other.members:
                continue
            theirs = other.children.get(element)
            if left := child.without(theirs) if theirs else child:
                children[element] = left
        return FieldSet(self.members - other.members, children)

    def encode(self) -> dict[str, Any]:
        """The FieldsV1 form."""
        encoded: dict[str, Any] = {}
        for element in sorted(self.members | self.children.keys(), key=order):
            child = self.children.get(element)
            below = child.encode() if child else {}
            encoded[element] = {".": {}, **below} if below and element in self.members else below
        return {element: below for element, below in encoded.items() if below or element in self.members}

    @classmethod
    def decode(cls, encoded: dict[str, Any]) -> "FieldSet":
        """Reads the FieldsV1 form."""
        found = cls()
        for element, below in encoded.items():
            if element == ".":
                continue
            if not below or "." in below:
                found.members.add(element)
            if any(key != "." for key in below):
                found.children[element] = cls.decode(below)
        return found


def order(element: str) -> tuple[int, str]:
    """Fields first, then keyed items, values, positions."""
    return ("fkvi".index(element[0]), element)


def canonical(value: Any) -> str:
    """A value as it stands in a path element."""
    return sorted_json(value).decode()


def printed(path: Path) -> str:
    """A path as the server's messages print it: `.spec.containers[name="x"].image`."""
    text = ""
    for element in path:
        sort, rest = element[0], element[2:]
        if sort == "f":
            text += f".{rest}"
        elif sort == "k":
            text += "[" + ",".join(f"{k}={canonical(v)}" for k, v in sorted(json.loads(rest).items())) + "]"
        elif sort == "v":
            text += f"[={rest}]"
        else:
            text += f"[{rest}]"
    return text


__all__ = ["FieldSet", "Path", "canonical", "order", "printed"]
