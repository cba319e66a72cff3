"""Text as Go writes it. What is expected here is what Go prints."""

from typing import Any

import pytest

from libresh.drivers.composition import gotext
from libresh.drivers.composition.gotext import NotFitting

WRITTEN: list[tuple[str, Any, str]] = [
    ("libresh-%s", "my-db", "libresh-my-db"),
    ("%5s|", "ab", "   ab|"),
    ("%-5s|", "ab", "ab   |"),
    ("%.2s", "abcdef", "ab"),
    ("%d", 42, "42"),
    ("%5d|", 42, "   42|"),
    ("%-5d|", 42, "42   |"),
    ("%05d", 42, "00042"),
    ("%05d", -42, "-0042"),
    ("%+d", 42, "+42"),
    ("% d", 42, " 42"),
    ("%.4d", 42, "0042"),
    ("%x", 255, "ff"),
    ("%x", "hi", "6869"),
    ("%t", True, "true"),
    ("%f", 1.5, "1.500000"),
    ("%.2f", 1.005, "1.00"),
    ("%8.2f|", 3.14159, "    3.14|"),
    ("%08.2f", -3.14159, "-0003.14"),
    ("%q", 'a "b"\n', '"a \\"b\\"\\n"'),
    ("%q", "\x01é", '"\\x01é"'),
    ("%v", "x", "x"),
    ("%v", 7, "7"),
    ("%v", False, "false"),
    ("%v", None, "<nil>"),
    ("%v", 0.1, "0.1"),
    ("%v", 100000.0, "100000"),
    ("%v", 1000000.0, "1e+06"),
    ("%v", 123456789.0, "1.23456789e+08"),
    ("%v", 0.0001, "0.0001"),
    ("%v", 0.00001, "1e-05"),
    ("%v", -2.5, "-2.5"),
    ("%v", 0.0, "0"),
    ("%v", [1, "a", True], "[1 a true]"),
    ("%v", {"b": 1, "a": {"c": 2}}, "map[a:map[c:2] b:1]"),
    ("100%% of %v", 3, "100% of 3"),
    ("%s", "%d", "%d"),
]


@pytest.mark.parametrize(("text", "value", "wanted"), WRITTEN)
def test_written(text: str, value: Any, wanted: str) -> None:
    assert gotext.check(text, 1) == ""
    assert gotext.sprintf(text, value) == wanted


@pytest.mark.parametrize(
    ("text", "value"),
    [("%d", "5G"), ("%s", 5), ("%s", True), ("%t", "true"), ("%f", 1), ("%d", 1.5), ("%q", 65), ("%d", True)],
)
def test_where_go_would_write_an_error_into_the_text_it_is_one(text: str, value: Any) -> None:
    with pytest.raises(NotFitting) as error:
        gotext.sprintf(text, value)
    assert str(value) not in str(error.value) or len(str(value)) < 3, "a value is never repeated"


@pytest.mark.parametrize("text", ["%", "%e", "%[1]s", "%*d", "%#x", "%U", "%w", "%999999s", "%s%s", "none", "%!s"])
def test_formats_that_are_not_supported_are_refused(text: str) -> None:
    assert gotext.check(text, 1) != ""


def test_several_values_in_their_order() -> None:
    assert gotext.check("%s/%d-%%%v", 3) == ""
    assert gotext.sprintf("%s/%d-%%%v", "a", 1, None) == "a/1-%<nil>"


JSON: list[tuple[Any, str]] = [
    ({"b": 1, "a": [True, None, "x"]}, '{"a":[true,null,"x"],"b":1}'),
    ("<a&b>", '"\\u003ca\\u0026b\\u003e"'),
    ("é\u2028", '"é\\u2028"'),
    (1.0, "1"),
    (1e21, "1e+21"),
    (1e-7, "1e-7"),
    (123456789.5, "123456789.5"),
    (0.000001, "0.000001"),
]


@pytest.mark.parametrize(("value", "wanted"), JSON)
def test_json(value: Any, wanted: str) -> None:
    assert gotext.to_json(value) == wanted
