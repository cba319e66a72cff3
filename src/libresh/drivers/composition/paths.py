"""Field paths: where in an object a value is, as Crossplane writes it.

`metadata.name`, `spec.items[0].name`, `metadata.labels["crossplane.io/claim-name"]`, and `[*]` for every element where
a value is written. What is between brackets is an index if it is a number, else a field; quotes around it are taken
off. (crossplane-runtime v2, pkg/fieldpath: fieldpath.go, paved.go, merge.go.)
"""

from copy import deepcopy
from functools import lru_cache
from typing import Any

EVERY = "*"
HIGHEST = 1024
"""The highest index that may be written: one typing error must not fill the memory."""

Segment = str | int
Path = tuple[Segment, ...]


class NotThere(LookupError):
    """The path leads to nothing."""


class BadPath(ValueError):
    """The path cannot be read, or does not fit the object."""


@lru_cache(maxsize=4096)
def parse(text: str) -> Path:
    """The segments of a path."""
    found: list[Segment] = []
    rest = text
    while rest:
        if rest[0] == "[":
            inner, closed, rest = rest[1:].partition("]")
            if not closed or not inner or "[" in inner:
                raise BadPath(f"{text!r} is not a field path: a bracket is not closed, or there is nothing in it")
            found.append(segment(inner))
            if rest[:1] == "." and rest[1:2] in ("", "[", "."):
                raise BadPath(f"{text!r} is not a field path: after a dot comes a name")
            rest = rest.removeprefix(".")
            continue
        end = min((at for at in (rest.find("."), rest.find("[")) if at >= 0), default=len(rest))
        name, after = rest[:end], rest[end:]
        if not name or "]" in name or after == "." or after[:2] in ("..", ".["):
            raise BadPath(f"{text!r} is not a field path: write names with dots between them, such as metadata.name")
        found.append(name.strip("'\""))
        rest = after.removeprefix(".")
    if not found or not isinstance(found[0], str):
        raise BadPath(f"{text!r} is not a field path: it begins with the name of a field")
    return tuple(found)


def segment(inner: str) -> Segment:
    """What stands between brackets."""
    if inner.isascii() and inner.isdigit():
        if int(inner) > HIGHEST:
            raise BadPath(f"the index {inner} is too high: {HIGHEST} is the highest")
        return int(inner)
    return inner.strip("'\"")


@lru_cache(maxsize=4096)
def show(path: Path) -> str:
    """The path as text."""
    text = ""
    for each in path:
        if isinstance(each, int):
            text += f"[{each}]"
        elif each == EVERY or not each.replace("-", "").replace("_", "").isalnum():
            text += "[*]" if each == EVERY else f'["{each}"]'
        else:
            text += f".{each}" if text else each
    return text


def get(obj: Any, path: Path) -> Any:
    """The value at a path. NotThere where there is none, BadPath where something else is in the way."""
    here = obj
    for at, each in enumerate(path):
        if isinstance(each, int):
            if not isinstance(here, list):
                raise BadPath(f"{show(path[:at])} is not a list")
            if each >= len(here):
                raise NotThere(show(path[: at + 1]))
            here = here[each]
        else:
            if not isinstance(here, dict):
                raise BadPath(f"{show(path[:at])} is not an object")
            if each not in here:
                raise NotThere(show(path[: at + 1]))
            here = here[each]
    return here


def find(obj: Any, path: Path) -> Any:
    """The value at a path, or None."""
    try:
        return get(obj, path)
    except (NotThere, BadPath):
        return None


def put(obj: dict[str, Any], path: Path, value: Any) -> None:
    """Writes a value, making what is missing on the way. Lists grow as far as needed."""
    here: Any = obj
    for at, each in enumerate(path):
        final = at == len(path) - 1
        if isinstance(each, int):
            if not isinstance(here, list):
                raise BadPath(f"{show(path[:at])} is not a list")
            here.extend([None] * (each + 1 - len(here)))
            present = here[each]
        else:
            if not isinstance(here, dict):
                raise BadPath(f"{show(path[:at])} is not an object")
            present = here.get(each)
        if final:
            here[each] = deepcopy(value)
            return
        if present is None:
            present = here[each] = [] if isinstance(path[at + 1], int) else {}
        here = present


def expand(obj: Any, path: Path) -> list[Path]:
    """The paths that a path with `[*]` stands for; none where there is nothing to stand for."""
    for at, each in enumerate(path):
        if each != EVERY:
            continue
        inside = find(obj, path[:at])
        keys: list[Segment] = []
        if isinstance(inside, list):
            keys = list(range(len(inside)))
        elif isinstance(inside, dict):
            keys = sorted(inside)
        return [found for key in keys for found in expand(obj, (*path[:at], key, *path[at + 1 :]))]
    return [path]


def merge(old: Any, new: Any, *, keep: bool, append: bool) -> Any:
    """`new` merged into `old`: objects key by key; `keep` leaves what is there, `append` joins lists.

    What is empty counts as absent on both sides (crossplane-runtime merges with mergo, which does so).
    """
    if isinstance(old, dict) and isinstance(new, dict):
        merged = {key: merge(old[key], value, keep=keep, append=append) for key, value in new.items() if key in old}
        return {**old, **merged, **{key: value for key, value in new.items() if key not in old}}
    if append and isinstance(old, list) and isinstance(new, list):
        return [*old, *(item for item in new if item not in old)]
    first, second = (old, new) if keep else (new, old)
    return second if is_empty(first) else first


def is_empty(value: Any) -> bool:
    return value is None or value is False or value == "" or value == 0 or value == [] or value == {}
