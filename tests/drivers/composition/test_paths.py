"""Field paths, as crossplane-runtime reads and writes them."""

from typing import Any

import pytest

from libresh.drivers.composition import paths
from libresh.drivers.composition.paths import BadPath, NotThere

PARSED: dict[str, tuple[Any, ...]] = {
    "metadata.name": ("metadata", "name"),
    "spec.containers[0].name": ("spec", "containers", 0, "name"),
    "data[.config.yml]": ("data", ".config.yml"),
    "metadata.annotations['crossplane.io/external-name']": ("metadata", "annotations", "crossplane.io/external-name"),
    'metadata.labels["crossplane.io/claim-namespace"]': ("metadata", "labels", "crossplane.io/claim-namespace"),
    "spec.items[0][8]": ("spec", "items", 0, 8),
    "apiVersion": ("apiVersion",),
    "spec.items[*].size": ("spec", "items", "*", "size"),
    "spec[volume].size": ("spec", "volume", "size"),
}


@pytest.mark.parametrize("text", PARSED)
def test_a_path_is_read(text: str) -> None:
    assert paths.parse(text) == PARSED[text]


@pytest.mark.parametrize(
    "text",
    [
        *("", ".metadata.name", "metadata..name", "metadata.name.", "spec.containers[]", "spec.containers.[0].name"),
        *("spec[", "spec]", "spec[a[b]]", "[42]", "spec.items[99999]", "a[0]..b", "a[0]."),
    ],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(BadPath):
        paths.parse(text)


@pytest.mark.parametrize("text", [text for text in PARSED if "config" not in text])
def test_a_shown_path_is_the_same_path(text: str) -> None:
    assert paths.parse(paths.show(paths.parse(text))) == PARSED[text]


def test_looking() -> None:
    obj = {"spec": {"items": [{"size": 1}]}, "empty": None}
    assert paths.get(obj, paths.parse("spec.items[0].size")) == 1
    assert paths.get(obj, paths.parse("empty")) is None
    for text in ("spec.missing", "spec.items[1]", "nothing.below"):
        with pytest.raises(NotThere):
            paths.get(obj, paths.parse(text))
    for text in ("spec.items.size", "spec[0]", "empty.more"):
        with pytest.raises(BadPath):
            paths.get(obj, paths.parse(text))


def test_writing_makes_what_is_missing_and_shares_nothing() -> None:
    obj: dict[str, Any] = {"spec": {"items": [{"size": 1}]}}
    value = {"deep": [1]}
    paths.put(obj, paths.parse("spec.items[2].more"), value)
    paths.put(obj, paths.parse("metadata.labels[a/b]"), "x")
    value["deep"].append(2)
    assert obj == {
        "spec": {"items": [{"size": 1}, None, {"more": {"deep": [1]}}]},
        "metadata": {"labels": {"a/b": "x"}},
    }
    with pytest.raises(BadPath):
        paths.put(obj, paths.parse("spec.items.name"), 1)


def test_every_element() -> None:
    obj = {"a": [{"b": {"x": 1, "y": 2}}, {"b": {}}], "c": []}
    assert [paths.show(each) for each in paths.expand(obj, paths.parse("a[*].b[*]"))] == ["a[0].b.x", "a[0].b.y"]
    assert paths.expand(obj, paths.parse("c[*].d")) == []
    assert paths.expand(obj, paths.parse("c")) == [("c",)]


MERGES: dict[str, tuple[dict[str, bool], Any, Any, Any]] = {
    "what is there is kept": ({"keep": True, "append": False}, {"a": 1, "b": {"c": 2}}, {"a": 9, "b": {"d": 3}}, None),
    "what is new wins": ({"keep": False, "append": False}, {"a": 1, "l": [1]}, {"a": 9, "l": [2]}, {"a": 9, "l": [2]}),
    "lists are joined once": ({"keep": True, "append": True}, {"l": [1, 2]}, {"l": [2, 3]}, {"l": [1, 2, 3]}),
    "empty counts as absent": ({"keep": True, "append": False}, {"a": "", "b": 0}, {"a": "x", "b": 5}, None),
}
MERGED = {
    "what is there is kept": {"a": 1, "b": {"c": 2, "d": 3}},
    "empty counts as absent": {"a": "x", "b": 5},
}


@pytest.mark.parametrize("case", MERGES)
def test_merging(case: str) -> None:
    how, old, new, wanted = MERGES[case]
    assert paths.merge(old, new, **how) == (wanted or MERGED[case])
