"""Label and field selectors."""

import re
from collections.abc import Callable, Mapping

from .errors import bad_request
from .kinds import Kind
from .store import Stored

Test = Callable[[Mapping[str, str]], bool]
PART = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<no>[\w./-]+)|(?P<key>[\w./-]+)\s*"
    r"(?:(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)|(?P<set>in|notin)\s*\(\s*(?P<values>[^)]*)\))?)\s*(?:,|$)"
)


def parse_labels(text: str) -> Test:
    """A test for labels: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`."""
    tests: list[Test] = []
    position = 0
    while position < len(text):
        found = PART.match(text, position)
        if not found or found.end() == position:
            raise bad_request(f'unable to parse requirement: found "{text[position:]}", expected: identifier')
        tests.append(label_test(found))
        position = found.end()
    return lambda labels: all(test(labels) for test in tests)


def label_test(found: re.Match[str]) -> Test:
    """One requirement."""
    if found["absent"]:
        absent = found["no"]
        return lambda labels: absent not in labels
    key, value, operator = found["key"], found["value"], found["op"]
    if operator in ("=", "=="):
        return lambda labels: labels.get(key) == value
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    if found["set"]:
        values = {part.strip() for part in found["values"].split(",")}
        if found["set"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    return lambda labels: key in labels


def parse_fields(text: str, kind: Kind) -> Callable[[Stored], bool]:
    """A test for fields. Every kind has metadata.name and metadata.namespace; others read the object."""
    tests: list[Callable[[Stored], bool]] = []
    for part in filter(None, text.split(",")):
        found = re.match(r"^([\w.]+)(==|=|!=)(.*)$", part)
        if not found:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        field, operator, value = found.groups()
        tests.append(field_test(field, value, operator != "!=", kind))
    return lambda stored: all(test(stored) for test in tests)


EXTRA = {
    "Secret": ("type",),
    "Pod": ("spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP", "spec.serviceAccountName"),
    "Job": ("status.successful",),
    "Namespace": ("status.phase",),
    "Event": (
        "involvedObject.name",
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.uid",
        "reason",
        "type",
        "regarding.name",
        "regarding.kind",
        "regarding.uid",
        "regarding.namespace",
    ),
}


def field_test(field: str, value: str, wanted: bool, kind: Kind) -> Callable[[Stored], bool]:
    """One requirement."""
    if field == "metadata.name":
        return lambda stored: (stored.name == value) == wanted
    if field == "metadata.namespace" and kind.namespaced:
        return lambda stored: (stored.namespace == value) == wanted
    if field not in EXTRA.get(kind.kind, ()) and f".{field}" not in kind.selectable:
        raise bad_request(f"field label not supported: {field}")
    return lambda stored: (read_field(stored, field) == value) == wanted


def read_field(stored: Stored, field: str) -> str:
    """A field's value as text."""
    here: object = stored.decode()
    for part in field.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return "" if here is None else str(here)


__all__ = ["parse_fields", "parse_labels"]
