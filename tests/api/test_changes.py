"""The table of changes: complete for every kind, and the same for schema, operator and CLI."""

from typing import Any

import pytest

from libresh.api import CLAIMS
from libresh.api.changes import Change, rules_of, table_of
from libresh.api.claims import Claim
from libresh.catalog.profile import field_type, struct_of
from libresh.drivers import drivers
from libresh.drivers.model import changes_of

every_kind = pytest.mark.parametrize("kind", CLAIMS, ids=lambda kind: kind.KIND.kind)


def fields(kind: type[Claim]) -> set[str]:
    """The names of a kind's parameters, as they are written."""
    found = struct_of(field_type(kind, "spec.parameters"))
    assert found is not None
    return set(found.__struct_encode_fields__)


@every_kind
def test_every_parameter_has_a_verdict(kind: type[Claim]) -> None:
    assert {change.field for change in changes_of(None, kind)} == fields(kind)


@pytest.mark.parametrize("driver", drivers().values(), ids=lambda driver: f"{driver.claim_kind}-{driver.name}")
def test_a_driver_speaks_of_parameters_there_are_and_is_stricter(driver: Any) -> None:
    kind = next(kind for kind in CLAIMS if kind.KIND.kind == driver.claim_kind)
    declared = {change.field: change for change in changes_of(None, kind)}
    order = ("allowed", "grows", "operation", "refused")
    for change in getattr(driver, "changes", ()):
        assert order.index(change.verdict) >= order.index(declared[change.field].verdict)
        assert not change.given or change.given in fields(kind)


@every_kind
def test_what_no_driver_allows_the_schema_refuses(kind: type[Claim]) -> None:
    table = changes_of(None, kind)
    assert len(rules_of(table)) == len([change for change in table if change.verdict != "allowed"])
    for rule in rules_of(table):
        assert "oldSelf" in rule.rule
        assert rule.message.startswith(rule.field.removeprefix("."))


EDITS: dict[str, tuple[str, Any, Any, bool]] = {
    "allowed": ("allowed", "a", "b", False),
    "grows": ("grows", "1Gi", "2Gi", False),
    "the same in another unit": ("grows", "1Gi", "1024Mi", False),
    "shrinks": ("grows", "1Gi", "1G", True),
    "goes": ("grows", "1Gi", None, True),
    "refused": ("refused", "a", "b", True),
    "refused and the same": ("refused", "a", "a", False),
    "refused and new": ("refused", None, "b", False),
    "an operation": ("operation", "17", "18", True),
}


@pytest.mark.parametrize(("verdict", "old", "new", "forbidden"), EDITS.values(), ids=EDITS)
def test_forbids(verdict: Any, old: Any, new: Any, forbidden: bool) -> None:
    assert Change("x", verdict, "because").forbids(old, new) is forbidden


@pytest.mark.parametrize("driver", drivers().values(), ids=lambda driver: f"{driver.claim_kind}-{driver.name}")
def test_who_hands_claims_on_says_of_every_edit_that_is_made_what_follows(driver: Any) -> None:
    """What the kind says of it is of servers that libre.sh runs."""
    if driver.name == "embedded":
        return
    kind = next(kind for kind in CLAIMS if kind.KIND.kind == driver.claim_kind)
    declared = {change.field: change for change in changes_of(None, kind)}
    told = {change.field: change.words for change in changes_of(driver, kind)}
    same = {"extensions"} if driver.name in ("cloudnative-pg", "zalando") else set()
    for field, change in declared.items():
        if change.verdict in ("allowed", "grows") and field not in same:
            assert told[field] != change.words, field


def test_what_grows_says_both_ways() -> None:
    change = Change("storage", "grows", "it cannot", grown="it does").told_otherwise("nothing follows")
    assert change.words == "nothing follows. Downwards never: it cannot"
    assert change.message == "storage can grow but not shrink: it cannot"


def test_a_driver_goes_before_the_kind() -> None:
    kind = (Change("a", "allowed", "x"), Change("b", "allowed", "x"))
    assert table_of(kind, (Change("b", "refused", "y"),)) == (kind[0], Change("b", "refused", "y"))
