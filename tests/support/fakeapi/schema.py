"""What an object of a kind may look like: the shape that server-side apply, pruning and validation go by."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCALAR, MAP, LIST, ANY = "scalar", "map", "list", "any"


@dataclass(eq=False, slots=True)
class Node:
    """One place of a schema. `element` is what unnamed keys (of maps) or items (of lists) are; None: not allowed."""

    form: str = ANY
    fields: dict[str, "Node"] = field(default_factory=dict)
    element: "Node | None" = None
    atomic: bool = False
    keys: tuple[str, ...] = ()
    """Keys of an associative list. Empty and not atomic: a set."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    prune: bool = True

    def child(self, name: str) -> "Node | None":
        return self.fields.get(name, self.element)


UNTYPED = Node(atomic=True)
UNTYPED.element = UNTYPED
DEDUCED = Node()
"""What has no schema: maps are granular, lists atomic."""
DEDUCED.element = DEDUCED


class Reader:
    """Turns OpenAPI schemas into nodes. Definitions may refer to themselves."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self.definitions = definitions
        self.known: dict[str, Node] = {}

    def named(self, name: str) -> Node:
        """The node of a definition."""
        if name not in self.known:
            self.known[name] = node = Node()
            self.fill(node, self.definitions[name])
        return self.known[name]

    def read(self, schema: Mapping[str, Any]) -> Node:
        """The node of an inline schema."""
        if "$ref" in schema:
            base = self.named(schema["$ref"])
            if schema.get("x-kubernetes-map-type") != "atomic" and "default" not in schema:
                return base
            atomic = base.atomic or schema.get("x-kubernetes-map-type") == "atomic"
            return Node(base.form, base.fields, base.element, atomic, base.keys, {**base.raw, **schema}, base.prune)
        node = Node()
        self.fill(node, schema)
        return node

    def fill(self, node: Node, schema: Mapping[str, Any]) -> None:
        """Makes `node` what `schema` says."""
        node.raw = schema
        kind = schema.get("type", "")
        keep = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
            node.form = SCALAR
        elif kind == "array":
            node.form, node.element = LIST, self.read(schema.get("items", {}))
            node.atomic, node.keys = list_relation(schema)
        elif kind == "object":
            self.fill_map(node, schema, keep)
        elif kind:
            node.form = SCALAR
        else:
            node.form, node.element, node.prune = ANY, DEDUCED, False

    def fill_map(self, node: Node, schema: Mapping[str, Any], keep: bool) -> None:
        """The part of `fill` for objects."""
        node.form = MAP
        node.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        node.fields = {name: self.read(part) for name, part in schema.get("properties", {}).items()}
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping):
            node.element = self.read(extra)
        elif extra or keep or (extra is None and not node.fields):
            node.element = DEDUCED
        node.prune = not keep and node.element is None


def list_relation(schema: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether a list is owned as a whole, and the keys its items are told apart by."""
    relation = schema.get("x-kubernetes-list-type")
    if relation == "map":
        return False, tuple(schema["x-kubernetes-list-map-keys"])
    if relation == "set":
        return False, ()
    if relation is None and str(schema.get("x-kubernetes-patch-strategy", "")).startswith("merge"):
        key = schema.get("x-kubernetes-patch-merge-key")
        return False, (key,) if key else ()
    return True, ()


def prune(node: Node | None, value: Any, path: str, unknown: list[str]) -> Any:
    """`value` without fields the schema does not know; their paths go to `unknown`."""
    if node is None or node.form in (SCALAR, ANY):
        return value
    if isinstance(value, dict) and node.form == MAP:
        kept = {}
        for name, part in value.items():
            child = node.child(name)
            if child is None:
                unknown.append(f"{path}.{name}".lstrip("."))
            else:
                kept[name] = prune(child, part, f"{path}.{name}", unknown)
        return kept
    if isinstance(value, list) and node.form == LIST:
        return [prune(node.element, part, f"{path}[{index}]", unknown) for index, part in enumerate(value)]
    return value


def fill_defaults(node: Node | None, value: Any, *, drop: bool = True) -> Any:
    """`value` with the schema's defaults where something is absent.

    Nulls go where null may not stand; without `drop` only those go that have a default (the way of apply, where the
    others are refused later).
    """
    if node is None or value is None:
        return value
    if isinstance(value, dict) and node.form == MAP:
        for name in [name for name, part in value.items() if part is None]:
            child = node.child(name)
            if child is not None and child.raw and not child.raw.get("nullable") and (drop or "default" in child.raw):
                del value[name]
        for name, child in node.fields.items():
            if name not in value and "default" in child.raw:
                value[name] = copied(child.raw["default"])
        for name, part in value.items():
            value[name] = fill_defaults(node.child(name), part, drop=drop)
    elif isinstance(value, list) and node.form == LIST:
        for index, part in enumerate(value):
            value[index] = fill_defaults(node.element, part, drop=drop)
    return value


def copied(value: Any) -> Any:
    """A deep copy of JSON."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [copied(part) for part in value]
    return value


def drop_nulls(value: Any) -> Any:
    """JSON without null members, as a typed decoder reads it."""
    if isinstance(value, dict):
        return {key: drop_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [drop_nulls(part) for part in value]
    return value


def drop_empties(node: Node | None, value: Any) -> Any:
    """A built-in object without empty lists and free maps, as typed objects are written. Empty parts of a fixed shape
    stay (`emptyDir: {}`), and so does what is required."""
    if node is None or node.form not in (MAP, LIST):
        return value
    if isinstance(value, dict) and node.form == MAP:
        required = node.raw.get("required", ())
        kept = {}
        for name, part in value.items():
            child = node.child(name)
            loose = child is not None and (child.form == LIST or (child.form == MAP and not child.fields))
            if part or not loose or name in required or part is None:
                kept[name] = drop_empties(child, part)
        return kept
    if isinstance(value, list) and node.form == LIST:
        return [drop_empties(node.element, part) for part in value]
    return value


PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def json_type(value: Any) -> str:
    """How the server names the type of a value in messages."""
    if value is None:
        return "null"
    for name, types in PYTHON_TYPES.items():
        if isinstance(value, types) and (not isinstance(value, bool) or name == "boolean"):
            return name
    return "unknown"


def mistyped(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value is of another JSON type than the schema wants."""
    wanted = schema.get("type")
    if value is None:
        return bool(wanted) and not schema.get("nullable")
    if schema.get("x-kubernetes-int-or-string"):
        return not isinstance(value, (int, str)) or isinstance(value, bool)
    if wanted not in PYTHON_TYPES:
        return False
    if isinstance(value, bool):
        return bool(wanted != "boolean")
    if wanted == "integer" and isinstance(value, float):
        return not value.is_integer()
    return not isinstance(value, PYTHON_TYPES[wanted])


@dataclass(frozen=True, slots=True)
class Complaint:
    """One reason why an object is invalid."""

    reason: str
    field: str
    message: str


def check(node: Node | None, value: Any, path: str) -> list[Complaint]:
    """What the schema refuses in `value`, the way the API server says it. CEL rules are not evaluated."""
    if node is None or not node.raw:
        return []
    if mistyped(node.raw, value):
        shown = f'"{json_type(value)}"'
        wanted = "integer,string" if node.raw.get("x-kubernetes-int-or-string") else node.raw.get("type")
        text = f"Invalid value: {shown}: {path} in body must be of type {wanted}: {shown}"
        return [Complaint("FieldValueTypeInvalid", path, text)]
    if value is None:
        return []
    found = check_value(node.raw, value, path)
    if isinstance(value, dict):
        for name in node.raw.get("required", ()):
            if name not in value:
                found.append(Complaint("FieldValueRequired", f"{path}.{name}".lstrip("."), "Required value"))
        for name, part in value.items():
            found += check(node.child(name), part, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            found += check(node.element, part, f"{path}[{index}]")
        found += check_unique(node, value, path)
    return found


def check_unique(node: Node, value: list[Any], path: str) -> list[Complaint]:
    """Associative lists hold each key once."""
    if node.atomic:
        return []
    seen: list[Any] = []
    found = []
    for index, item in enumerate(value):
        key = {name: item.get(name) for name in node.keys} if node.keys and isinstance(item, dict) else item
        if key in seen:
            found.append(Complaint("FieldValueDuplicate", f"{path}[{index}]", f"Duplicate value: {shown_value(key)}"))
        seen.append(key)
    return found


def shown_value(value: Any) -> str:
    """A value inside a message."""
    from .fieldset import canonical

    return canonical(value)


def check_value(schema: Mapping[str, Any], value: Any, path: str) -> list[Complaint]:
    """Bounds, patterns and enumerations of one value."""
    found: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        values = ", ".join(f'"{allowed}"' for allowed in schema["enum"])
        text = f"Unsupported value: {shown_value(value)}: supported values: {values}"
        return [Complaint("FieldValueNotSupported", path, text)]
    if isinstance(value, str):
        if len(value) > schema.get("maxLength", len(value)):
            text = f"Too long: may not be more than {schema['maxLength']} bytes"
            return [Complaint("FieldValueTooLong", path, text)]
        found += check_text(schema, value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found += check_number(schema, value)
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            text = f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
            return [Complaint("FieldValueTooMany", path, text)]
        if len(value) < schema.get("minItems", 0):
            found.append(f"should have at least {schema['minItems']} items")
    if isinstance(value, dict):
        if len(value) > schema.get("maxProperties", len(value)):
            text = f"Too many: {len(value)}: must have at most {schema['maxProperties']} items"
            return [Complaint("FieldValueTooMany", path, text)]
        if len(value) < schema.get("minProperties", 0):
            found.append(f"should have at least {schema['minProperties']} properties")
    return [
        Complaint("FieldValueInvalid", path, f"Invalid value: {shown_value(value)}: {path} in body {text}")
        for text in found
    ]


def check_text(schema: Mapping[str, Any], value: str) -> list[str]:
    """Length and pattern."""
    found = []
    if len(value) < schema.get("minLength", 0):
        found.append(f"should be at least {schema['minLength']} chars long")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"should match '{schema['pattern']}'")
    return found


def check_number(schema: Mapping[str, Any], value: float) -> list[str]:
    """Bounds."""
    found = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        found.append(f"should be greater than {'' if schema.get('exclusiveMinimum') else 'or equal to '}{low}")
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        found.append(f"should be less than {'' if schema.get('exclusiveMaximum') else 'or equal to '}{high}")
    return found


__all__ = [
    "ANY",
    "DEDUCED",
    "LIST",
    "MAP",
    "SCALAR",
    "UNTYPED",
    "Complaint",
    "Node",
    "Reader",
    "check",
    "copied",
    "drop_empties",
    "drop_nulls",
    "fill_defaults",
    "prune",
]
