"""What it takes to have a claim served by another class, today: a new claim, and data moved by hand. Pure.

nothing made yet ──> another className        made ──> a new claim beside it ──> data moved ──> its users moved
"""

from dataclasses import dataclass

from libresh.api.cache import Redis
from libresh.api.claims import Claim
from libresh.api.services import ServiceClass
from libresh.cli.surroundings import Seen, handle_of, of_kind
from libresh.reconcilers.requiring import short_of


@dataclass(frozen=True)
class Alternative:
    """Another class of the same kind. `obstacle` says why it could not serve now."""

    name: str
    driver: str
    default: bool
    capabilities: tuple[str, ...]
    gains: tuple[str, ...]
    loses: tuple[str, ...]
    obstacle: str


@dataclass(frozen=True)
class Swap:
    """What it takes to have the claim served by another class, now."""

    now: str
    data: str
    steps: tuple[str, ...]
    classes: tuple[Alternative, ...] | None
    """None where this person may not list them."""


MEANS = {
    "PostgreSQL": "dump the old database with pg_dump and restore it into the new one",
    "Bucket": "copy all objects with an S3 client from the old bucket to the new one",
    "Redis": "move the keys by what the application has for that",
}
"""How data of a kind is moved with what the kind itself has."""

WITHOUT_DATA = {
    "Redis": "its content is a cache without persistence: it is not moved, the new one fills again",
    "SMTPAccount": "an account holds no data: the new one has another name, password and host, and mail that the old "
    "server has taken stays with that server",
    "OIDCClient": "a client holds no data; but people and their accounts belong to the identity provider: those of "
    "another provider may be strangers to the application",
}
"""What a new claim of a kind leaves behind where there is no data."""


def has_data(claim: Claim) -> bool:
    """Whether what stands behind the claim must be moved."""
    if isinstance(claim, Redis):
        return claim.spec.parameters.persistence
    return claim.KIND.kind not in WITHOUT_DATA


def plan_swap(seen: Seen, serving: str) -> Swap:
    """What is so today, the steps that work, and the classes to choose from. `serving`: the class that serves it."""
    kind = seen.claim.KIND.kind
    classes = None
    if seen.classes is not None:
        others = [cls for cls in of_kind(seen) if cls.name != serving]
        classes = tuple(weigh(cls, seen) for cls in others)
    if not seen.provisioned:
        data = "nothing has been made yet, so there is nothing to move"
        return Swap("the class can still be chosen", data, steps_before(seen), classes)
    now = (
        f"a claim keeps the class that serves it: the API server refuses another className, and libre.sh "
        f"does not move a claim from {serving} to another class"
    )
    if seen.owner and seen.owner.data and has_data(seen.claim):
        now += (
            f". {seen.owner.handle}, for which this claim was made, refuses another one once it has run, as that "
            f"would be empty"
        )
    data = f"its data must be moved: {MEANS[kind]}" if has_data(seen.claim) else WITHOUT_DATA[kind]
    if "clone" in seen.claim.status.capabilities:
        copied = f"spec.source: {{claim: {{name: {seen.claim.name}}}}}"
        data += f"; or, with another class of the driver {seen.claim.status.driver}, make the new claim with {copied}"
    return Swap(now, data, steps_after(seen), classes)


def steps_before(seen: Seen) -> tuple[str, ...]:
    """While no class serves the claim, another one is only named."""
    claim, owner = seen.claim, seen.owner
    where = f"kubectl -n {claim.namespace}"
    if owner is None:
        patch = '{"spec":{"className":"CLASS"}}'
        if claim.spec.composition_ref:
            patch = '{"spec":{"className":"CLASS","compositionRef":null}}'
        return (f"{where} patch {handle_of(claim)} --type merge -p '{patch}'",)
    return (f"write className: CLASS in {owner.field} of {owner.handle}: {where} edit {owner.handle}",)


def steps_after(seen: Seen) -> tuple[str, ...]:
    """A claim that is served: a new one beside it, its data moved by hand."""
    claim, owner, kind = seen.claim, seen.owner, seen.claim.KIND.kind
    if owner and owner.data and has_data(claim):
        return (
            f"make another {owner.app.KIND.kind} with className: CLASS in {owner.field}; its {kind} begins empty",
            "stop what writes to the old one, and move its data with the application's own means",
            f"see that all is there before {owner.handle} is deleted",
        )
    new = f"make a new {kind} in {claim.namespace} with spec.className: CLASS"
    if owner:
        use = f"write {owner.field} of {owner.handle} as {{claim: NEW}}, with the name of the new claim"
        if has_data(claim):
            return (f"{new}; it begins empty", f"move the data: {MEANS[kind]}", use)
        return (new, use)
    secret = f"NEW-{kind.lower()}-connection"
    use = f"let whoever uses the Secret {claim.connection_secret} use the new claim's instead: {secret}"
    done = f"when nothing uses the old one any more: kubectl -n {claim.namespace} delete {handle_of(claim)}"
    if not has_data(claim):
        return (new, use, done)
    move = f"stop what writes to the old one, and {MEANS[kind]}"
    return (f"{new}; it begins empty", move, use, f"{done} (its data: see deletion)")


def weigh(cls: ServiceClass, seen: Seen) -> Alternative:
    """Another class, and what it can do that this one cannot, and the other way round."""
    here, there = set(seen.claim.status.capabilities), set(cls.status.capabilities)
    known = seen.provisioned and bool(cls.status.conditions)
    return Alternative(
        name=cls.name,
        driver=cls.spec.driver,
        default=cls.is_default,
        capabilities=tuple(cls.status.capabilities),
        gains=tuple(sorted(there - here)) if known else (),
        loses=tuple(sorted(here - there)) if known else (),
        obstacle=obstacle_of(cls, seen),
    )


def obstacle_of(cls: ServiceClass, seen: Seen) -> str:
    """Why a class could not serve a claim now, in its own words; "" if it could."""
    if not cls.allows(seen.claim.namespace, seen.labels):
        return f"it does not allow the namespace {seen.claim.namespace}"
    if cls.deleting:
        return "it is being deleted"
    if not cls.status.conditions:
        return "no operator has looked at it yet"
    for type, bad in (("Stalled", "True"), ("Ready", "False")):
        for condition in cls.status.conditions:
            if condition.type == type and condition.status == bad:
                return condition.message or condition.reason
    missing = short_of(seen.claim.spec.requires, cls.status.capabilities)
    return f"it does not promise {missing}, which spec.requires asks for" if missing else ""
