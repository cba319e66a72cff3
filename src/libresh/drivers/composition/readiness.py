"""Whether another operator's object is ready, as its readiness checks say. Pure.

All checks must hold; without any, the condition Ready must be True (docs.crossplane.io v1.20, concepts/compositions
"Resource readiness checks"). An `Object` without checks is ready as its `readiness.policy` says. Where the operator's
ways are known (`known.py`), these stand for checks that are not there.
"""

from typing import Any

from libresh.drivers.composition import known, paths, shape
from libresh.drivers.composition.gotext import type_name
from libresh.drivers.composition.model import MatchCondition, ReadinessCheck, Resource
from libresh.plan.actions import Object

SHOWN = 60
"""How much of a field's value is shown."""


def why_not(resource: Resource, composed: Object, live: Object) -> str:
    """What is still missing, in words that name field and value; "" when it is ready."""
    view = shape.observed(composed, live)
    if not resource.readiness_checks:
        return default_check(composed, live)
    for wish in resource.readiness_checks:
        if missing := run(wish, view, live):
            return missing
    return ""


def default_check(composed: Object, live: Object) -> str:
    """The check where none is declared."""
    if found := known.find(live):
        path, value = found.ready
        return run(ReadinessCheck(type="MatchString", field_path=path, match_string=value), live, live)
    if shape.is_wrapper(composed):
        return by_policy(composed, live)
    return match_condition(live, "Ready", "True")


def run(wish: ReadinessCheck, view: Object, live: Object) -> str:
    """One check."""
    if wish.type == "None":
        return ""
    if wish.type == "MatchCondition":
        return condition(wish.match_condition, view, live)
    path = paths.parse(wish.field_path or "")
    short = path[3:] if path[:3] in (shape.LIVE, shape.MANIFEST) and shape.is_wrapper(view) else path
    value = paths.find(view, path)
    name = paths.show(short)
    match wish.type:
        case "NonEmpty":
            # Crossplane asks only whether the field is there.
            return "" if is_there(view, path) else f"{name} is not there yet"
        case "MatchString":
            return compare(name, value, wish.match_string)
        case "MatchInteger":
            return compare(name, value, wish.match_integer)
        case "MatchTrue":
            return compare(name, value, True)
        case "MatchFalse":
            return compare(name, value, False)
    return ""


def is_there(view: Object, path: paths.Path) -> bool:
    try:
        paths.get(view, path)
    except (paths.NotThere, paths.BadPath):
        return False
    return True


def compare(name: str, value: Any, wanted: Any) -> str:
    """Whether a field has the value it must have, and that type."""
    if type(value) is type(wanted) and value == wanted:
        return ""
    if shown(value) == shown(wanted):
        return f"{name} is {type_name(value)}, not {type_name(wanted)}"
    return f"{name} is {shown(value)}, not {shown(wanted)}"


def shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        text = str(value)
        return text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return "something else"


def condition(wish: MatchCondition, view: Object, live: Object) -> str:
    """A condition of the object, or one that its wrapper would have."""
    if not shape.is_wrapper(view):
        return match_condition(live, wish.type, wish.status)
    missing = by_policy(view, live) if wish.type == "Ready" else ""
    holds = "False" if missing else "True"
    return "" if holds == wish.status else missing or f"its condition {wish.type} is {holds}, not {wish.status}"


def match_condition(live: Object, type: str, status: str) -> str:
    found = next((each.get("status") for each in conditions(live) if each.get("type") == type), "Unknown")
    return "" if found == status else f"its condition {type} is {shown(found)}, not {shown(status)}"


def by_policy(composed: Object, live: Object) -> str:
    """As provider-kubernetes decides: once it was made, once it is Ready, or once all its conditions are True."""
    policy = paths.find(composed, ("spec", "readiness", "policy")) or "SuccessfulCreate"
    if policy == "SuccessfulCreate":
        return ""
    if policy == "DeriveFromObject":
        return match_condition(live, "Ready", "True")
    wrong = sorted(str(each.get("type")) for each in conditions(live) if each.get("status") != "True")
    if wrong:
        return f"its conditions {', '.join(wrong)} are not True"
    return "" if conditions(live) else "it has no conditions yet"


def conditions(live: Object) -> list[Object]:
    found = paths.find(live, ("status", "conditions"))
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
