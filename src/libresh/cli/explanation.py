"""What `libresh claim explain` concludes: who serves a claim and why, how it stands, what another class takes. Pure.

Of a claim that is provisioned the record in its status speaks; of another one, what the operator would choose.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import msgspec

from libresh.api.claims import Claim
from libresh.api.meta import Condition
from libresh.api.services import DEFAULT_CLASS
from libresh.cli import overview
from libresh.cli.surroundings import NOT_LISTED, Seen, class_of, handle_of, of_kind
from libresh.cli.swapping import Swap, plan_swap
from libresh.drivers import drivers
from libresh.drivers.connection import REQUIRED, USUAL, missing_keys
from libresh.drivers.model import changes_of, runs_server
from libresh.reconcilers.binding import taken
from libresh.reconcilers.claim import Chosen, check_class, choose_default
from libresh.reconcilers.requiring import short_of


@dataclass(frozen=True)
class Choice:
    """The class that serves a claim, or would, and why that one."""

    name: str
    driver: str
    provisioned: bool
    why: str


@dataclass(frozen=True)
class Difference:
    """A parameter that the class has otherwise than the claim; None: it is not set."""

    parameter: str
    claim: Any
    cls: Any


@dataclass(frozen=True)
class Editable:
    """What becomes of an edit of one parameter of the claim."""

    parameter: str
    verdict: str
    words: str


@dataclass(frozen=True)
class Policy:
    """What becomes of the data when the claim is deleted, and who says so."""

    value: str
    source: str


@dataclass(frozen=True)
class Connection:
    """The connection secret: its name and its keys. `exists` is None where that may not be looked at."""

    secret: str
    exists: bool | None
    has: tuple[str, ...]
    lacks: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Told:
    """A condition in words."""

    type: str
    status: str
    reason: str
    message: str
    words: str


@dataclass(frozen=True)
class Explanation:
    """All that is told of a claim."""

    claim: str
    namespace: str
    state: str
    owner: str
    choice: Choice
    instance: str
    capabilities: tuple[str, ...]
    requires: str
    """What it must be able to do, and what of that it cannot; "" where nothing is required."""
    source: str
    """Whose data it begins with; "" for one that begins empty."""
    restorable: str
    """What can be restored, as the provider says; "" where that does not tell."""
    parameters: str
    differences: tuple[Difference, ...]
    deletion_policy: Policy
    connection: Connection
    conditions: tuple[Told, ...]
    changes: tuple[Editable, ...]
    swap: Swap

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def build_explanation(seen: Seen, state: str) -> Explanation:
    """Everything from what was read; `state` is the claim's in one word, as on the status screen."""
    claim, choice = seen.claim, choose(seen)
    differences = find_differences(seen)
    return Explanation(
        claim=handle_of(claim),
        namespace=claim.namespace,
        state=state,
        owner=seen.owner.handle if seen.owner else "",
        choice=choice,
        instance=claim.status.instance.ref if claim.status.instance else "",
        capabilities=tuple(claim.status.capabilities),
        requires=describe_requires(seen),
        source=describe_source(claim),
        restorable=describe_window(claim),
        parameters=describe_parameters(seen, differences),
        differences=differences,
        deletion_policy=find_policy(seen, choice),
        connection=describe_connection(seen),
        conditions=tuple(tell(condition, claim, seen.now) for condition in claim.status.conditions),
        changes=list_changes(seen.claim, choice.driver),
        swap=plan_swap(seen, choice.name),
    )


def list_changes(claim: Claim, driver: str) -> tuple[Editable, ...]:
    """What can be changed of the claim, as the table of its kind and driver has it."""
    table = changes_of(drivers().get((claim.KIND.kind, driver)), type(claim))
    return tuple(Editable(f"spec.parameters.{each.field}", each.verdict, each.words) for each in table)


def describe_requires(seen: Seen) -> str:
    """What the claim must be able to do. Before a class serves it, why that one does not is told of the class."""
    claim = seen.claim
    wanted = ", ".join(claim.spec.requires or ())
    missing = short_of(claim.spec.requires, claim.status.capabilities) if seen.provisioned else ""
    return f"{wanted}; it cannot do {missing}" if missing else wanted


def describe_source(claim: Claim) -> str:
    """Whose data the claim begins with."""
    source = claim.source
    if source is None:
        return ""
    of_when = f"at {written(source.at)}" if source.at else "at the time it was copied"
    return f"the data of {claim.KIND.kind.lower()}/{source.claim.name} as it was {of_when}"


def describe_window(claim: Claim) -> str:
    """What can be restored of the claim's data."""
    window = getattr(claim.status, "recovery_window", None)
    if window is None:
        return ""
    earliest = f"from {written(window.earliest)} on" if window.earliest else "since when is not told"
    return f"{earliest}, last backup {written(window.latest)}" if window.latest else earliest


def written(moment: datetime) -> str:
    """A time as it is written in a claim."""
    return str(msgspec.to_builtins(moment))


# --- who serves it, and why ------------------------------------------------------------------------------------


def choose(seen: Seen) -> Choice:
    """The class on record; or, before there is one, what the operator would choose."""
    status = seen.claim.status
    if seen.provisioned:
        return Choice(status.class_name or "", status.driver or "", True, why_on_record(seen))
    if seen.classes is None:
        return Choice("", "", False, f"no class serves it yet, and which one would cannot be told: {NOT_LISTED}")
    wanted, classes = seen.claim.wanted_class, of_kind(seen)
    if wanted is None:
        found = choose_default(seen.claim, classes, seen.labels)
        why = f"{spelling(seen.claim)} is not set, and it is the default class: it has {annotation()}"
    else:
        found = check_class(seen.claim, class_of(seen, wanted), classes, seen.labels)
        why = f"{spelling(seen.claim)} names it"
    if isinstance(found, Chosen):
        return Choice(found.name, found.driver, False, f"{why}; nothing has been made yet")
    return Choice("", "", False, found.message)


def spelling(claim: Claim) -> str:
    """The field that names the class, in the spelling the person chose."""
    return "spec.compositionRef" if not claim.spec.class_name and claim.spec.composition_ref else "spec.className"


def annotation() -> str:
    return f'the annotation {DEFAULT_CLASS}: "true"'


def why_on_record(seen: Seen) -> str:
    """Why the class that serves the claim is the one."""
    claim, name = seen.claim, seen.claim.status.class_name
    wanted, cls = claim.wanted_class, class_of(seen, name)
    gone = "" if cls or seen.classes is None else "; there is no such class any more: the record in the status serves"
    if wanted == name:
        return f"{spelling(claim)} names it{gone}"
    if wanted is not None:
        return f"{spelling(claim)} names {wanted}, but {name} served it first, and a claim keeps its class{gone}"
    why = f"spec.className is not set, and it was the default class of {claim.KIND.kind} when the claim was provisioned"
    if cls is None:
        return f"{why}{gone}"
    if cls.is_default:
        return f"{why}; it still has {annotation()}"
    others = ", ".join(each.name for each in of_kind(seen) if each.is_default) or "none"
    return f"{why}; it no longer has {annotation()}, but a claim keeps its class (default now: {others})"


def find_differences(seen: Seen) -> tuple[Difference, ...]:
    """Parameters of the class that were changed since the claim was provisioned."""
    cls = class_of(seen, seen.claim.status.class_name)
    if not seen.provisioned or cls is None:
        return ()
    return tuple(compare(seen.claim.status.parameters or {}, cls.spec.parameters))


def compare(claim: dict[str, Any], cls: dict[str, Any], prefix: str = "") -> Iterator[Difference]:
    """Values by path that are not the same."""
    for key in sorted(claim.keys() | cls.keys()):
        ours, theirs = claim.get(key), cls.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            yield from compare(ours, theirs, f"{prefix}{key}.")
        elif ours != theirs:
            yield Difference(f"{prefix}{key}", ours, theirs)


def describe_parameters(seen: Seen, differences: Sequence[Difference]) -> str:
    """How the claim's parameters stand to the class's."""
    status = seen.claim.status
    if not seen.provisioned:
        return "they are copied from the class when the claim is provisioned"
    if seen.classes is None:
        return f"whether the class was changed since cannot be told: {NOT_LISTED}"
    if class_of(seen, status.class_name) is None:
        return "as they were when the claim was provisioned; the class is gone"
    if not differences:
        return "as the class has them"
    if runs_server(drivers().get((seen.claim.KIND.kind, status.driver or ""))):
        return (
            "the class was changed since: what concerns the server it runs for all its claims is in effect, "
            "what the claim itself was given stays"
        )
    return "the class was changed since: this claim keeps what it was provisioned with"


def find_policy(seen: Seen, choice: Choice) -> Policy:
    """As the operator finds it: the claim's own word, else the class's as it is now, else the record."""
    claim = seen.claim
    if claim.spec.deletion_policy:
        by = f", as {seen.owner.handle} says" if seen.owner else ""
        return Policy(claim.spec.deletion_policy, f"spec.deletionPolicy of the claim{by}")
    cls = class_of(seen, choice.name)
    if cls is not None:
        source = f"ServiceClass {cls.name} says so, and the claim has no spec.deletionPolicy"
        return Policy(cls.spec.deletion_policy, source)
    if not seen.provisioned:
        return Policy("", "the class decides, once there is one: the claim has no spec.deletionPolicy")
    why = NOT_LISTED if seen.classes is None else f"ServiceClass {choice.name} is gone"
    return Policy(claim.status.deletion_policy or "Retain", f"the record in status.deletionPolicy: {why}")


# --- how it stands -----------------------------------------------------------------------------------------------


def describe_connection(seen: Seen) -> Connection:
    """The connection secret by its keys."""
    claim, kind = seen.claim, seen.claim.KIND.kind
    name = claim.status.binding.name if claim.status.binding else claim.connection_secret
    if seen.secret_hidden:
        return Connection(name, None, (), (), f"you may not read Secrets in {claim.namespace}")
    if seen.secret is None:
        note = "it is written again by the operator" if claim.status.binding else "it is written once it is complete"
        return Connection(name, False, (), REQUIRED[kind], note)
    has = tuple(key for key in USUAL[kind] if key in seen.secret.keys)
    lacks = missing_keys(kind, seen.secret.keys)
    return Connection(name, True, has, lacks, note_of(seen, lacks))


def note_of(seen: Seen, lacks: Sequence[str]) -> str:
    """What there is to say of a connection secret that exists."""
    assert seen.secret is not None
    if stop := taken(seen.claim, seen.claim.connection_secret, seen.secret):
        return stop.message
    if lacks:
        return "it is not complete"
    return "" if seen.claim.status.binding else "the claim has not published it yet"


WORDS = {
    ("Ready", "True"): "it is ready",
    ("Ready", "False"): "it is not ready",
    ("Ready", "Unknown"): "whether it is ready is not known",
    ("Reconciling", "True"): "it is on its way",
    ("Stalled", "True"): "it cannot go on until somebody changes something",
}


def tell(condition: Condition, claim: Claim, now: datetime) -> Told:
    """One condition in a sentence."""
    words = WORDS.get((condition.type, condition.status), f"{condition.type} is {condition.status}")
    if condition.last_transition_time:
        words += f", for {overview.said_age(condition.last_transition_time.isoformat(), now)}"
    if 0 < condition.observed_generation < claim.metadata.generation:
        words += " (of an earlier edit)"
    if condition.message:
        words += f": {condition.message}"
    return Told(condition.type, condition.status, condition.reason, condition.message, words)
