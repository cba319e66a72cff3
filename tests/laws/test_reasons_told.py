"""Every reason that a condition can have is explained in docs/kinds, and the pages explain none that there is not."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import libresh
from libresh.runtime import status

SOURCE = Path(libresh.__file__).parent
PARTS = ("api", "apps", "catalog", "drivers", "kube", "plan", "reconcilers", "runtime")
TEXTS = [file.read_text() for part in PARTS for file in (SOURCE / part).rglob("*.py")]
PAGES = [page.read_text() for page in (SOURCE.parents[1] / "docs/kinds").glob("*.md")]
TELLING = re.compile(r"\b(Waiting|Stalled|Delegated|Refusal|Pending)\(")
"""What takes a reason first."""
CONSTANT = re.compile(r'^([A-Z_]+) = "([A-Z][A-Za-z]+)"', re.MULTILINE)
ROW = re.compile(r"^\| ((?:`[A-Z][A-Za-z]+`(?:, )?)+) \|", re.MULTILINE)
CONDITIONS = {"Ready", "Reconciling", "Stalled"}
OF_THE_LOOP = {"Settled", "InvalidObject", "NotOurs", "Refused", status.SUSPENDED, status.INTERNAL_ERROR}
"""What the loop says by itself, some of it made of an error's reference."""


def told() -> set[str]:
    """The reasons in the code; of `ROLLING if usable else handed.NOT_READY` both."""
    values = defaultdict(set)
    for name, value in (found for text in TEXTS for found in CONSTANT.findall(text)):
        values[name].add(value)
    trees = [ast.parse(text) for text in TEXTS if TELLING.search(text)]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    firsts = [call.args[0] for call in calls if TELLING.match(f"{name_of(call.func)}(")]
    return {value for first in firsts for node in ast.walk(first) for value in values[name_of(node)]}


def name_of(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def explained() -> set[str]:
    rows = [row for page in PAGES for row in ROW.findall(page)]
    return {reason for row in rows for reason in re.findall(r"[A-Z][A-Za-z]+", row)} - CONDITIONS


def test_every_reason_is_explained() -> None:
    found = told()
    assert len(found) > 80
    assert (found | OF_THE_LOOP) - explained() == set()


def test_what_is_explained_is_a_word_of_the_code() -> None:
    words = {word for text in TEXTS for word in re.findall(r'"([A-Z][A-Za-z]+)"', text)}
    assert explained() - words - OF_THE_LOOP == set()
