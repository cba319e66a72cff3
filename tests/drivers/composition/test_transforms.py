"""Transforms, as function-patch-and-transform has them."""

from typing import Any

import msgspec
import pytest

from libresh.drivers.composition import checks, transforms
from libresh.drivers.composition.gotext import NotFitting
from libresh.drivers.composition.model import Transform
from libresh.drivers.composition.shape import Unfit

Json = dict[str, Any]


def string(**wish: Any) -> Json:
    return {"type": "string", "string": wish}


def convert(to: str, **more: str) -> Json:
    return {"type": "convert", "convert": {"toType": to, **more}}


def conversion(name: str) -> Json:
    return string(type="Convert", convert=name)


PATTERNS = [
    {"type": "literal", "literal": "eu", "result": "eu-north-1"},
    {"type": "regexp", "regexp": "^us-", "result": {"region": "us"}},
]
RESOLVED: dict[str, tuple[Json, Any, Any]] = {
    "map": ({"type": "map", "map": {"us": "us-east-2", "eu": 5}}, "eu", 5),
    "match by literal": ({"type": "match", "match": {"patterns": PATTERNS}}, "eu", "eu-north-1"),
    "match by regexp": ({"type": "match", "match": {"patterns": PATTERNS}}, "us-1", {"region": "us"}),
    "match falls back to a value": ({"type": "match", "match": {"patterns": PATTERNS, "fallbackValue": 1}}, "x", 1),
    "match falls back to nothing": ({"type": "match", "match": {"patterns": PATTERNS}}, "x", None),
    "match falls back to its input": (
        {"type": "match", "match": {"patterns": PATTERNS, "fallbackTo": "Input"}},
        "x",
        "x",
    ),
    "multiply a whole number": ({"type": "math", "math": {"multiply": 1024}}, 2, 2048),
    "multiply a fraction": ({"type": "math", "math": {"type": "Multiply", "multiply": 2}}, 1.5, 3.0),
    "clamp up": ({"type": "math", "math": {"type": "ClampMin", "clampMin": 5}}, 3, 5),
    "clamp down": ({"type": "math", "math": {"type": "ClampMax", "clampMax": 5}}, 7.5, 5),
    "no need to clamp": ({"type": "math", "math": {"type": "ClampMax", "clampMax": 5}}, 4.5, 4.5),
    "format is the default of string": (string(fmt="libresh-%s"), "my-db", "libresh-my-db"),
    "upper": (conversion("ToUpper"), "aB", "AB"),
    "lower": (conversion("ToLower"), "aB", "ab"),
    "to base64": (conversion("ToBase64"), "hi", "aGk="),
    "from base64": (conversion("FromBase64"), "aGk=", "hi"),
    "to JSON": (conversion("ToJson"), {"b": 1, "a": "<"}, '{"a":"\\u003c","b":1}'),
    "sha1 of a text": (conversion("ToSha1"), "hi", "c22b5f9178342609428d6f51b2c5af4c0bde6a42"),
    "sha256 of a text": (
        conversion("ToSha256"),
        "hi",
        "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
    ),
    "adler32 of a text": (conversion("ToAdler32"), "Wikipedia", "300286872"),
    "adler32 of JSON": (conversion("ToAdler32"), True, "75039169"),
    "trim a prefix": (string(type="TrimPrefix", trim="a-"), "a-a-b", "a-b"),
    "trim a suffix": (string(type="TrimSuffix", trim=".org"), "x.org", "x"),
    "the whole match": (string(type="Regexp", regexp={"match": "[0-9]+"}), "my-12-x", "12"),
    "a group of the match": (string(type="Regexp", regexp={"match": "my-([0-9]+)-(.)", "group": 2}), "my-12-x", "x"),
    "join": (string(type="Join", join={"separator": "-"}), ["cross", "plane", 42], "cross-plane-42"),
    "replace": (string(type="Replace", replace={"search": "ss", "replace": ""}), "Crossplane", "Croplane"),
    "text to int": (convert("int"), "-12", -12),
    "text to true": (convert("bool"), "T", True),
    "text to float": (convert("float64"), "1e3", 1000.0),
    "quantity to float": (convert("float64", format="quantity"), "1Ki", 1024.0),
    "text to object": (convert("object", format="json"), '{"a": [1]}', {"a": [1]}),
    "text to list": (convert("array", format="json"), "[1]", [1]),
    "int to text": (convert("string"), 5, "5"),
    "int to bool": (convert("bool"), 2, False),
    "int to float": (convert("float64"), 2, 2.0),
    "bool to text": (convert("string"), True, "true"),
    "bool to int": (convert("int64"), True, 1),
    "float to text": (convert("string"), 1000000.0, "1000000"),
    "float to int": (convert("int64"), 2.9, 2),
    "the same type": (convert("string"), "x", "x"),
}


def made(value: Json) -> Transform:
    transform = msgspec.convert(value, Transform)
    checks.check_transform(transform)
    return transform


@pytest.mark.parametrize("case", RESOLVED)
def test_resolved(case: str) -> None:
    wish, value, wanted = RESOLVED[case]
    found = transforms.resolve([made(wish)], value)
    assert (found, type(found)) == (wanted, type(wanted))


def test_one_after_the_other() -> None:
    steps = [string(fmt='{"kubernetes.io/cluster/%s": "true"}'), convert("object", format="json")]
    assert transforms.resolve([made(step) for step in steps], "a") == {"kubernetes.io/cluster/a": "true"}


NOT_FITTING: dict[str, tuple[Json, Any]] = {
    "a key that the map has not": ({"type": "map", "map": {"a": 1}}, "hostile"),
    "a map of a number": ({"type": "map", "map": {"a": 1}}, 5),
    "a match of a list": ({"type": "match", "match": {"patterns": PATTERNS}}, ["hostile"]),
    "math with a text": ({"type": "math", "math": {"multiply": 2}}, "hostile"),
    "math with true": ({"type": "math", "math": {"multiply": 2}}, True),
    "a product that is too large": ({"type": "math", "math": {"multiply": 2**40}}, 2**40),
    "a regexp that finds nothing": (string(type="Regexp", regexp={"match": "[0-9]"}), "hostile"),
    "a join of a text": (string(type="Join", join={"separator": ","}), "hostile"),
    "no base64": (conversion("FromBase64"), "hostile!"),
    "no number": (convert("int64"), "12hostile"),
    "too large a number": (convert("int64"), "9" * 30),
    "a number with an underscore": (convert("float64"), "1_0"),
    "neither true nor false": (convert("bool"), "hostile"),
    "no quantity": (convert("float64", format="quantity"), "hostile"),
    "no JSON": (convert("object", format="json"), "{hostile"),
    "deep JSON": (convert("array", format="json"), "[" * 100_000),
    "another JSON": (convert("array", format="json"), '{"hostile": 1}'),
    "a list to a number": (convert("int64"), [1]),
    "a very long text": (string(type="Replace", replace={"search": "a", "replace": "b" * 1000}), "a" * 100),
}


@pytest.mark.parametrize("case", NOT_FITTING)
def test_what_does_not_fit_is_told_without_the_value(case: str) -> None:
    wish, value = NOT_FITTING[case]
    with pytest.raises(NotFitting) as error:
        transforms.resolve([made(wish)], value)
    assert "hostile" not in str(error.value)
    assert str(error.value).startswith("transforms[0]: ")


UNFIT: dict[str, tuple[Json, str]] = {
    "a type without its settings": ({"type": "math"}, "math"),
    "an empty map": ({"type": "map", "map": {}}, "map"),
    "a literal without one": (
        {"type": "match", "match": {"patterns": [{"type": "literal", "result": 1}]}},
        "match.patterns[0].literal",
    ),
    "a bad regexp": (
        {"type": "match", "match": {"patterns": [{"type": "regexp", "regexp": "(", "result": 1}]}},
        "match.patterns[0].regexp",
    ),
    "two fallbacks": (
        {"type": "match", "match": {"patterns": PATTERNS, "fallbackTo": "Input", "fallbackValue": "x"}},
        "match.fallbackTo",
    ),
    "math without a number": ({"type": "math", "math": {"type": "ClampMin", "multiply": 3}}, "math.clampMin"),
    "a format with two places": (string(fmt="%s-%s"), "string.fmt"),
    "no format": (string(), "string.fmt"),
    "no conversion": (string(type="Convert"), "string.convert"),
    "no separator": (string(type="Join"), "string.join"),
    "nothing to search": (string(type="Replace", replace={"search": "", "replace": "x"}), "string.replace.search"),
    "no such group": (string(type="Regexp", regexp={"match": "(a)", "group": 2}), "string.regexp.match"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_wrong_with_a_transform_is_said_by_its_path(case: str) -> None:
    wish, path = UNFIT[case]
    with pytest.raises(Unfit) as error:
        made(wish)
    assert error.value.path == path
