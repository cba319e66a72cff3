"""Kubernetes quantities such as 5Gi, 500M or 250m: exact reading, comparing and writing, without floats."""

import re
from fractions import Fraction
from math import ceil, floor

from libresh.errors import LibreshError

SUFFIXES: dict[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: Fraction(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
BINARY = ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki")
DECIMAL = ("E", "P", "T", "G", "M", "k")
SHAPE = re.compile(
    r"(?P<sign>[+-]?)(?P<digits>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,3})|(?P<suffix>[KMGTPE]i|[numkMGTPE])?)"
)


def exact(text: str) -> Fraction:
    """The value of a quantity, exactly: `exact("250m")` is a quarter, `exact("5Gi")` is 5 × 1024³."""
    found = SHAPE.fullmatch(text)
    if found is None:
        raise LibreshError(
            "bad-quantity",
            f"{text!r} is not a quantity",
            "write a number and a unit, for example 5Gi, 500M or 250m",
        )
    value = Fraction(found["digits"]) * SUFFIXES[found["suffix"] or ""]
    if found["exponent"]:
        value *= Fraction(10) ** int(found["exponent"])
    return -value if found["sign"] == "-" else value


def parse(text: str) -> int:
    """The value in whole units, rounded away from zero as Kubernetes does: `parse("5Gi")` is 5368709120."""
    value = exact(text)
    return ceil(value) if value >= 0 else floor(value)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is less than, the same as or more than `right`, in whatever units they are."""
    first, second = exact(left), exact(right)
    return (first > second) - (first < second)


def bytes_text(value: int) -> str:
    """The shortest quantity that is exactly `value` bytes, in binary or decimal units."""
    if value == 0:
        return "0"
    fitting = [
        f"{value // int(SUFFIXES[unit])}{unit}" for unit in (*BINARY, *DECIMAL) if value % int(SUFFIXES[unit]) == 0
    ]
    return min((*fitting, str(value)), key=len)
