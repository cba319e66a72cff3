"""What stands behind an application: looking at its claims and connection secrets, and saying what they lack."""

from collections.abc import Sequence
from dataclasses import dataclass

from libresh.api.apps import App
from libresh.api.claims import Claim
from libresh.api.conditions import READY, STALLED, find
from libresh.api.meta import Resource
from libresh.catalog.build import claim_name, is_own
from libresh.catalog.model import Binding, Need
from libresh.drivers import drivers
from libresh.drivers.connection import missing_keys
from libresh.drivers.model import runs_server
from libresh.plan.actions import Ref
from libresh.plan.decision import Outcome, Stalled, Waiting
from libresh.ports import Reader, SecretView

NEEDS_NOT_READY = "NeedsNotReady"
"""A backing service is not there yet, or not ready."""
NEED_STALLED = "NeedStalled"
"""A backing service waits for a person."""
SECRET_INCOMPLETE = "SecretIncomplete"
"""A connection secret that somebody made lacks a key."""


@dataclass(frozen=True)
class Backing:
    """One backing service as it was seen."""

    need: Need
    ref: Ref
    """The claim, or the Secret that somebody made."""
    claim: Claim | None = None
    secret: SecretView | None = None
    is_foreign: bool = False
    """Whether a claim bears our claim's name that was made for somebody else."""
    is_leaving: bool = False
    """Whether it was made for an earlier application of our kind and name, and goes away by itself."""

    @property
    def field(self) -> str:
        """Where the person said where it comes from."""
        return f"spec.{self.need.role}"

    @property
    def lacks(self) -> tuple[str, ...]:
        """Keys the connection secret should have and has not."""
        return missing_keys(self.need.claim.KIND.kind, self.secret.keys) if self.secret else ()

    @property
    def is_cramped(self) -> bool:
        """Whether all keys must begin with a prefix, on a shared server, and the application has no way to do that."""
        return self.secret is not None and "prefix" in self.secret.keys and not self.need.prefixes

    @property
    def is_bound(self) -> bool:
        """Whether there is a connection to use, be the service up or not."""
        return self.secret is not None and not self.lacks and not self.is_cramped

    @property
    def is_ready(self) -> bool:
        """Whether it can be used now."""
        return self.is_bound and (
            self.need.wish.secret is not None or (self.claim is not None and self.claim.is_ready())
        )


async def observe_backing(app: App, need: Need, reader: Reader) -> Backing:
    """Reads the claim of a need and its connection secret."""
    if need.wish.secret:
        ref = Ref("Secret", need.wish.secret, app.namespace)
        return Backing(need, ref, secret=await reader.secret(app.namespace, need.wish.secret))
    name = claim_name(app, need)
    ref = Ref(need.claim.KIND.kind, name, app.namespace)
    claim = await reader.load(need.claim, name, app.namespace)
    if claim is not None and is_own(need) and app.metadata.uid not in controllers(claim):
        leaving = any((o.kind, o.name) == (app.KIND.kind, app.name) for o in claim.metadata.owner_references)
        return Backing(need, ref, claim, is_foreign=True, is_leaving=leaving)
    if claim is None or claim.status.binding is None:
        return Backing(need, ref, claim)
    return Backing(need, ref, claim, await reader.secret(app.namespace, claim.status.binding.name))


def controllers(found: Resource) -> list[str]:
    return [owner.uid for owner in found.metadata.owner_references if owner.controller]


def bindings_of(app: App, backing: Sequence[Backing]) -> dict[str, Binding] | None:
    """Every connection by role, or None while one is missing."""
    found: dict[str, Binding] = {}
    for each in backing:
        if each.secret is None or not each.is_bound:
            return None
        found[each.need.role] = Binding(
            role=each.need.role,
            claim_kind=each.need.claim.KIND.kind,
            namespace=app.namespace,
            secret=each.secret.metadata.name,
            digest=each.secret.digest,
            keys=each.secret.keys,
            claim=each.claim.name if each.claim else "",
            driver=(each.claim.status.driver or "") if each.claim else "",
            shared=shared_class(each.claim),
        )
    return found


def shared_class(claim: Claim | None) -> str:
    """The class of a claim, where it runs one server for all its claims."""
    if claim is None or not runs_server(drivers().get((claim.KIND.kind, claim.status.driver or ""))):
        return ""
    return claim.status.class_name or ""


def message_of(backing: Backing) -> str:
    """What a service lacks, in words; "" if nothing."""
    if backing.is_ready:
        return ""
    if backing.is_cramped:
        return (
            f"{backing.field}: {backing.ref} lets in keys that begin with its prefix only, and this application cannot "
            f"prefix its keys; name a class that gives a server of its own"
        )
    if backing.need.wish.secret:
        if backing.secret is None:
            return f"{backing.field}.secret: there is no Secret {backing.need.wish.secret} in this namespace"
        return (
            f"{backing.field}.secret: the Secret {backing.need.wish.secret} has no key {', '.join(backing.lacks)}; "
            f"add what is missing"
        )
    if backing.claim is None:
        if backing.need.wish.claim:
            return f"{backing.field}.claim: there is no {backing.ref.kind} {backing.ref.name} in this namespace"
        return f"{backing.ref.kind} {backing.ref.name} is being made"
    if backing.is_leaving:
        return f"{backing.ref.kind} {backing.ref.name} of an earlier application of this name is being removed"
    for type in (STALLED, READY):
        condition = find(backing.claim.status.conditions, type)
        if condition is not None and condition.status == ("True" if type == STALLED else "False"):
            return f"{backing.ref.kind} {backing.ref.name}: {condition.message}"
    if backing.claim.is_ready() and backing.lacks:
        return f"{backing.ref.kind} {backing.ref.name}: its connection has no {', '.join(backing.lacks)}"
    return f"{backing.ref.kind} {backing.ref.name} is not ready"


def is_stalled(backing: Backing) -> bool:
    """Whether a person must do something for this service."""
    if backing.is_cramped:
        return True
    if backing.need.wish.secret:
        return backing.secret is not None and bool(backing.lacks)
    claim = None if backing.is_foreign else backing.claim
    condition = find(claim.status.conditions, STALLED) if claim else None
    return condition is not None and condition.status == "True"


def missing(backing: Sequence[Backing]) -> Outcome | None:
    """What the application must wait for, or None when every service is ready."""
    lacking = [each for each in backing if not each.is_ready]
    if not lacking:
        return None
    message = "; ".join(message_of(each) for each in lacking)
    stalled = [each for each in lacking if is_stalled(each)]
    if any(each.need.wish.secret for each in stalled):
        return Stalled(SECRET_INCOMPLETE, message)
    if stalled:
        return Stalled(NEED_STALLED, message)
    return Waiting(NEEDS_NOT_READY, message)
