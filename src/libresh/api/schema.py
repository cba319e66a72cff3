"""From types to structural OpenAPI schemas, the form CustomResourceDefinitions need.

Everything is inlined. What has no structural form, no description or no bound is refused here, when the CRDs
are generated, and not by somebody's API server.

    T | None            T, not required        Struct              object with properties
    Literal, Enum       string with enum       list[T]             array (`x-kubernetes-list-type` as given)
    datetime            string, date-time      dict[str, T]        additionalProperties
    Meta(extra={"message": …})                 dict[str, Any]      x-kubernetes-preserve-unknown-fields
      turns `pattern` into a CEL rule whose message a person can understand
"""

import inspect as documentation
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
from msgspec import inspect

from libresh.api.meta import Rule, Struct

Schema = dict[str, Any]

PASSED_THROUGH = frozenset(
    {
        "description",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-validations",
    }
)
"""What `extra_json_schema` may add: the rest of JSON Schema has no structural form or comes from the type."""


class Unrepresentable(TypeError):
    """A type has no structural schema. The message says where and what to write instead."""


@dataclass(frozen=True)
class Place:
    """Where in a type the converter stands, and what is asked of it there."""

    path: str
    defaults: Literal["filled in", "told", "left out"] = "filled in"
    """Whether the API server fills in defaults, or the description only tells them, or neither."""
    bounded: bool = True
    """Whether strings and lists need a largest size, as the cost of CEL rules is reckoned with it."""
    within: tuple[type, ...] = ()

    def at(self, step: str) -> "Place":
        return replace(self, path=f"{self.path}{step}")

    def refuse(self, why: str) -> Unrepresentable:
        return Unrepresentable(f"{self.path}: {why}")


def schema_for(type: Any, place: Place) -> Schema:
    """The structural schema of a type, or `Unrepresentable`."""
    return convert(inspect.type_info(type), place)


def convert(info: inspect.Type, place: Place) -> Schema:
    """The structural schema of one inspected type."""
    match info:
        case inspect.Metadata():
            return annotated(info, place)
        case inspect.UnionType():
            return optional(info, place)
        case inspect.StructType():
            return structure(info, place)
        case inspect.ListType():
            return array(info, place)
        case inspect.DictType():
            return mapping(info, place)
        case inspect.AnyType():
            return {"x-kubernetes-preserve-unknown-fields": True}
        case _:
            return scalar(info, place)


def scalar(info: inspect.Type, place: Place) -> Schema:
    """Strings, numbers, booleans, times and choices."""
    match info:
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.StrType():
            if place.bounded and info.max_length is None:
                raise place.refuse("a string without max_length: say how long it may be")
            return present(
                {"type": "string"}, minLength=info.min_length, maxLength=info.max_length, pattern=info.pattern
            )
        case inspect.IntType():
            return number({"type": "integer", "format": "int64"}, info)
        case inspect.FloatType():
            return number({"type": "number"}, info)
        case inspect.DateTimeType():
            return {"type": "string", "format": "date-time"}
        case inspect.LiteralType(values=values):
            return choice(values, place)
        case inspect.EnumType(cls=cls):
            return choice([member.value for member in cls], place)
        case _:
            raise place.refuse(f"{type(info).__name__.removesuffix('Type')} has no structural form")


def choice(values: Iterable[Any], place: Place) -> Schema:
    """One of some strings."""
    listed = list(values)
    if not all(isinstance(value, str) for value in listed):
        raise place.refuse("a choice must be among strings")
    return {"type": "string", "enum": listed}


def number(base: Schema, info: inspect.IntType | inspect.FloatType) -> Schema:
    """Bounds of numbers; exclusive ones are booleans beside the bound in this dialect."""
    schema = present(base, minimum=info.ge, maximum=info.le, multipleOf=info.multiple_of)
    if info.gt is not None and (info.ge is None or info.gt >= info.ge):
        schema |= {"minimum": info.gt, "exclusiveMinimum": True}
    if info.lt is not None and (info.le is None or info.lt <= info.le):
        schema |= {"maximum": info.lt, "exclusiveMaximum": True}
    return schema


def annotated(info: inspect.Metadata, place: Place) -> Schema:
    """What `Annotated[…, Meta(…)]` adds to a type."""
    schema = convert(info.type, place)
    added = info.extra_json_schema or {}
    if foreign := sorted(set(added) - PASSED_THROUGH):
        raise place.refuse(f"{', '.join(foreign)} cannot be part of a structural schema")
    schema |= {key: reflow(value) if key == "description" else value for key, value in added.items()}
    if message := (info.extra or {}).get("message"):
        pattern = schema.pop("pattern", None)
        if pattern is None or "'" in pattern:
            raise place.refuse("a message needs a pattern without single quotes beside it")
        rule = Rule(f"self.matches(r'{pattern}')", message)
        schema["x-kubernetes-validations"] = [validation(rule), *schema.get("x-kubernetes-validations", ())]
    return checked_list_keys(schema, place)


def optional(info: inspect.UnionType, place: Place) -> Schema:
    """`T | None` is T: absence is said by leaving a field out of `required`, null is not a value."""
    others = [member for member in info.types if not isinstance(member, inspect.NoneType)]
    if len(others) != 1:
        raise place.refuse("a union has no structural form: make optional members and a rule that one of them is set")
    return convert(others[0], place)


def array(info: inspect.ListType, place: Place) -> Schema:
    """A list; named things should be a `map` or a `set`, so that several writers can each own theirs."""
    if place.bounded and info.max_length is None:
        raise place.refuse("a list without max_length: say how many items it may have")
    items = convert(info.item_type, place.at("[]"))
    return present({"type": "array", "items": items}, minItems=info.min_length, maxItems=info.max_length)


def mapping(info: inspect.DictType, place: Place) -> Schema:
    """A map from strings; of anything, when the values are `Any`."""
    key = info.key_type.type if isinstance(info.key_type, inspect.Metadata) else info.key_type
    if not isinstance(key, inspect.StrType):
        raise place.refuse("the keys of a map must be strings")
    if isinstance(info.value_type, inspect.AnyType):
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    values = convert(info.value_type, place.at("{}"))
    return present({"type": "object", "additionalProperties": values}, maxProperties=info.max_length)


def structure(info: inspect.StructType, place: Place) -> Schema:
    """A Struct: properties, what is required of them, and its rules."""
    if info.tag_field is not None or info.array_like:
        raise place.refuse(f"{info.cls.__name__} is tagged or array-like, which has no structural form")
    if info.cls in place.within:
        raise place.refuse(f"{info.cls.__name__} contains itself: structural schemas have no recursion")
    inner = replace(place, within=(*place.within, info.cls))
    properties = {field.encode_name: property_for(field, inner.at(f".{field.encode_name}")) for field in info.fields}
    schema: Schema = {"type": "object", "description": docstring(info.cls, place), "properties": properties}
    if required := [field.encode_name for field in info.fields if field.required]:
        schema["required"] = required
    rules = info.cls.RULES if issubclass(info.cls, Struct) else ()
    if rules:
        schema["x-kubernetes-validations"] = [validation(rule) for rule in rules]
    return schema


def property_for(field: inspect.Field, place: Place) -> Schema:
    """One property, with its description and its default."""
    schema = convert(field.type, place)
    if not schema.get("description"):
        raise place.refuse("a field without a description: people read it in kubectl explain")
    default = default_of(field, schema, place)
    if default is not None and place.defaults == "filled in":
        schema["default"] = default
    elif default is not None and place.defaults == "told" and schema["type"] != "object":
        profile = "" if is_instance_only(field) else "as the profile says, otherwise "
        schema["description"] += f" Absent: {profile}{spelled(default)}."
    return dict(sorted(schema.items(), key=lambda item: item[0] != "description"))


def is_instance_only(field: inspect.Field) -> bool:
    """Whether no profile can say this: `Meta(extra={"instance_only": True})`."""
    return isinstance(field.type, inspect.Metadata) and bool((field.type.extra or {}).get("instance_only"))


def default_of(field: inspect.Field, schema: Schema, place: Place) -> Any:
    """What the API server shall fill in, or None. An object is filled in only when it brings defaults."""
    if field.default is not msgspec.NODEFAULT:
        return msgspec.to_builtins(field.default)
    factory = field.default_factory
    if factory is msgspec.NODEFAULT or factory in (list, dict):
        return None
    if isinstance(factory, type) and issubclass(factory, msgspec.Struct):
        brings = any("default" in inner for inner in schema["properties"].values())
        return {} if brings else None
    raise place.refuse("a default made by a function cannot be told to the API server: use a value or a Struct")


def spelled(value: Any) -> str:
    """A value as a person would write it in YAML."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def validation(rule: Rule) -> Schema:
    """A CEL rule as the API server takes it."""
    return present(
        {"rule": rule.rule, "message": rule.message}, fieldPath=rule.field or None, reason=rule.reason or None
    )


def checked_list_keys(schema: Schema, place: Place) -> Schema:
    """The keys of a list that is a map must exist and be required, or the API server refuses the schema."""
    if schema.get("x-kubernetes-list-type") == "map":
        keys, items = schema.get("x-kubernetes-list-map-keys", []), schema["items"]
        if not keys or not set(keys) <= set(items.get("required", ())):
            raise place.refuse(
                "a list of type map needs x-kubernetes-list-map-keys, each a required field of its items"
            )
    return schema


def present(schema: Schema, **more: Any) -> Schema:
    """The schema with those of `more` that are not None."""
    return schema | {key: value for key, value in more.items() if value is not None}


def docstring(cls: type, place: Place) -> str:
    """What a Struct says of itself."""
    text = reflow(documentation.cleandoc(cls.__doc__ or ""))
    if not text:
        raise place.refuse(f"{cls.__name__} has no docstring: people read it in kubectl explain")
    return text


def reflow(text: str) -> str:
    """Paragraphs on one line each: how wide the reader's window is was not known to the writer."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
