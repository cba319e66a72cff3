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
from libresh.drivers.connection import SCHEMAS, missing_keys
from libresh.drivers.model import runs_server
from libresh.plan import naming, objects
from libresh.plan.actions import Action, Delete, From, Mint, Ref, SecretKey
from libresh.plan.decision import Outcome, Stalled, Waiting
from libresh.ports import Reader, SecretView
from libresh.reconcilers.granting import NOT_GRANTED, observe_labels
from libresh.reconcilers.requiring import CAPABILITY_MISSING, short_of

NEEDS_NOT_READY = "NeedsNotReady"
"""A backing service is not there yet, or not ready."""
NEED_STALLED = "NeedStalled"
"""A backing service waits for a person."""
SECRET_INCOMPLETE = "SecretIncomplete"
"""A connection secret that somebody made lacks a key."""
APPS = "apps.libre.sh/"
"""How the apiVersion of every application begins."""


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
    is_ours: bool = False
    """Whether the claim was made for this application, be it named in the spec or not."""
    home: str = ""
    """The namespace of the claim, where it is another one's: `secret` is then our copy of its connection."""
    is_denied: bool = False
    """Whether that claim's owner does not allow our namespace, or there is no such claim."""
    original: SecretView | None = None
    """The connection secret in that namespace."""
    copy: SecretView | None = None
    """What bears the name of our copy."""
    rivals: tuple[App, ...] = ()
    """Other applications that name the same claim, where they would keep their data."""

    @property
    def field(self) -> str:
        """Where the person said where it comes from."""
        return f"spec.{self.need.role}"

    @property
    def handle(self) -> str:
        """What it is, for people and for the status; the namespace is said where it is another one."""
        return f"{self.ref.kind} {self.ref.name}" + (f" of {self.home}" if self.home else "")

    @property
    def lacks(self) -> tuple[str, ...]:
        """Keys the connection secret should have and has not."""
        return missing_keys(self.need.claim.KIND.kind, self.secret.keys) if self.secret else ()

    @property
    def cannot(self) -> str:
        """What the application requires and the service behind the claim cannot do, once that is known."""
        if self.claim is None or self.is_foreign or self.claim.status.binding is None:
            return ""
        return short_of(self.need.wish.requires, self.claim.status.capabilities)

    @property
    def is_cramped(self) -> bool:
        """Whether all keys must begin with a prefix, on a shared server, and the application has no way to do that."""
        return self.secret is not None and "prefix" in self.secret.keys and not self.need.prefixes

    @property
    def is_bound(self) -> bool:
        """Whether there is a connection to use, be the service up or not."""
        return self.secret is not None and not self.lacks and not self.is_leaving and not self.is_cramped

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
    home = need.wish.namespace or app.namespace
    ref = Ref(need.claim.KIND.kind, claim_name(app, need), home)
    if home != app.namespace:
        return await observe_shared(app, need, ref, reader)
    claim = await reader.load(need.claim, ref.name, home)
    if claim is None:
        return Backing(need, ref)
    ours = app.metadata.uid in controllers(claim)
    leaving = not ours and any((o.kind, o.name) == (app.KIND.kind, app.name) for o in claim.metadata.owner_references)
    if leaving or (is_own(need) and not ours):
        return Backing(need, ref, claim, is_foreign=True, is_leaving=leaving)
    binding = claim.status.binding
    secret = await reader.secret(app.namespace, binding.name) if binding else None
    return Backing(need, ref, claim, secret, is_ours=ours)


async def observe_shared(app: App, need: Need, ref: Ref, reader: Reader) -> Backing:
    """A claim of another namespace, if its owner allows ours. Pods read Secrets of their own namespace: a copy."""
    claim = await reader.load(need.claim, ref.name, ref.namespace)
    copy = await reader.secret(app.namespace, copy_name(app, need), ours=True)
    grant = claim.spec.allowed_namespaces if claim else None
    labels = await observe_labels(app.namespace, (grant,), reader)
    if claim is None or grant is None or not grant.allow(app.namespace, labels):
        # Whether there is such a claim is not for those to know whom it does not allow.
        return Backing(need, ref, home=ref.namespace, is_denied=True, copy=copy)
    binding = claim.status.binding
    original = await reader.secret(ref.namespace, binding.name) if binding else None
    secret = copy if original is not None and is_copy(app, copy) else None
    return Backing(need, ref, claim, secret, home=ref.namespace, original=original, copy=copy)


def copy_name(app: App, need: Need) -> str:
    """The name of the copy of another namespace's connection secret."""
    return f"{app.name}-{need.suffix}-shared"


def is_copy(app: App, found: SecretView | None) -> bool:
    """Whether what bears the copy's name is our copy."""
    return found is not None and any(
        o.controller and o.uid == app.metadata.uid for o in found.metadata.owner_references
    )


def plan_copies(app: App, backing: Sequence[Backing]) -> tuple[Action, ...]:
    """The copies of other namespaces' connection secrets; what is not allowed any more is taken away."""
    actions: list[Action] = []
    for each in backing:
        if each.original is not None:
            actions.append(build_copy(app, each, each.original))
        elif each.is_denied and each.copy is not None and is_copy(app, each.copy):
            actions.append(Delete(Ref("Secret", each.copy.metadata.name, app.namespace), each.copy.metadata.uid))
    return tuple(actions)


def build_copy(app: App, backing: Backing, original: SecretView) -> Mint:
    """Every key as it is in the other namespace."""
    name = copy_name(app, backing.need)
    labels = naming.labels_for(name=app.KIND.kind.lower(), instance=app.name, component=backing.need.suffix)
    labels[naming.OWNER_LABEL] = naming.owner_value(app.KIND.kind, app.name)
    labels[naming.SCHEMA_LABEL] = SCHEMAS[backing.need.claim.KIND.kind].label
    values = {key: From(SecretKey(backing.home, original.metadata.name, key)) for key in sorted(original.keys)}
    return Mint(objects.build_metadata(name, app.namespace, labels, owner=app), values, type=original.type)


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
            home=each.home,
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
        return unfitness_of(backing)
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
    if backing.is_denied:
        return (
            f"{backing.field}.claim: no {backing.ref.kind} {backing.ref.name} in the namespace {backing.home} allows "
            f"this namespace; ask its owner to add it to spec.allowedNamespaces.names there, or name another one"
        )
    if backing.claim is None:
        if backing.need.wish.claim:
            return (
                f"{backing.field}.claim: there is no {backing.handle} in this namespace; make it, or name another "
                f"{backing.ref.kind}"
            )
        return f"{backing.handle} is being made"
    if backing.is_leaving:
        return f"{backing.handle} of an earlier application of this name is being removed"
    for type in (STALLED, READY):
        condition = find(backing.claim.status.conditions, type)
        if condition is not None and condition.status == ("True" if type == STALLED else "False"):
            return f"{backing.handle}: {condition.message}" if not backing.home else f"{backing.handle} is not ready"
    if backing.claim.is_ready() and backing.lacks:
        return f"{backing.handle}: its connection has no {', '.join(backing.lacks)}"
    return f"{backing.handle} is not ready"


def is_stalled(backing: Backing) -> bool:
    """Whether a person must do something for this service."""
    if backing.is_cramped:
        return True
    if backing.need.wish.secret:
        return backing.secret is not None and bool(backing.lacks)
    if backing.is_denied:
        return True
    claim = None if backing.is_foreign else backing.claim
    condition = find(claim.status.conditions, STALLED) if claim else None
    return condition is not None and condition.status == "True"


def unfitness_of(backing: Backing) -> str:
    """What is required of a service that it cannot do, in words; "" if nothing."""
    if not backing.cannot:
        return ""
    return (
        f"{backing.field}.requires: {backing.handle} cannot do {backing.cannot}; name a service that can, or take "
        f"{backing.cannot} out (libresh claim explain {backing.ref.kind.lower()}/{backing.ref.name} tells what another "
        f"class would take)"
    )


def find_unfit(backing: Sequence[Backing]) -> Stalled | None:
    """The services that cannot do what is required of them. What runs with them goes on."""
    found = [words for each in backing if (words := unfitness_of(each))]
    return Stalled(CAPABILITY_MISSING, "; ".join(found)) if found else None


def missing(backing: Sequence[Backing]) -> Outcome | None:
    """What the application must wait for, or None when every service is ready."""
    lacking = [each for each in backing if not each.is_ready]
    if not lacking:
        return None
    message = "; ".join(message_of(each) for each in lacking)
    stalled = [each for each in lacking if is_stalled(each)]
    if any(each.need.wish.secret for each in stalled):
        return Stalled(SECRET_INCOMPLETE, message)
    if any(each.is_denied for each in stalled):
        return Stalled(NOT_GRANTED, message)
    if stalled:
        return Stalled(NEED_STALLED, message)
    return Waiting(NEEDS_NOT_READY, message)
