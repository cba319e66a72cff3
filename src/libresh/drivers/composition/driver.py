"""Any claim as another operator's object, by the vocabulary of Crossplane's compositions.

    claim ──> composite (in memory) ──patches──> objects ──> their operators make something of them
                    ^                               │
                    └── status <──patches───────────┤ seen again
                                                    ├── readiness checks ──> outcome
                                                    └── their Secrets ──> connection secret

What is made holds data: it has no owner, and goes only under Delete.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec

from libresh.drivers import handed
from libresh.drivers.composition import checks, connection, readiness, render, shape
from libresh.drivers.composition.connection import Made
from libresh.drivers.composition.model import Composition, PatchSet, Resource
from libresh.drivers.composition.render import Awaited
from libresh.drivers.composition.shape import Unfit
from libresh.drivers.connection import REQUIRED
from libresh.drivers.handed import COMPOSING, CREDENTIALS_MISSING, NOT_READY
from libresh.drivers.model import Ask, Provision, Seen, told_otherwise
from libresh.plan import naming
from libresh.plan.actions import Action, Apply, Object, Ref, Theirs, Value
from libresh.plan.decision import Outcome, Settled, Stalled, Waiting

Namespace = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver: `resources` and `patchSets` as a Crossplane Composition has them."""

    claim_kind: ClassVar[str] = ""

    resources: list[Resource]
    patch_sets: list[PatchSet] = []
    namespaces: list[Namespace] = []
    """Where a patch may put objects besides the claim's namespace and the operator's."""

    def __post_init__(self) -> None:
        checks.check(self.composition, self.claim_kind)

    @property
    def composition(self) -> Composition:
        return Composition(resources=self.resources, patch_sets=self.patch_sets)


@dataclass(frozen=True)
class Part:
    """One resource of a claim, with what was seen of it."""

    made: Made
    ref: Ref
    live: Object | None


class ByComposition:
    """Serves one kind of claim by objects of other operators."""

    name = "composition"
    watches = handed.WATCHES

    def __init__(self, claim_kind: str) -> None:
        self.claim_kind = claim_kind
        self.parameters = handed.parameters_for(claim_kind, Parameters)
        self.changes = told_otherwise(claim_kind, "the class's composition says what follows")

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Nothing is known of what other operators can do."""
        return ()

    def refuse(self, ask: Ask) -> Stalled | None:
        """A claim that nothing was made for yet. What is there already is looked at first: see `plan`."""
        if ask.claim.status.driver is not None:
            return None
        try:
            composite = render.composite_of(ask.claim)
            for each in identified(ask):
                compose(ask, each, composite)
        except Unfit as error:
            return handed.unfit(ask, error)
        return None

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        try:
            made = identified(ask)
        except Unfit:
            return ()
        secrets = [
            Theirs("Secret", key.name, key.namespace, connection.label_of(made, key))
            for key in connection.sources(made)
        ]
        return tuple(dict.fromkeys([*map(ref_of, made), *secrets]))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        try:
            parts = [Part(each, ref_of(each), seen.get(ref_of(each))) for each in identified(ask)]
        except Unfit as error:
            return Provision(handed.unfit(ask, error))
        kept, strangers = handed.sort_out(ask.claim, [part.ref for part in parts], seen)
        if strangers:
            return Provision(handed.taken(strangers[0]), instance=instance_of(parts), kept=kept)
        try:
            actions, waits, views = self.compose(ask, parts)
        except Unfit as error:
            refused = handed.unfit(ask, error, ready=not unready(parts))
            return Provision(refused, instance=instance_of(parts), kept=kept)
        values, missing = self.connect(parts, views, seen)
        outcome = conclude(parts, waits, missing)
        return Provision(outcome, actions, values, instance_of(parts), kept)

    def compose(
        self, ask: Ask, parts: Sequence[Part]
    ) -> tuple[tuple[Action, ...], tuple[str, ...], Mapping[int, Object]]:
        """The objects to apply, what is waited for, and the resources that are there, by their number."""
        composite = render.composite_of(ask.claim)
        composition: Composition = ask.parameters.composition
        waits: list[str] = []
        views = {at: shape.observed(part.made.skeleton, part.live) for at, part in enumerate(parts) if part.live}
        for at, view in views.items():
            try:
                render.observe(composition, parts[at].made.resource, view, composite)
            except Awaited as error:
                waits.append(f"{error} of {parts[at].ref}")
            except Unfit as error:
                raise error.below(parts[at].made.label) from None
        actions: list[Action] = []
        for part in parts:
            try:
                manifest = compose(ask, part.made, composite)
                actions.append(Apply(handed.labelled(manifest, ask.claim, self.name)))
            except Awaited as error:
                waits.append(f"{error}, which {part.made.label} needs")
        return tuple(actions), tuple(waits), views

    def connect(
        self, parts: Sequence[Part], views: Mapping[int, Object], seen: Seen
    ) -> tuple[Mapping[str, Value] | None, str]:
        """The values of the connection secret once all can be had, and what is missing."""
        made = [part.made for part in parts]
        found = connection.connect(self.claim_kind, made, views)
        if missing := handed.missing_of(connection.sources(made), seen, maker_of(parts)):
            return None, missing
        return (None, ", ".join(found.waits)) if found.waits else (found.values, "")


def identified(ask: Ask) -> list[Made]:
    """The objects of a claim: what they are, how they are called and where."""
    spaces = (ask.claim.namespace, ask.settings.system_namespace, *ask.parameters.namespaces)
    return render.identify(ask.parameters.composition, render.composite_of(ask.claim), spaces)


def compose(ask: Ask, made: Made, composite: Object) -> Object:
    """The object of one resource, or what keeps it from being made."""
    with shape.within(made.label):
        return shape.manifest_of(render.compose(ask.parameters.composition, made, composite))


def ref_of(made: Made) -> Ref:
    manifest = made.manifest
    return Ref(naming.composed_kind(manifest["apiVersion"], manifest["kind"]), made.name, made.namespace)


# --- how it stands -----------------------------------------------------------------------------------------------


def unready(parts: Sequence[Part]) -> str:
    """The first resource that is not ready, and why; "" when all are."""
    for part in parts:
        if part.live is None:
            return f"{part.ref} is not there yet"
        if missing := readiness.why_not(part.made.resource, part.made.skeleton, part.live):
            return f"{part.ref} is not ready: {missing}"
    return ""


def conclude(parts: Sequence[Part], waits: Sequence[str], missing: str) -> Outcome:
    """How the claim stands."""
    if absent := [str(part.ref) for part in parts if part.live is None]:
        return Waiting(COMPOSING, f"{', '.join(absent)} is being made" + after(waits))
    if waits:
        return Waiting(COMPOSING, f"Waiting for {', '.join(waits)}")
    if trouble := unready(parts):
        return Waiting(NOT_READY, trouble)
    if missing:
        return Waiting(CREDENTIALS_MISSING, f"Waiting for {missing}")
    return Settled(f"{', '.join(str(part.ref) for part in parts)} is ready")


def after(waits: Sequence[str]) -> str:
    return f"; waiting for {', '.join(waits)}" if waits else ""


def instance_of(parts: Sequence[Part]) -> str:
    """What stands behind the claim, and where an operator's own ways were taken for the connection."""
    named = ", ".join(str(part.ref) for part in parts)
    for part in parts:
        if part.made.ways and (facts := part.made.facts):
            return f"{named}; connection: Secret {part.made.namespace}/{facts.secret} of {part.made.ways.operator}"
    return named


def maker_of(parts: Sequence[Part]) -> str:
    ways = next((part.made.ways for part in parts if part.made.ways), None)
    return f"which {ways.operator if ways else 'the other operator'} makes"


DRIVERS = tuple(ByComposition(kind) for kind in REQUIRED)
