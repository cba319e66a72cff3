"""Reading manifests from text that may be anything."""

from typing import Any

import pytest

from libresh.cli import documents
from libresh.cli.documents import read

LEVELS = [f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(9)]
LAUGHS = "\n".join(["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]", *LEVELS])
MERGES = "\n".join(["a: &a {x: 1}", *(level.replace("[", "{<<: [").replace("]", "]}") for level in LEVELS)])

GOOD: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "one document": ("a: 1", [("document 1", {"a": 1})]),
    "several, empty ones left out": (
        "---\na: 1\n---\n---\nb: 2\n",
        [("document 1", {"a": 1}), ("document 3", {"b": 2})],
    ),
    "a list as kubectl prints it": (
        '{"kind": "List", "items": [{"a": 1}, {"b": 2}]}',
        [("document 1, item 1", {"a": 1}), ("document 1, item 2", {"b": 2})],
    ),
    "a list of something else is a document": ("[1, 2]", [("document 1", [1, 2])]),
    "dates are text, as they are in JSON": (
        "a: 2026-11-22\nb: 2026-99-99",
        [("document 1", {"a": "2026-11-22", "b": "2026-99-99"})],
    ),
    "anchors and merge keys": ("a: &a {x: 1}\nb: {<<: *a, x: 2}", [("document 1", {"a": {"x": 1}, "b": {"x": 2}})]),
    "a byte order mark": ("\ufeffa: 1", [("document 1", {"a": 1})]),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_can_be_read(case: str) -> None:
    text, wanted = GOOD[case]
    assert [(each.place, each.content) for each in read("f", text.encode())] == wanted


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "there is no object in it"),
    "null": (b"null", "there is no object in it"),
    "bytes": (b"\xff\xfe\x00", "not text in UTF-8"),
    "control characters": (b"a\0b", "characters that YAML does not allow"),
    "no YAML": (b"a: [", "it is not YAML (line 1, column 5)"),
    "a key twice": (b"driver: a\ndriver: b", "(line 2, column 1): 'driver' stands twice"),
    "huge": (b"a" * (documents.LIMIT + 1), "larger than 1 MiB"),
    "many values": (b"[" + b"1," * documents.NODES + b"1]", "more than 50000 values"),
    "aliases that multiply": (LAUGHS.encode(), "more than 50000 values"),
    "merge keys that multiply": (MERGES.encode(), "more than 50000 values"),
    "an alias of itself": (b"&a [*a]", "refers to itself"),
    "deep": (b"[" * 50_000, "nested too deeply"),
    "a number that is none": (b"!!int x", "does not fit its own YAML type"),
    "a truth that is none": (b"!!bool x", "does not fit its own YAML type"),
    "a number without end": (b"a: " + b"1" * 5000, "does not fit its own YAML type"),
    "an object of Python": (b"!!python/object/apply:os.system [id]", "could not determine a constructor"),
    "a key that is a list": (b"{[a]: 1}", "unhashable key"),
    "bytes within": (b"!!binary YQ==", "could not determine a constructor"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_says_why(case: str) -> None:
    data, why = BAD[case]
    (found,) = read("f", data)
    assert why in found.broken
    assert found.way_out
    assert found.content is None


def test_what_comes_before_a_mistake_is_read() -> None:
    first, second = read("f", b"a: 1\n---\nb: [")
    assert first.content == {"a": 1}
    assert second.place == "document 2"
    assert second.broken


def test_a_file_is_never_quoted() -> None:
    found = read("f", b"kind: Secret\nstringData:\n  password: s3cret\n  broken: [s3cret\n")
    assert "s3cret" not in str(found)
