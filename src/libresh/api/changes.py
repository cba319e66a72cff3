"""What becomes of an edit of a claim that is served: declared once, for the schema, the operator, the CLI and the docs.

A kind of claim says it of each of its parameters (`CHANGES`); a driver may be stricter, and says so (`Driver.changes`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from libresh.api.meta import FORBIDDEN, Rule
from libresh.api.quantity import parse

Verdict = Literal["allowed", "grows", "operation", "refused"]
"""`grows`: only upwards; `operation`: it takes a long process of its own, which libre.sh does not have yet."""


@dataclass(frozen=True)
class Change:
    """What becomes of an edit of one parameter.

    `told` ends the sentence: of what is allowed, what happens; otherwise the reason and the way out. `given` names a
    switch among the parameters without which all is allowed. `grown`: of what grows, what happens then.
    """

    field: str
    verdict: Verdict
    told: str
    given: str = ""
    grown: str = ""

    @property
    def message(self) -> str:
        """What a person is told who may not."""
        match self.verdict:
            case "grows":
                return f"{self.field} can grow but not shrink: {self.told}"
            case "operation":
                return f"{self.field} cannot be changed yet: {self.told}"
        return f"{self.field} cannot be changed: {self.told}"

    @property
    def words(self) -> str:
        """What happens, or why not; and under which switch that holds."""
        told = f"{self.grown}. Downwards never: {self.told}" if self.grown else self.told
        return f"{told} (with {self.given})" if self.given else told

    def told_otherwise(self, words: str) -> "Change":
        """The same, where something else follows, or nothing. What is never made is not told of."""
        return replace(self, grown=words) if self.verdict == "grows" else replace(self, told=words)

    def forbids(self, old: Any, new: Any) -> bool:
        """Whether the edit from `old` to `new` is one that is not made."""
        if self.verdict == "allowed" or old is None or old == new:
            return False
        return self.verdict != "grows" or new is None or parse(new) < parse(old)


def rules_of(changes: Iterable[Change]) -> tuple[Rule, ...]:
    """The rules by which the API server refuses what no driver allows."""
    return tuple(rule_of(change) for change in changes if change.verdict != "allowed")


def rule_of(change: Change) -> Rule:
    name = change.field
    if change.verdict == "grows":
        rule = (
            f"!has(oldSelf.{name}) || !isQuantity(oldSelf.{name}) || (has(self.{name}) && "
            f"(!isQuantity(self.{name}) || quantity(self.{name}).compareTo(quantity(oldSelf.{name})) >= 0))"
        )
    else:
        rule = f"!has(oldSelf.{name}) || (has(self.{name}) && self.{name} == oldSelf.{name})"
    return Rule(rule, change.message, field=f".{name}", reason=FORBIDDEN)


def table_of(kind: Sequence[Change], driver: Sequence[Change]) -> tuple[Change, ...]:
    """The whole table of one driver: what the kind says, unless the driver says otherwise."""
    own = {change.field: change for change in driver}
    return tuple(own.get(change.field, change) for change in kind)


STORAGE = Change(
    "storage",
    "grows",
    "no volume can be made smaller without risking what is on it. Keep the size it has, or make a smaller claim and "
    "move the data to it",
    grown="the volume grows, where its StorageClass can",
)
