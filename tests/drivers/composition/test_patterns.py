"""Regular expressions as Go has them."""

import time

import pytest

from libresh.drivers.composition import patterns
from libresh.drivers.composition.patterns import BadPattern

FOUND: list[tuple[str, str, str | None]] = [
    ("^field1.*", "field1-text", "field1-text"),
    ("my-([0-9]+)-string", "my-1-string", "my-1-string"),
    ("a$", "a\n", None),
    ("(?m)a$", "a\nb", "a"),
    (r"a\z", "ba", "a"),
    ("(?i)ABC", "xabcx", "abc"),
    (r"\d+", "٣", None),
    ("(?P<x>a)(?:b|c)", "ac", "ac"),
    ("(?<x>a)", "a", "a"),
    ("[^]a]+", "ab]c", "b"),
    ("a{2,3}?", "aaa", "aa"),
    ("(ab){2}", "abab", "abab"),
]


@pytest.mark.parametrize(("pattern", "text", "wanted"), FOUND)
def test_searching(pattern: str, text: str, wanted: str | None) -> None:
    found = patterns.search(pattern, text)
    assert (found[0] if found else None) == wanted


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"(a)\1", "a(?=b)", "a(?!b)", "(?<=a)b", "(?>a)", r"\pL", "[[:alpha:]]", "a++", "a*+", r"\Qa\E"),
        *("(", ")", "[a", "*a", "(?P<n>a)(?P<n>b)", "a(?i)b", "(?U)a"),
    ],
)
def test_what_one_of_the_two_does_not_know_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        patterns.compiled(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "((a*)b?)*c", "(?:x+y?)+z", "(.*){9}b"])
def test_what_could_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern, match="for ever"):
        patterns.compiled(pattern)


def test_long_texts_are_not_searched() -> None:
    started = time.monotonic()
    with pytest.raises(BadPattern):
        patterns.search("a*b", "a" * 100_000)
    patterns.search("a*b", "a" * patterns.LONGEST)
    assert time.monotonic() - started < 1
