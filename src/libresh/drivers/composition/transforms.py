"""Transforms: what becomes of a value on its way from one object to another. Pure.

As function-patch-and-transform has them (transforms.go; docs.crossplane.io v1.20,
guides/function-patch-and-transform#transform-a-patch). A value that does not fit is an error that never repeats it.
"""

import base64
import binascii
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from libresh.api.quantity import exact
from libresh.drivers.composition import gotext, patterns
from libresh.drivers.composition.gotext import NotFitting, type_name
from libresh.drivers.composition.model import (
    ConvertTransform,
    MatchTransform,
    MathTransform,
    Pattern,
    StringTransform,
    Transform,
)
from libresh.errors import LibreshError

TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")
INT64 = range(-(2**63), 2**63)
LONGEST = 65536
"""The longest text a transform may make."""


def resolve(transforms: Sequence[Transform], value: Any) -> Any:
    """The value after all transforms, in their order."""
    for at, transform in enumerate(transforms):
        try:
            value = apply(transform, value)
        except (NotFitting, patterns.BadPattern) as error:
            raise NotFitting(f"transforms[{at}]: {error}") from None
        if isinstance(value, str) and len(value) > LONGEST:
            raise NotFitting(f"transforms[{at}]: it makes a text of more than {LONGEST} characters")
    return value


def apply(transform: Transform, value: Any) -> Any:
    """The value after one transform, which was checked before."""
    match transform:
        case Transform(type="map", map=dict() as pairs):
            return look_up(pairs, value)
        case Transform(type="match", match=MatchTransform() as match):
            return first_match(match, value)
        case Transform(type="math", math=MathTransform() as calculation):
            return calculate(calculation, value)
        case Transform(type="string", string=StringTransform() as wish):
            return as_string(wish, value)
        case Transform(type="convert", convert=ConvertTransform() as wish):
            return convert(wish, value)
    raise NotFitting(f"{transform.type} says nothing of what to do")


def look_up(pairs: dict[str, Any], value: Any) -> Any:
    if not isinstance(value, str):
        raise NotFitting(f"map takes a text, not {type_name(value)}")
    if value not in pairs:
        raise NotFitting(f"map has nothing for this value; it knows: {', '.join(sorted(pairs))}")
    return pairs[value]


def first_match(match: MatchTransform, value: Any) -> Any:
    for pattern in match.patterns:
        if is_match(pattern, value):
            return pattern.result
    return value if match.fallback_to == "Input" else match.fallback_value


def is_match(pattern: Pattern, value: Any) -> bool:
    if not isinstance(value, str):
        raise NotFitting(f"match takes a text, not {type_name(value)}")
    if pattern.type == "literal":
        return value == pattern.literal
    return patterns.search(pattern.regexp or "", value) is not None


def calculate(wish: MathTransform, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_finite(value):
        raise NotFitting(f"math takes a number, not {type_name(value)}")
    match wish.type:
        case "Multiply":
            return whole(value * (wish.multiply or 0))
        case "ClampMin":
            return wish.clamp_min if int(value) < (wish.clamp_min or 0) else value
        case "ClampMax":
            return wish.clamp_max if int(value) > (wish.clamp_max or 0) else value


def whole(value: float) -> float:
    """The number, if it fits what a whole number may be."""
    if isinstance(value, int) and value not in INT64:
        raise NotFitting("the number is too large")
    return value


def is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def as_string(wish: StringTransform, value: Any) -> str:
    match wish.type:
        case "Format":
            return gotext.sprintf(wish.fmt or "", value)
        case "Convert":
            return CONVERSIONS[wish.convert or ""](value)
        case "TrimPrefix":
            return gotext.plain(value).removeprefix(wish.trim or "")
        case "TrimSuffix":
            return gotext.plain(value).removesuffix(wish.trim or "")
        case "Regexp":
            return extract(wish, value)
        case "Join":
            if not isinstance(value, list):
                raise NotFitting(f"Join takes a list, not {type_name(value)}")
            return (wish.join.separator if wish.join else "").join(map(gotext.plain, value))
        case "Replace":
            search, put = (wish.replace.search, wish.replace.replace) if wish.replace else ("", "")
            return gotext.plain(value).replace(search, put)


def extract(wish: StringTransform, value: Any) -> str:
    pattern, group = (wish.regexp.match, wish.regexp.group) if wish.regexp else ("", 0)
    found = patterns.search(pattern, gotext.plain(value))
    if found is None:
        raise NotFitting(f"nothing in the value matches {pattern!r}")
    return found[group] or ""


def hashed(value: Any) -> bytes:
    """What a digest is made of: a text as it is, anything else as JSON."""
    return (value if isinstance(value, str) else gotext.to_json(value)).encode()


def from_base64(value: Any) -> str:
    try:
        return base64.b64decode(gotext.plain(value), validate=True).decode()
    except (binascii.Error, ValueError):
        raise NotFitting("the value is not base64 of a text") from None


CONVERSIONS: dict[str, Callable[[Any], str]] = {
    "ToUpper": lambda value: gotext.plain(value).upper(),
    "ToLower": lambda value: gotext.plain(value).lower(),
    "ToBase64": lambda value: base64.b64encode(gotext.plain(value).encode()).decode(),
    "FromBase64": from_base64,
    "ToJson": gotext.to_json,
    "ToSha1": lambda value: hashlib.sha1(hashed(value), usedforsecurity=False).hexdigest(),
    "ToSha256": lambda value: hashlib.sha256(hashed(value)).hexdigest(),
    "ToSha512": lambda value: hashlib.sha512(hashed(value)).hexdigest(),
    "ToAdler32": lambda value: str(zlib.adler32(hashed(value))),
}


def convert(wish: ConvertTransform, value: Any) -> Any:
    target = "int64" if wish.to_type == "int" else wish.to_type
    source = TYPES.get(type(value), "")
    if source == target:
        return value
    found = CONVERTERS.get((source, target, wish.format))
    if found is None:
        raise NotFitting(f"{type_name(value)} cannot be converted to {wish.to_type} with format {wish.format}")
    return found(value)


TYPES = {str: "string", bool: "bool", int: "int64", float: "float64", dict: "object", list: "array"}


def to_int(text: str) -> int:
    sign, digits = (text[0], text[1:]) if text[:1] in ("-", "+") else ("", text)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19 or int(text) not in INT64:
        raise NotFitting("the text is not a whole number")
    return int(sign + digits)


def to_bool(text: str) -> bool:
    if text not in TRUE + FALSE:
        raise NotFitting(f"the text is neither true ({', '.join(TRUE)}) nor false ({', '.join(FALSE)})")
    return text in TRUE


def to_float(text: str) -> float:
    try:
        found = float(text) if "_" not in text and text == text.strip() else math.nan
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise NotFitting("the text is not a number")
    return found


def from_quantity(text: str) -> float:
    try:
        return float(exact(text))
    except (LibreshError, OverflowError):
        raise NotFitting("the text is not a quantity such as 5Gi or 500M") from None


def from_json(type: type[Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            found = json.loads(text, parse_constant=lambda word: None)
        except (ValueError, RecursionError):
            raise NotFitting("the text is not JSON") from None
        if not isinstance(found, type):
            raise NotFitting(f"the JSON in the text is not {'an object' if type is dict else 'a list'}")
        return found

    return read


def truncated(value: float) -> int:
    if not is_finite(value) or int(value) not in INT64:
        raise NotFitting("the number is too large")
    return int(value)


def fixed(value: float) -> str:
    digits, power = gotext.digits_of(abs(value)) if value else ("0", 0)
    return ("-" if value < 0 else "") + gotext.decimal(digits, power)


CONVERTERS: dict[tuple[str, str, str], Callable[[Any], Any]] = {
    ("string", "int64", "none"): to_int,
    ("string", "bool", "none"): to_bool,
    ("string", "float64", "none"): to_float,
    ("string", "float64", "quantity"): from_quantity,
    ("string", "object", "json"): from_json(dict),
    ("string", "array", "json"): from_json(list),
    ("int64", "string", "none"): str,
    ("int64", "bool", "none"): lambda value: value == 1,
    ("int64", "float64", "none"): float,
    ("bool", "string", "none"): lambda value: str(value).lower(),
    ("bool", "int64", "none"): int,
    ("bool", "float64", "none"): float,
    ("float64", "string", "none"): fixed,
    ("float64", "int64", "none"): truncated,
    ("float64", "bool", "none"): lambda value: value == 1.0,
}
