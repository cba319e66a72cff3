"""Cases and what came of them, in the manner of Gateway API's conformance reports.

Of them (gateway-api v1.4.0, conformance/apis/v1/conformancereport.go and profilereport.go) are: implementation,
version, date, mode, and for each profile a result of its core and of its extended cases with statistics, the supported
and the unsupported features. A core case that was left out makes the result partial.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from libresh.conformance.bench import Bench

PASSED, FAILED, UNSUPPORTED, SKIPPED = "passed", "failed", "not supported", "skipped"
WORDS = (PASSED, FAILED, UNSUPPORTED, SKIPPED)
Level = Literal["core", "extended"]
LEVELS: tuple[Level, ...] = ("core", "extended")


class Failed(Exception):
    """What was to be, and what was instead."""


class NotSupported(Exception):
    """Why this is not to be expected of the driver."""


@dataclass(frozen=True)
class Case:
    """One thing that must be so."""

    name: str
    title: str
    level: Level
    capability: str
    """What the class must say that its services can do, for the case to be tried; "" for every class."""
    run: Callable[["Bench"], Awaitable[str | None]]
    """Returns a fact worth telling, if there is one."""


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    case: str
    title: str
    level: Level
    status: str
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Report:
    """One driver, one kind of claim, one run."""

    driver: str
    kind: str
    class_name: str
    version: str
    """Of libre.sh."""
    cluster: str
    """What the cluster calls itself: its version and its nodes."""
    date: str
    seconds: float
    capabilities: tuple[str, ...]
    crowd: int
    variant: str = ""
    """In which of the ways that the driver's classes can serve; "" for the usual one."""
    stub: str = ""
    """What in this run is a contract stub and not the real thing; "" if nothing is."""
    about: str = ""
    """What else must be known to read it rightly."""
    selected: bool = False
    """Whether only some cases were asked for."""
    results: tuple[Result, ...] = field(default_factory=tuple)

    def at(self, level: Level) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.level == level)

    @property
    def failed(self) -> bool:
        return any(result.status == FAILED for result in self.results)

    def as_json(self) -> dict[str, Any]:
        levels = {level: {"result": verdict(self.at(level)), "statistics": count(self.at(level))} for level in LEVELS}
        return asdict(self) | levels


def count(results: Iterable[Result]) -> dict[str, int]:
    """How many of each."""
    counted = Counter(result.status for result in results)
    return {word: counted[word] for word in WORDS}


def verdict(results: Sequence[Result]) -> str:
    """One word for some cases: what was left out makes it partial."""
    statuses = {result.status for result in results}
    if FAILED in statuses:
        return "failure"
    if not results or statuses - {PASSED}:
        return "partial"
    return "success"
