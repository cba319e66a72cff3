"""Whether values fit a type: everything that is wrong with them at once, each by its field. Pure.

The operator and the API server stop at the first mistake or say all of it in one breath; a person who writes a manifest
wants the list.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from libresh.catalog.profile import choices, message_of, struct_of, within

SHOWN = 60


@dataclass(frozen=True)
class Fault:
    """What is wrong with one field, and the way out."""

    field: str
    reason: str
    way_out: str


def find_faults(value: Any, annotation: Any, path: str) -> Iterator[Fault]:
    """All that is wrong with a value at `path`, through Structs within Structs."""
    info = inspect.type_info(annotation)
    inner = struct_of(info)
    if inner is not None and isinstance(value, dict):
        yield from faults_of_fields(value, inner, path)
        return
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError as error:
        yield explain(value, info, path, str(error))


def faults_of_fields(values: dict[Any, Any], type: type[msgspec.Struct], path: str) -> Iterator[Fault]:
    """Unknown, missing and wrong fields of one Struct."""
    known = {field.encode_name: field for field in msgspec.structs.fields(type)}
    for key, value in values.items():
        if key in known:
            yield from find_faults(value, known[key].type, f"{path}.{key}")
        else:
            yield unknown_field(key, known, path)
    for name, field in known.items():
        if field.required and name not in values:
            yield Fault(f"{path}.{name}", "it is missing", f"add it: {asked(inspect.type_info(field.type))}")


def unknown_field(key: Any, known: Iterable[str], path: str) -> Fault:
    """A field nobody reads: a misspelt one most often."""
    listed = tuple(known)
    takes = f"here may stand: {', '.join(listed)}" if listed else "take it out: nothing may stand here"
    return Fault(f"{path}.{shown(key)}".lstrip("."), "there is no such field", suggestion(key, listed) or takes)


def explain(value: Any, info: inspect.Type, path: str, said: str) -> Fault:
    """A value that does not fit, in the words the field has for it where it has some."""
    if allowed := choices(info):
        listed = ", ".join(map(str, allowed))
        near = suggestion(value, map(str, allowed))
        return Fault(path, f"{shown(value)} is none of {listed}", near or f"choose one of: {listed}")
    if value is None:
        return Fault(path, "it has no value", f"give it one, or leave the field out: {asked(info)}")
    if "matching regex" in said and (words := next(filter(None, map(message_of, within(info))), "")):
        return Fault(path, f"{shown(value)} does not fit", f"it {words}")
    if noun(info) == "text" and isinstance(value, bool | int | float):
        return Fault(path, f"it must be text, and {shown(value)} is not", f'put it in quotes: "{shown(value)}"')
    return Fault(path, f"it does not fit: {said}", asked(info))


def asked(info: inspect.Type) -> str:
    """What a field takes, in few words."""
    message = next(filter(None, map(message_of, within(info))), "")
    if message:
        return f"it {message}"
    if allowed := choices(info):
        return f"one of: {', '.join(map(str, allowed))}"
    inner = struct_of(info)
    if inner is not None:
        return f"a map with the fields {', '.join(inner.__struct_encode_fields__)}"
    return f"it takes {noun(info)}"


def noun(info: inspect.Type) -> str:
    """A type as people call it."""
    match info:
        case inspect.Metadata():
            return noun(info.type)
        case inspect.UnionType():
            return " or ".join(noun(each) for each in info.types if not isinstance(each, inspect.NoneType))
        case inspect.StrType():
            return "text"
        case inspect.IntType(ge=least, le=most):
            return "a whole number" + (f" from {least}" if least is not None else "") + up_to(most)
        case inspect.BoolType():
            return "true or false"
        case inspect.FloatType():
            return "a number"
        case inspect.ListType():
            return "a list"
        case inspect.DictType() | inspect.StructType():
            return "a map"
        case _:
            return "another value"


def up_to(most: int | None) -> str:
    return "" if most is None else f" up to {most}"


def suggestion(word: Any, known: Iterable[str]) -> str:
    """The word that was probably meant; "" if none is near."""
    if not isinstance(word, str):
        return ""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word[:SHOWN].lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[near[0]]}?" if near else ""


def shown(value: Any) -> str:
    """A value somebody wrote, short enough and safe to print: what is not a plain word is quoted and escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
        return text if text.isascii() and text.isprintable() and text else ascii(text)
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, int) and value.bit_length() > SHOWN * 3:
        return "a very large number"
    return str(value)[:SHOWN]


def plain(text: str) -> str:
    """A message as it may go to a terminal, whatever somebody wrote into a manifest."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
