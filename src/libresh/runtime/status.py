"""What is written of a pass: conditions, the observed generation and the kind's own fields, only if they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from libresh.api import conditions
from libresh.api.meta import Condition, Resource
from libresh.errors import LibreshError
from libresh.kube.errors import Pending
from libresh.kube.objects import Entry
from libresh.plan.actions import Object
from libresh.plan.decision import OF_EVERY_KIND, Extra, Outcome, Stalled, Waiting

SUSPENDED = "Suspended"
INTERNAL_ERROR = "InternalError"
UNAVAILABLE = "Unavailable"
LONGEST_MESSAGE = 4096


class Conditions(msgspec.Struct):
    """The conditions in a stored status."""

    conditions: list[Condition] = []


class Status(msgspec.Struct):
    """Just the status of an object."""

    status: Object | None = None


STATUS = msgspec.json.Decoder(Status)


@dataclass(frozen=True, slots=True)
class Stored:
    """The status as the API server has it."""

    fields: Object
    conditions: list[Condition]

    def is_ready(self) -> bool:
        found = conditions.find(self.conditions, conditions.READY)
        return found is not None and found.status == "True"

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """Whether the kind's own fields are these."""
        own: Object = {key: value for key, value in self.fields.items() if key not in OF_EVERY_KIND}
        wanted: Object = without_nothing(msgspec.to_builtins(dict(fields)))
        return own == wanted


NOTHING_STORED = Stored({}, [])


def stored_status(entry: Entry, obj: Resource | None = None) -> Stored:
    """The status of a cached object. `obj` is the same object decoded, where it could be."""
    fields = STATUS.decode(entry.body).status if entry.body else None
    if not fields:
        return NOTHING_STORED
    if obj is not None and obj.status is not None:
        return Stored(fields, obj.status.conditions)
    try:
        return Stored(fields, msgspec.convert(fields, Conditions).conditions)
    except msgspec.ValidationError:
        return Stored(fields, [])  # written by somebody else; ours replaces it


def build_status(
    fields: Mapping[str, Any], extras: Sequence[Extra], stored: Stored, *, generation: int, now: datetime
) -> tuple[Object, list[Condition]]:
    """The status to have, as JSON, and its conditions."""
    if any(len(extra.message) > LONGEST_MESSAGE for extra in extras):
        extras = [Extra(extra.type, extra.status, extra.reason, shorten(extra.message)) for extra in extras]
    moment = now.replace(microsecond=0) if now.microsecond else now
    merged = conditions.merge(stored.conditions, extras, generation=generation, now=moment)
    wanted: Object = {**fields, "observedGeneration": generation, "conditions": merged}
    found: Object = msgspec.to_builtins(wanted)
    return found, merged


def build_part(
    fields: Mapping[str, Any], extras: Sequence[Extra], stored: Stored, *, generation: int, now: datetime
) -> tuple[Object, list[Condition]]:
    """As `build_status`, of a status that another controller writes, too: only what is ours of it."""
    wanted, merged = build_status(fields, extras, stored, generation=generation, now=now)
    del wanted["observedGeneration"]
    if not merged:
        del wanted["conditions"]
    return wanted, merged


def part_of(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Object:
    """What is stored of the fields and conditions that are wanted."""
    found = {key: stored[key] for key in wanted if key in stored}
    if "conditions" in found:
        ours = [condition["type"] for condition in wanted["conditions"]]
        known = {condition["type"]: condition for condition in found["conditions"]}
        found["conditions"] = [known[type] for type in ours if type in known]
    return found


def shorten(message: str) -> str:
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"


FREE = "parameters"
"""The field of a status that holds what a class says, which no schema of ours describes: an empty list says something
there, as in `users: {app: []}`."""


def without_nothing(value: Any, *, free: bool = False) -> Any:
    """Maps without keys that have no value: the API server drops null, and a list of which nothing is left."""
    if isinstance(value, dict):
        return {
            key: without_nothing(item, free=free or key == FREE)
            for key, item in value.items()
            if item is not None and (free or item != [])
        }
    if isinstance(value, list):
        return [without_nothing(item, free=free) for item in value]
    return value


def suspended(stored: Stored) -> list[Extra]:
    """What is said of an object that is left alone: what ran goes on running."""
    message = "Nothing is changed while spec.suspend is true"
    return [Extra(conditions.READY, stored.is_ready(), SUSPENDED, message)]


def outcome_of(error: LibreshError, *, ready: bool) -> Outcome:
    """What an error that people can act on means for the object."""
    if isinstance(error, Pending):
        return Waiting(error.reason, str(error), error.recheck, ready=ready)
    return Stalled(reason_of(error), str(error), ready=ready)


def reason_of(error: LibreshError) -> str:
    """The reference as a condition's reason: not-ours becomes NotOurs."""
    return "".join(part.capitalize() for part in error.reference.split("-")) or INTERNAL_ERROR
