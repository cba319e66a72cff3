"""Claims that are handed to another operator: its objects, made for one claim, and how these stand.

    objects applied ──> all there ──> the operator says ready ──> its Secret is complete ──> settled

Such objects hold data: they have no owner, stay under Retain, and labels say for which claim they are kept. A name that
is somebody else's is left alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar, cast

import msgspec

from libresh.api.claims import Claim
from libresh.drivers.model import Ask, Provision, Seen
from libresh.plan import naming
from libresh.plan.actions import Apply, From, Object, Ref, SecretKey, Template, Theirs, Value
from libresh.plan.decision import Outcome, Settled, Stalled, Waiting
from libresh.ports import COMPOSED, Watched

UNFIT = "CompositionUnfit"  # the class cannot serve this claim
OBJECT_TAKEN = "ObjectTaken"  # the object's name belongs to something else
COMPOSING = "Composing"
NOT_READY = "ComposedNotReady"
FAILED = "ComposedFailed"  # the other operator gave up: a person must look
CREDENTIALS_MISSING = "CredentialsMissing"
WATCHES = (Watched("Secret", writes=True), Watched(COMPOSED, writes=True))
"""What a driver declares that hands claims over."""
LONGEST = 300
"""How much of what another operator says is repeated."""
HA_LEAST = 3
"""Members from which a database counts as highly available: with one lost, another still stands behind the primary."""

P = TypeVar("P", bound=msgspec.Struct)


@dataclass(frozen=True)
class Handed:
    """One claim as objects of another operator."""

    ask: Ask
    driver: str
    operator: str
    """Who makes something of the objects, in words."""
    wished: tuple[Object, ...]
    """The objects to apply, without the labels that say whose they are."""
    connection: Mapping[str, Value]
    among: Mapping[str, str] = field(default_factory=dict)
    """By the name of a Secret: the label (`key=value`) that the other operator puts on all of its sort."""
    others: tuple[Ref, ...] = ()
    """What may be there from an earlier wish of this claim, and goes with the rest under Delete."""
    reads: tuple[Ref, ...] = ()
    """What is only looked at."""
    awaits: str = ""
    """What must be there before any object is made; "" when all is."""

    @property
    def refs(self) -> tuple[Ref, ...]:
        """Every object of this claim."""
        return tuple(dict.fromkeys((*map(ref_of, self.wished), *self.others)))

    @property
    def secrets(self) -> tuple[Theirs, ...]:
        """The other operator's Secrets."""
        sources = sources_of(self.connection)
        found = (Theirs("Secret", key.name, key.namespace, self.among.get(key.name, "")) for key in sources)
        return tuple(dict.fromkeys(found))

    @property
    def looks_at(self) -> tuple[Ref, ...]:
        return (*self.refs, *self.reads, *self.secrets)

    def plan(self, seen: Seen, standing: Outcome) -> Provision:
        """What to do, and how the claim stands. `standing`: how the objects do, once all are there."""
        instance = ", ".join(map(str, map(ref_of, self.wished)))
        kept, strangers = sort_out(self.ask.claim, self.refs, seen)
        if strangers:
            return Provision(taken(strangers[0]), instance=instance, kept=kept)
        if self.awaits:
            return Provision(Waiting(NOT_READY, self.awaits), instance=instance, kept=kept)
        actions = tuple(Apply(labelled(each, self.ask.claim, self.driver)) for each in self.wished)
        missing = missing_of(sources_of(self.connection), seen, f"which {self.operator} makes")
        outcome = self.conclude(seen, standing, missing)
        return Provision(outcome, actions, None if missing else self.connection, instance, kept)

    def conclude(self, seen: Seen, standing: Outcome, missing: str) -> Outcome:
        absent = [str(ref) for ref in map(ref_of, self.wished) if seen.get(ref) is None]
        if absent:
            return Waiting(COMPOSING, f"{', '.join(absent)} is being made")
        if not missing:
            return standing
        if isinstance(standing, Settled):
            return Waiting(CREDENTIALS_MISSING, f"Waiting for {missing}")
        return replace(standing, ready=False)


def parameters_for(claim_kind: str, declared: type[P]) -> type[P]:
    """The parameters of classes for one kind of claim: what its connection must say is checked with them."""
    made = type(f"{claim_kind}Parameters", (declared,), {"claim_kind": claim_kind, "__doc__": declared.__doc__})
    return cast("type[P]", made)


# --- whose it is ---------------------------------------------------------------------------------------------------


def ref_of(manifest: Object) -> Ref:
    """How an object of a kind that only drivers and classes know is named."""
    metadata = manifest["metadata"]
    kind = naming.composed_kind(manifest["apiVersion"], manifest["kind"])
    return Ref(kind, metadata["name"], metadata["namespace"])


def build(api_version: str, kind: str, name: str, claim: Claim, spec: Object) -> Object:
    """An object of another operator in the claim's namespace."""
    metadata = {"name": name, "namespace": claim.namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def labels_for(claim: Claim, driver: str) -> dict[str, str]:
    """What says for which claim an object is kept."""
    owner = naming.owner_value(claim.KIND.kind, claim.name)
    labels = naming.labels_for(name=driver, instance=claim.name)
    return {**labels, naming.KEPT_FOR_LABEL: owner, naming.KEPT_IN_LABEL: claim.namespace}


def labelled(manifest: Object, claim: Claim, driver: str) -> Object:
    """The object with the labels that say whose it is."""
    metadata = manifest["metadata"]
    labels = {**(metadata.get("labels") or {}), **labels_for(claim, driver)}
    return {**manifest, "metadata": {**metadata, "labels": labels}}


def is_kept_for(live: Object, claim: Claim) -> bool:
    """Whether an object was made for this claim, or one of its name before it."""
    labels = live["metadata"].get("labels") or {}
    wanted = labels_for(claim, "")
    return all(labels.get(key) == wanted[key] for key in (naming.KEPT_FOR_LABEL, naming.KEPT_IN_LABEL))


def sort_out(claim: Claim, refs: Sequence[Ref], seen: Seen) -> tuple[tuple[Ref, ...], tuple[Ref, ...]]:
    """The objects that are the claim's or would be, and those that are somebody else's."""
    found = {ref: seen.get(ref) for ref in refs}
    strangers = tuple(ref for ref, live in found.items() if live is not None and not is_kept_for(live, claim))
    return tuple(ref for ref in refs if ref not in strangers), strangers


def taken(ref: Ref) -> Stalled:
    return Stalled(
        OBJECT_TAKEN,
        f"{ref} exists and was not made for this claim: it is left alone; give the claim another name, delete that "
        f"object, or have the class make names of the claim's namespace, too",
    )


def unfit(ask: Ask, why: Exception, *, ready: bool = False) -> Stalled:
    """What a class says does not go together with what the claim says."""
    return Stalled(
        UNFIT,
        f"ServiceClass {ask.class_name} cannot serve this claim: {why}; change the claim, or name another class",
        ready=ready,
    )


# --- what its data began with ---------------------------------------------------------------------------------------


def began_with(claim: Claim) -> str:
    """The source of a claim's data, as it is on record; "" for one that begins empty."""
    source = claim.source
    if source is None:
        return ""
    return source.claim.name if source.at is None else f"{source.claim.name}@{source.at.astimezone(UTC).isoformat()}"


def recorded(live: Object | None) -> str:
    """What the data in an object began with, by the record on it."""
    return str(((live or {}).get("metadata", {}).get("annotations") or {}).get(naming.BEGAN_ANNOTATION) or "")


def marked(manifest: Object, claim: Claim, live: Object | None) -> Object:
    """The object that holds the data, with the record of what that began with. What is there keeps its record."""
    record = began_with(claim) or recorded(live)
    if not record:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": {naming.BEGAN_ANNOTATION: record}}}


def began(claim: Claim, live: Object | None) -> bool | None:
    """Whether the data in an object of this claim began as the claim says; None where there is no such object.

    The record speaks of what was kept for a claim of that name. What is made for this one begins as it says.
    """
    if live is None or not is_kept_for(live, claim):
        return None
    return claim.status.driver is not None or recorded(live) == began_with(claim)


def is_copy(claim: Claim, live: Object | None) -> bool:
    """Whether there is an object whose data began as a copy."""
    return live is not None and bool(began_with(claim) or recorded(live))


def find_origin(ask: Ask, ref: Ref | None, seen: Seen) -> Object | None:
    """The object with the data that the claim is to begin with. `ref`: what it is called."""
    live = seen.get(ref) if ref is not None else None
    mine = live is not None and ask.origin is not None and is_kept_for(live, ask.origin.claim)
    return live if mine else None


def awaited(ask: Ask, live: Object | None, origin: Object | None, ref: Ref | None) -> str:
    """What is missing for a claim to begin with the data of another one. `live`: its own object, once it is there."""
    if ask.claim.source is None or live is not None or origin is not None:
        return ""
    return f"{ref or f'What stands behind {ask.claim.source.claim.name}'} is not there: there is nothing to copy yet"


# --- what their Secrets lack ---------------------------------------------------------------------------------------


def sources_of(connection: Mapping[str, Value]) -> tuple[SecretKey, ...]:
    """Every key of another Secret that the connection is made of."""
    found: list[SecretKey] = []
    for value in connection.values():
        match value:
            case From(source=source):
                found.append(source)
            case Template(values=places):
                found += [place for place in places.values() if isinstance(place, SecretKey)]
    return tuple(dict.fromkeys(found))


def missing_of(sources: Sequence[SecretKey], seen: Seen, maker: str) -> str:
    """The first Secret that is not there, or the keys that one lacks; "" when all is there."""
    for source in sources:
        secret = seen.secret(Theirs("Secret", source.name, source.namespace))
        place = (source.namespace, source.name)
        wanted = sorted({each.key for each in sources if (each.namespace, each.name) == place})
        if secret is None:
            return f"the Secret {source.namespace}/{source.name} with {' and '.join(wanted)}, {maker}"
        if lacking := [key for key in wanted if key not in secret.keys]:
            return f"{' and '.join(lacking)} in the Secret {source.namespace}/{source.name}, {maker}"
    return ""


# --- what they say -------------------------------------------------------------------------------------------------


def said(text: object) -> str:
    """What another operator says, on one line and not too long."""
    words = " ".join(text.split()) if isinstance(text, str) else ""
    return words if len(words) <= LONGEST else words[:LONGEST] + "…"


def condition(live: Object, type: str) -> Object:
    """One condition of an object, empty where it has none."""
    status = live.get("status")
    found = status.get("conditions") if isinstance(status, dict) else None
    conditions = found if isinstance(found, list) else []
    return next((each for each in conditions if isinstance(each, dict) and each.get("type") == type), {})


def moment(text: object) -> str:
    """A time as another operator reports it, in the form that a status has; "" where it is none."""
    try:
        found = datetime.fromisoformat(text if isinstance(text, str) else "")
        return "" if found.tzinfo is None else found.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return ""


def window(earliest: object, latest: object) -> dict[str, str]:
    """What can be restored, as far as another operator says it."""
    found = {"earliest": moment(earliest), "latest": moment(latest)}
    return {key: value for key, value in found.items() if value}


def whole(value: object) -> int:
    """A count as another operator reports it; 0 where it does not."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
