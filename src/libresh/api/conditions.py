"""The pure merge of conditions: times move only when a status changes, order is stable."""

from collections.abc import Iterable
from datetime import datetime

from libresh.api.meta import Condition
from libresh.plan.decision import Delegated, Extra, Outcome, Settled, Stalled, Waiting

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"
ORDER = {READY: 0, RECONCILING: 1, STALLED: 2}


def conditions_for(outcome: Outcome | Delegated, extras: Iterable[Extra] = ()) -> list[Extra]:
    """What Ready, Reconciling and Stalled say of an outcome (kstatus: the last two only while True)."""
    found: list[Extra]
    match outcome:
        case Settled(message=message, reason=reason):
            found = [Extra(READY, True, reason, message)]
        case Waiting(reason=reason, message=message, ready=ready):
            found = [Extra(READY, ready, reason, message), Extra(RECONCILING, True, reason, message)]
        case Stalled(reason=reason, message=message, ready=ready):
            found = [Extra(READY, ready, reason, message), Extra(STALLED, True, reason, message)]
        case Delegated(reason=reason, message=message, heard=heard):
            found = [] if heard else [Extra(READY, None, reason, message)]
    return found + list(extras)


def merge(old: Iterable[Condition], new: Iterable[Extra], *, generation: int, now: datetime) -> list[Condition]:
    """The conditions to write: only the `new`, with the time of the `old` where the status did not change."""
    before = {condition.type: condition for condition in old}
    merged = []
    for extra in new:
        status = "Unknown" if extra.status is None else str(extra.status)
        previous = before.get(extra.type)
        unchanged = previous is not None and previous.status == status
        merged.append(
            Condition(
                type=extra.type,
                status=status,  # type: ignore[arg-type]
                observed_generation=generation,
                last_transition_time=previous.last_transition_time if unchanged and previous else now,
                reason=extra.reason,
                message=extra.message,
            )
        )
    return sorted(merged, key=lambda condition: (ORDER.get(condition.type, 9), condition.type))


def changed(old: Iterable[Condition], new: Iterable[Condition]) -> list[Condition]:
    """The conditions whose status or reason differs: what an event is worth."""
    before = {condition.type: (condition.status, condition.reason) for condition in old}
    return [c for c in new if before.get(c.type) != (c.status, c.reason)]


def find(conditions: Iterable[Condition], type: str) -> Condition | None:
    """The condition of this type, or None."""
    return next((condition for condition in conditions if condition.type == type), None)


__all__ = ["ORDER", "READY", "RECONCILING", "STALLED", "changed", "conditions_for", "find", "merge"]
