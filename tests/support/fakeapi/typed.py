"""The algebra of server-side apply on typed values, after Kubernetes' structured-merge-diff: which fields a value
has, how two values differ, merging, and taking fields away."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from .fieldset import FieldSet, Path, canonical, printed
from .schema import ANY, DEDUCED, LIST, MAP, UNTYPED, Node

sorted_json = msgspec.json.Encoder(order="sorted").encode


class Missing:
    """Stands for a value that is not there (null is there)."""


MISSING: Final = Missing()


class Untypable(ValueError):
    """The value does not fit the schema, for example a keyed list's item without its key."""


def shape(node: Node | None, value: Any) -> str:
    """Whether the value is looked at as a map, a list or a leaf."""
    if node is None:
        node = DEDUCED
    if isinstance(value, dict) and node.form in (MAP, ANY):
        return MAP
    if isinstance(value, list) and node.form in (LIST, ANY):
        return LIST
    if value is None and node.form in (MAP, LIST):
        return node.form
    return "scalar"


def is_atomic(node: Node, form: str) -> bool:
    """Whether a map or list is owned as a whole."""
    if form == MAP:
        return node.atomic
    if form == LIST:
        return node.atomic or node.form == ANY
    return True


def element_of(node: Node, item: Any) -> str:
    """The path element of a list's item."""
    if not node.keys:
        return f"v:{canonical(item)}"
    if not isinstance(item, dict):
        raise Untypable(f"associative list with keys may not have non-map elements: {item!r}")
    key = {}
    for name in node.keys:
        value = item.get(name)
        if value is None:
            part = node.element.fields.get(name) if node.element else None
            value = part.raw.get("default") if part else None
        if value is not None:
            key[name] = value
    if not key:
        names = " ".join(f'"{name}"' for name in node.keys)
        raise Untypable(
            f"associative list with keys has an element that omits all key fields [{names}] (and doesn't "
            "have default values for any key fields)"
        )
    return f"k:{canonical(key)}"


def child_of(node: Node, name: str) -> Node:
    """The node below a map; what is not in the schema is taken as it is."""
    if node.form == ANY:
        return UNTYPED if node is UNTYPED else DEDUCED
    return node.child(name) or DEDUCED


def item_of(node: Node) -> Node:
    """The node of a list's items."""
    return node.element or UNTYPED


def misfits(node: Node, value: Any, path: str = "") -> list[str]:
    """Why a value cannot be applied: unknown fields, wrong types, list items that cannot be told apart."""
    if value is None:
        return []
    if node.form == MAP:
        if not isinstance(value, dict):
            return [f"{path}: expected map, got {shown(value)}"]
        found = []
        for name, part in value.items():
            child = node.child(name)
            if child is None:
                found.append(f"{path}.{name}: field not declared in schema")
            else:
                found += misfits(child, part, f"{path}.{name}")
        return found
    if node.form == LIST:
        return list_misfits(node, value, path)
    wanted = node.raw.get("type")
    if node.form == "scalar" and isinstance(value, (dict, list)):
        return [f"{path}: expected {'numeric' if wanted in ('integer', 'number') else wanted}, got {shown(value)}"]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted == "string" and not isinstance(value, str) and not node.raw.get("format"):
        return [f"{path}: expected string, got {shown(value)}"]
    if wanted in ("integer", "number") and not number:
        return [f"{path}: expected numeric (int or float), got {shown(value)}"]
    if wanted == "boolean" and not isinstance(value, bool):
        return [f"{path}: expected boolean, got {shown(value)}"]
    return []


def shown(value: Any) -> str:
    """A value as the server's own words print it."""
    text = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
    return f"&value.valueUnstructured{{Value:{text}}}"


def list_misfits(node: Node, value: Any, path: str) -> list[str]:
    """The part of `misfits` for lists."""
    if not isinstance(value, list):
        return [f"{path}: expected list, got {shown(value)}"]
    found, seen = [], set()
    for index, item in enumerate(value):
        place = f"{path}[{index}]"
        if not node.atomic:
            try:
                element = element_of(node, item)
            except Untypable as error:
                return [f"{path}: element {index}: {error}"]
            place = f"{path}{printed((element,))}"
            if element in seen:
                found.append(f"{path}: duplicate entries for key {printed((element,))}")
            seen.add(element)
        found += misfits(item_of(node), item, place)
    return found


def fields_of(node: Node, value: Any, path: Path = (), found: FieldSet | None = None) -> FieldSet:
    """Every field a value speaks of."""
    found = FieldSet() if found is None else found
    form = shape(node, value)
    if is_atomic(node, form):
        found.insert(path)
    elif form == MAP:
        for name, part in (value or {}).items():
            below = (*path, f"f:{name}")
            fields_of(child_of(node, name), part, below, found)
            if part is None or part == {} or name not in node.fields:
                found.insert(below)
    elif form == LIST:
        for item in value or ():
            below = (*path, element_of(node, item))
            fields_of(item_of(node), item, below, found)
            found.insert(below)
    return found


@dataclass(slots=True)
class Comparison:
    """What differs between an old and a new value."""

    removed: FieldSet = field(default_factory=FieldSet)
    modified: FieldSet = field(default_factory=FieldSet)
    added: FieldSet = field(default_factory=FieldSet)


def compare(node: Node, old: Any, new: Any, path: Path = (), into: Comparison | None = None) -> Comparison:
    """The fields that went, changed and came between two values."""
    into = Comparison() if into is None else into
    if old is not MISSING and new is not MISSING and equal(old, new):
        return into
    forms = {shape(node, value) for value in (old, new) if value is not MISSING}
    if None in (old, new) and MAP in forms:
        # Null takes the form of what stands on the other side, if that is a map.
        forms = {MAP}
    if len(forms) > 1:
        return compare_unlike(node, old, new, path, into)
    (form,) = forms
    empty = old in (MISSING, None, {}, []) and new in (MISSING, None, {}, [])
    if is_atomic(node, form) or empty:
        mark(into, old, new, path)
        return into
    if form == MAP:
        compare_maps(node, old, new, path, into)
    else:
        compare_lists(node, old, new, path, into)
    if old is MISSING:
        into.added.insert(path)
    elif new is MISSING:
        into.removed.insert(path)
    return into


def compare_unlike(node: Node, old: Any, new: Any, path: Path, into: Comparison) -> Comparison:
    """The part of `compare` for a map that became something else, or the other way round."""
    left, right = (value if isinstance(value, dict) and not node.atomic else {} for value in (old, new))
    compare_maps(node, left, right, path, into)
    into.modified.insert(path)
    return into


def mark(into: Comparison, old: Any, new: Any, path: Path) -> None:
    """Notes a leaf that differs."""
    if old is MISSING:
        into.added.insert(path)
    elif new is MISSING:
        into.removed.insert(path)
    else:
        into.modified.insert(path)


def present(value: Any) -> Any:
    """A map or list, or nothing."""
    return () if value is MISSING or value is None else value


def compare_maps(node: Node, old: Any, new: Any, path: Path, into: Comparison) -> None:
    """The part of `compare` for maps."""
    before, after = dict(present(old)), dict(present(new))
    for name in before.keys() | after.keys():
        left, right = before.get(name, MISSING), after.get(name, MISSING)
        compare(child_of(node, name), left, right, (*path, f"f:{name}"), into)


def compare_lists(node: Node, old: Any, new: Any, path: Path, into: Comparison) -> None:
    """The part of `compare` for associative lists. Duplicates are not told apart."""
    before = {element_of(node, item): item for item in present(old)}
    after = {element_of(node, item): item for item in present(new)}
    for element in before.keys() | after.keys():
        left, right = before.get(element, MISSING), after.get(element, MISSING)
        compare(item_of(node), left, right, (*path, element), into)


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON, where true is not 1."""
    if left != right:
        return False
    if not isinstance(left, (dict, list)):
        return isinstance(left, bool) == isinstance(right, bool)
    return sorted_json(left) == sorted_json(right) or deeply_equal(left, right)


def deeply_equal(left: Any, right: Any) -> bool:
    """As `equal`, for values that Python calls equal but JSON writes differently (1 and 1.0, 1 and true)."""
    if isinstance(left, dict) and isinstance(right, dict):
        return all(equal(part, right[key]) for key, part in left.items())
    return all(equal(a, b) for a, b in zip(left, right, strict=True))


def merge(node: Node, left: Any, right: Any) -> Any:
    """`left` with what `right` says; lists keyed by the schema are merged item by item."""
    if right is MISSING:
        return left
    if left is MISSING:
        return right
    form = shape(node, right)
    if shape(node, left) != form or is_atomic(node, form) or not (left or right):
        return right
    if form == MAP:
        left, right = dict(present(left)), dict(present(right))
        return {
            name: merge(child_of(node, name), left.get(name, MISSING), right.get(name, MISSING))
            for name in [*left, *(name for name in right if name not in left)]
        }
    return merge_lists(node, list(present(left)), list(present(right)))


def merge_lists(node: Node, left: list[Any], right: list[Any]) -> list[Any]:
    """The order of `right` wins for what both have; items of `left` alone stay where they stood."""
    ours = {element_of(node, item): item for item in left}
    theirs: dict[str, Any] = {}
    for item in right:
        element = element_of(node, item)
        if element in theirs:
            raise Untypable(f"duplicate entries for key {element}")
        theirs[element] = item
    return [
        merge(item_of(node), ours.get(element, MISSING), theirs.get(element, MISSING))
        for element in merged_order(list(ours), list(theirs))
    ]


def merged_order(left: list[str], right: list[str]) -> list[str]:
    """The order structured-merge-diff puts items in."""
    shared = [element for element in right if element in left]
    merged: list[str] = []
    at_left = at_right = 0
    while at_left < len(left) or at_right < len(right):
        if at_left < len(left) and at_right < len(right):
            element = left[at_left]
            if element == right[at_right]:
                merged.append(element)
                at_left, at_right, shared = at_left + 1, at_right + 1, shared[1:]
                continue
            if element in right and shared and shared[0] != element:
                at_left += 1
                continue
        if at_left < len(left):
            if left[at_left] not in right:
                merged.append(left[at_left])
                at_left += 1
                continue
            if left[at_left] in merged:
                at_left += 1
        if at_right < len(right):
            element = right[at_right]
            merged.append(element)
            at_right += 1
            if shared and shared[0] == element:
                shared = shared[1:]
    return list(dict.fromkeys(merged))


def remove(node: Node, value: Any, gone: FieldSet) -> Any:
    """`value` without the fields in `gone`; MISSING when nothing is left."""
    form = shape(node, value)
    if form == "scalar":
        return value
    if not value or is_atomic(node, form):
        return MISSING
    if form == MAP:
        kept = {}
        for name, part in value.items():
            element = f"f:{name}"
            if element in gone.members:
                continue
            below = gone.children.get(element)
            kept[name] = orphaned(remove(child_of(node, name), part, below)) if below else part
        return kept or MISSING
    items = []
    for item in value:
        element = element_of(node, item)
        if element in gone.members:
            continue
        below = gone.children.get(element)
        items.append(orphaned(remove(item_of(node), item, below)) if below else item)
    return items or MISSING


def orphaned(value: Any) -> Any:
    """What stands where everything below was taken away: null."""
    return None if value is MISSING else value


def with_named(node: Node | None, paths: FieldSet) -> FieldSet:
    """`paths` with every named field on the way made a member."""
    node = node or DEDUCED
    members = set(paths.members)
    children = {}
    for element, child in paths.children.items():
        if element[0] == "f":
            if element[2:] in node.fields:
                members.add(element)
            below: Node | None = child_of(node, element[2:])
        else:
            below = item_of(node) if element[0] == "k" else None
        children[element] = with_named(below, child)
    return FieldSet(members, children)


__all__ = [
    "MISSING",
    "Comparison",
    "Untypable",
    "compare",
    "equal",
    "fields_of",
    "merge",
    "misfits",
    "remove",
    "with_named",
]
