"""Quantities: exact, as Kubernetes reads them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libresh.api import quantity
from libresh.errors import LibreshError

CASES = {
    "a plain number": ("12", Fraction(12)),
    "binary units": ("5Gi", Fraction(5 * 1024**3)),
    "decimal units": ("5G", Fraction(5 * 10**9)),
    "a fraction of a binary unit": ("1.5Ki", Fraction(1536)),
    "thousandths": ("250m", Fraction(1, 4)),
    "a scientific exponent": ("12e6", Fraction(12_000_000)),
    "E without digits is exa, not an exponent": ("2E", Fraction(2 * 10**18)),
    "a negative exponent": ("5e-1", Fraction(1, 2)),
    "a sign": ("-1k", Fraction(-1000)),
    "no digit before the point": (".5", Fraction(1, 2)),
    "no digit after the point": ("5.Gi", Fraction(5 * 1024**3)),
}


@pytest.mark.parametrize(("text", "value"), CASES.values(), ids=CASES)
def test_reads(text: str, value: Fraction) -> None:
    assert quantity.exact(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "5 Gi", "5gi", "5K", "0x10", "1.2.3", "5GiB", "five", "1e", "5Gi\n", "٣Gi"])
def test_refuses_with_the_way_out(text: str) -> None:
    with pytest.raises(LibreshError, match=r"is not a quantity.*5Gi"):
        quantity.exact(text)


def test_whole_units_are_rounded_up_as_kubernetes_does() -> None:
    assert quantity.parse("1.1") == 2
    assert quantity.parse("1m") == 1
    assert quantity.parse("-1.5") == -2
    assert quantity.parse("5Gi") == 5_368_709_120


def test_compares_across_units() -> None:
    assert quantity.compare("5Gi", "5G") == 1
    assert quantity.compare("1024Mi", "1Gi") == 0
    assert quantity.compare("999M", "1G") == -1


def test_writes_the_shortest() -> None:
    assert [quantity.bytes_text(n) for n in (0, 1, 1024, 1000, 5 * 1024**3, 50_000_000, 1536)] == [
        "0", "1", "1Ki", "1k", "5Gi", "50M", "1536",
    ]  # fmt: skip


@given(st.integers(0, 2**63 - 1))
def test_what_is_written_reads_back(value: int) -> None:
    assert quantity.parse(quantity.bytes_text(value)) == value


@given(
    st.integers(0, 10**6),
    st.sampled_from(sorted(quantity.SUFFIXES)),
    st.integers(0, 10**6),
    st.sampled_from(sorted(quantity.SUFFIXES)),
)
def test_order_is_the_order_of_numbers(a: int, unit_a: str, b: int, unit_b: str) -> None:
    left, right = f"{a}{unit_a}", f"{b}{unit_b}"
    difference = a * quantity.SUFFIXES[unit_a] - b * quantity.SUFFIXES[unit_b]
    assert quantity.compare(left, right) == (difference > 0) - (difference < 0)
    assert quantity.compare(left, right) == -quantity.compare(right, left)


@given(st.decimals(0, 10**9, places=3, allow_nan=False, allow_infinity=False))
def test_decimal_fractions_are_exact(value: object) -> None:
    assert quantity.exact(str(value)) == Fraction(str(value))
