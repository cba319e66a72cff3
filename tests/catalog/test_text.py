"""Configuration as text: what comes out of the writer is read back by a YAML reader as what went in."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from libresh.catalog.text import Hidden, build_yaml
from libresh.kube.minting import filled
from libresh.plan.actions import SecretKey

text = st.text(st.characters(exclude_categories=("Cs",)))
leaves = st.none() | st.booleans() | st.integers() | text
data = st.dictionaries(
    text.filter(bool),
    st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text.filter(bool), inner, max_size=4)
    ),
    max_size=5,
)


@settings(max_examples=50, deadline=None)
@given(data)
def test_it_reads_back_as_what_it_was(values: dict[str, Any]) -> None:
    template = build_yaml(values)
    assert (yaml.safe_load(filled(template.text, {}, template.quote)) or {}) == values


SECRET = SecretKey("acme", "db", "password")


@settings(max_examples=50, deadline=None)
@given(text)
def test_a_secret_reads_back_whatever_is_in_it(password: str) -> None:
    template = build_yaml({"a": [{"b": {"password": Hidden(SECRET)}}], "c": Hidden("own")}, "head ${x}")
    assert template.values == {"a_0_b_password": SECRET, "c": "own"}
    text = filled(template.text, {"a_0_b_password": password, "c": "x"}, template.quote)
    assert yaml.safe_load(text) == {"a": [{"b": {"password": password}}], "c": "x"}


def test_a_number_reads_back_as_a_number() -> None:
    template = build_yaml({"port": Hidden(SECRET, number=True)})
    assert yaml.safe_load(filled(template.text, {"port": "5432"}, template.quote)) == {"port": 5432}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("https://chat.example.org/", "https://chat.example.org/"),
        ("plain-word", "plain-word"),
        ("true", '"true"'),
        ("1.5", '"1.5"'),
        ("{{ user.name }}", '"{{ user.name }}"'),
        ("a ${b}", '"a $${b}"'),
        ([], "[]"),
        (True, "true"),
        (None, "null"),
    ],
)
def test_it_is_pleasant_to_read(value: Any, text: str) -> None:
    assert build_yaml({"key": value}).text == f"key: {text}\n"
