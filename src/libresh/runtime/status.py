"""What is written of a pass: conditions, the observed generation and the kind's own fields, only if they differ."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from libresh.api import conditions
from libresh.api.meta import Condition
from libresh.errors import LibreshError
from libresh.kube.errors import Pending
from libresh.kube.objects import PARTS, Entry
from libresh.plan.actions import Object
from libresh.plan.decision import Extra, Outcome, Stalled, Waiting

SUSPENDED = "Suspended"
INTERNAL_ERROR = "InternalError"
UNAVAILABLE = "Unavailable"
LONGEST_MESSAGE = 4096


class Conditions(msgspec.Struct):
    """The conditions in a stored status."""

    conditions: list[Condition] = []


CONDITIONS = msgspec.json.Decoder(Conditions)


@dataclass(frozen=True, slots=True)
class Stored:
    """The status as the API server has it."""

    fields: Object
    conditions: list[Condition]

    def is_ready(self) -> bool:
        found = conditions.find(self.conditions, conditions.READY)
        return found is not None and found.status == "True"


NOTHING_STORED = Stored({}, [])


def stored_status(entry: Entry) -> Stored:
    """Reads the status of a cached object."""
    raw = bytes(PARTS.decode(entry.body).status) if entry.body else b""
    if raw in (b"", b"null", b"{}"):
        return NOTHING_STORED
    fields = msgspec.json.decode(raw)
    try:
        return Stored(fields, CONDITIONS.decode(raw).conditions)
    except msgspec.MsgspecError:
        return Stored(fields, [])  # written by somebody else; ours replaces it


def build_status(
    fields: Mapping[str, Any], extras: Iterable[Extra], stored: Stored, *, generation: int, now: datetime
) -> tuple[Object, list[Condition]]:
    """The status to have, as JSON, and its conditions."""
    shortened = [
        Extra(extra.type, extra.status, extra.reason, shorten(extra.message)) if len(extra.message) > 999 else extra
        for extra in extras
    ]
    merged = conditions.merge(stored.conditions, shortened, generation=generation, now=now.replace(microsecond=0))
    wanted: Object = {key: value for key, value in fields.items() if key not in ("conditions", "observedGeneration")}
    wanted["observedGeneration"] = generation
    wanted["conditions"] = merged
    return without_nothing(msgspec.to_builtins(wanted)), merged


def shorten(message: str) -> str:
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"


def without_nothing(value: Any) -> Any:
    """Maps without keys that have no value: the API server drops null."""
    if isinstance(value, dict):
        return {key: without_nothing(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nothing(item) for item in value]
    return value


def suspended(stored: Stored) -> list[Extra]:
    """What is said of an object that is left alone: what ran goes on running."""
    message = "Nothing is changed while spec.suspend is true"
    return [Extra(conditions.READY, stored.is_ready(), SUSPENDED, message)]


def outcome_of(error: LibreshError, *, ready: bool) -> Outcome:
    """What an error that people can act on means for the object."""
    if isinstance(error, Pending):
        return Waiting(error.reason, str(error), ready=ready)
    return Stalled(reason_of(error), str(error), ready=ready)


def reason_of(error: LibreshError) -> str:
    """The reference as a condition's reason: not-ours becomes NotOurs."""
    return "".join(part.capitalize() for part in error.reference.split("-")) or INTERNAL_ERROR
