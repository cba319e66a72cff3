"""Claims: choose the class, let its driver provide the service, publish the connection.

    no class ──> class chosen ──> provisioning ──> connection complete ──> settled
       ^              │                                   │
       └─ appears ────┘        a key is missing ──────────┘ (not Ready, named)

One reconciler serves every kind of claim: what differs is in the drivers.
"""

import marshal
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import msgspec

from libresh.api.claims import Claim
from libresh.api.meta import Resource
from libresh.api.services import ServiceClass
from libresh.drivers import drivers, names_for
from libresh.drivers.connection import TYPES, missing_keys
from libresh.drivers.model import (
    Ask,
    Driver,
    OutsideDriver,
    Provision,
    Seen,
    Settings,
    Withdrawal,
    acts_outside,
    runs_server,
)
from libresh.plan import naming, objects
from libresh.plan.actions import Action, Delete, Mint, Object, Ref, Release, Theirs
from libresh.plan.decision import Decision, Outcome, Settled, Stalled, Waiting
from libresh.ports import DECLARED, READY, Reader, SecretView, Watched

C = TypeVar("C", bound=Claim)

WITHOUT_REFERENCES = 2
"""The version of marshal's format in which equal values give equal bytes."""

NO_DEFAULT_CLASS = "NoDefaultClass"  # no class is named and none is the default
SEVERAL_DEFAULT_CLASSES = "SeveralDefaultClasses"
CLASS_NOT_FOUND = "ClassNotFound"
WRONG_CLASS = "WrongClass"  # the class serves another kind of claim
DRIVER_UNKNOWN = "DriverUnknown"
INVALID_PARAMETERS = "InvalidClassParameters"
CONNECTION_INCOMPLETE = "ConnectionIncomplete"
SECRET_TAKEN = "SecretTaken"  # the connection secret's name belongs to something else
CLASS_DELETING = "ClassDeleting"
PROVISIONING = "Provisioning"
RELEASING = "Releasing"


@dataclass(frozen=True)
class Chosen:
    """The class that serves a claim, as it was when the claim was provisioned."""

    name: str
    driver: str
    parameters: dict[str, Any]
    keep: bool
    served: bool = True
    """Whether the class says that its server works, where it runs one."""


@dataclass(frozen=True)
class Observed:
    """Everything `decide` may know."""

    settings: Settings
    chosen: Chosen | Stalled | Waiting
    ask: Ask | Stalled | None = None
    seen: Seen = field(default_factory=Seen)
    connection: SecretView | None = None
    owners: tuple[str, ...] = ()
    """Uids of the controllers of the Secret that bears the connection secret's name."""


class ClaimReconciler(Generic[C]):
    """Reconciles one kind of claim."""

    finalizer = True

    def __init__(self, type: type[C], settings: Settings) -> None:
        self.type = type
        self.settings = settings
        served = [driver for (kind, _), driver in sorted(drivers().items()) if kind == type.KIND.kind]
        own = (
            Watched(type.KIND.kind, writes=True, managed=False),
            Watched(ServiceClass.KIND.kind, managed=False),
            Watched("Secret", writes=True),
            Watched("Pod"),
        )
        self.watches = tuple(dict.fromkeys((*own, *(each for driver in served for each in driver.watches))))

    async def observe(self, obj: C, reader: Reader) -> Observed:
        """Reads the class, what the driver wants to see, and the connection secret."""
        chosen = await observe_class(obj, reader)
        if not isinstance(chosen, Chosen):
            return Observed(self.settings, chosen)
        ask = build_ask(obj, chosen, self.settings)
        if isinstance(ask, Stalled):
            return Observed(self.settings, chosen, ask)
        driver = drivers()[obj.KIND.kind, chosen.driver]
        seen = await observe_refs(driver.looks_at(ask), reader)
        if acts_outside(driver):
            seen = replace(seen, pods=await observe_errands(obj, self.settings, reader))
            seen = replace(seen, jobs=await reader.owned("Job", obj))
        else:
            seen = replace(seen, pods=await observe_pods(obj, reader))
        connection = await reader.secret(obj.namespace, obj.connection_secret, ours=True)
        owners = tuple(o.uid for o in connection.metadata.owner_references if o.controller) if connection else ()
        return Observed(self.settings, chosen, ask, seen, connection, owners)

    def decide(self, obj: C, seen: Observed) -> Decision:
        """Pure: what should exist for this claim and how it stands."""
        if obj.deleting:
            return let_go(obj, seen)
        if not isinstance(seen.chosen, Chosen):
            return Decision(seen.chosen, status_of(obj, None, None))
        if not isinstance(seen.ask, Ask):
            return Decision(seen.ask or unknown_driver(obj, seen.chosen), status_of(obj, seen.chosen, None))
        driver = drivers()[obj.KIND.kind, seen.chosen.driver]
        stop = taken_secret(obj, seen) or driver.refuse(seen.ask)
        if stop:
            return Decision(stop, status_of(obj, seen.chosen, None, bound=obj.status.binding is not None))
        provision = driver.plan(seen.ask, seen.seen)
        if obj.status.driver is None:
            # Which class serves the claim is on record before anything of that class is made.
            begins = Waiting(PROVISIONING, "Provisioning begins", recheck=timedelta(0))
            return Decision(begins, status_of(obj, seen.chosen, provision))
        actions = (*provision.actions, *connection_actions(obj, provision))
        outcome = conclude(obj, provision, seen)
        settled = isinstance(outcome, Settled)
        status = status_of(obj, seen.chosen, provision, bound=isinstance(outcome, Settled) or outcome.ready)
        return Decision(outcome, status, actions, prune=settled)


async def observe_class(claim: Claim, reader: Reader) -> Chosen | Stalled | Waiting:
    """The class that serves the claim: the one it was provisioned with, or the one it would be."""
    if claim.status.driver and claim.status.class_name:
        serves = claim.status.binding is not None and runs_server(drivers().get((claim.KIND.kind, claim.status.driver)))
        cls = await reader.load(
            ServiceClass, claim.status.class_name, only=(DECLARED, READY) if serves else (DECLARED,)
        )
        default = cls.spec.deletion_policy if cls else "Retain"
        policy = claim.spec.deletion_policy or (claim.status.deletion_policy if cls is None else default) or "Retain"
        served = not serves or (cls is not None and cls.was_ready())
        parameters = claim.status.parameters or {}
        return Chosen(claim.status.class_name, claim.status.driver, parameters, policy == "Retain", served)
    classes = [c for c in await reader.declared(ServiceClass) if c.spec.claim_kind == claim.KIND.kind]
    if claim.wanted_class is None:
        return choose_default(claim, classes)
    cls = await reader.load(ServiceClass, claim.wanted_class, only=(DECLARED,))
    return check_class(claim, cls, classes)


def choose_default(claim: Claim, classes: Sequence[ServiceClass]) -> Chosen | Stalled | Waiting:
    """The default class of this kind of claim, also one that appears later."""
    defaults = sorted(c.name for c in classes if c.is_default and not c.deleting)
    if len(defaults) == 1:
        return check_class(claim, next(c for c in classes if c.name == defaults[0]), classes)
    if defaults:
        return Stalled(
            SEVERAL_DEFAULT_CLASSES,
            f"spec.className is not set and several classes are the default: {', '.join(defaults)}; name one of them, "
            f"or take the annotation services.libre.sh/is-default-class from all but one",
        )
    return Waiting(
        NO_DEFAULT_CLASS,
        f"spec.className is not set and no class for {claim.KIND.kind} is the default; name one of: "
        f"{listed(classes)}, or wait for a default class",
    )


def listed(classes: Sequence[ServiceClass]) -> str:
    """The names of classes, for a message."""
    return ", ".join(sorted(c.name for c in classes)) or "(there is none)"


def check_class(claim: Claim, cls: ServiceClass | None, classes: Sequence[ServiceClass]) -> Chosen | Stalled | Waiting:
    """Whether a class can take the claim on."""
    kind = claim.KIND.kind
    if cls is None:
        return Waiting(
            CLASS_NOT_FOUND,
            f"spec.className: there is no ServiceClass {claim.wanted_class}; classes for {kind}: {listed(classes)}. "
            f"It is provisioned as soon as the class exists",
        )
    if cls.spec.claim_kind != kind:
        return Stalled(
            WRONG_CLASS,
            f"spec.className: ServiceClass {cls.name} serves {cls.spec.claim_kind}, not {kind}; classes for {kind}: "
            f"{listed(classes)}",
        )
    if cls.deleting:
        return Stalled(CLASS_DELETING, f"spec.className: ServiceClass {cls.name} is being deleted; name another one")
    policy = claim.spec.deletion_policy or cls.spec.deletion_policy
    return Chosen(cls.name, cls.spec.driver, cls.spec.parameters, policy == "Retain")


def build_ask(claim: Claim, chosen: Chosen, settings: Settings) -> Ask | Stalled:
    """What the driver is asked, or why it cannot be."""
    driver = drivers().get((claim.KIND.kind, chosen.driver))
    if driver is None:
        return unknown_driver(claim, chosen)
    parameters = read_parameters(driver, chosen.name, chosen.parameters)
    if isinstance(parameters, Stalled):
        return parameters
    return Ask(claim, chosen.name, parameters, chosen.keep, settings, chosen.served)


def read_parameters(driver: Driver, class_name: str, parameters: dict[str, Any]) -> Any | Stalled:
    """The class's parameters as the driver's type, or what is wrong with them."""
    try:
        return fitted(driver.parameters, parameters)
    except msgspec.ValidationError as error:
        return Stalled(
            INVALID_PARAMETERS,
            f"ServiceClass {class_name}: spec.parameters do not fit the driver {driver.name}: {error}; "
            f"it takes: {', '.join(driver.parameters.__struct_encode_fields__) or '(none)'}",
        )


def fitted(type: type[msgspec.Struct], parameters: dict[str, Any]) -> Any:
    """Parameters as the driver's type. Thousands of claims have those of one class, and some take long to check."""
    try:
        return fitted_once(type, marshal.dumps(parameters, WITHOUT_REFERENCES))
    except ValueError as error:
        if isinstance(error, msgspec.MsgspecError):
            raise
        return msgspec.convert(parameters, type)  # YAML's types that JSON does not have


@lru_cache(maxsize=256)
def fitted_once(type: type[msgspec.Struct], parameters: bytes) -> Any:
    return msgspec.convert(marshal.loads(parameters), type)


def unknown_driver(claim: Claim, chosen: Chosen) -> Stalled:
    """A driver that is not ours: an outside controller may serve it, or it is a mistake."""
    return Stalled(
        DRIVER_UNKNOWN,
        f"ServiceClass {chosen.name}: no driver {chosen.driver} for {claim.KIND.kind} is installed; installed: "
        f"{', '.join(names_for(claim.KIND.kind))}",
    )


async def observe_refs(refs: Sequence[Ref], reader: Reader) -> Seen:
    """The objects and Secrets a driver asked for."""
    found: dict[Ref, Object | None] = {}
    secrets: dict[Ref, SecretView | None] = {}
    for ref in refs:
        if ref.kind == "Secret":
            theirs = isinstance(ref, Theirs)
            among = ref.among if isinstance(ref, Theirs) else ""
            secrets[ref] = await reader.secret(ref.namespace, ref.name, ours=not theirs, among=among)
        else:
            found[ref] = await reader.get(ref, foreign=isinstance(ref, Theirs))
    return Seen(found, secrets)


async def observe_pods(owner: Resource, reader: Reader) -> Sequence[Object]:
    """The pods that run for this claim, for telling what is wrong with them."""
    labels = {naming.OWNER_LABEL: naming.owner_value(owner.KIND.kind, owner.name)}
    return await reader.select("Pod", owner.namespace, labels)


async def observe_errands(owner: Resource, settings: Settings, reader: Reader) -> Sequence[Object]:
    """The pods that do something outside for this claim: they run beside the administrator's credentials."""
    return await reader.select("Pod", settings.system_namespace, {naming.OWNER_UID_LABEL: owner.metadata.uid})


def taken_secret(claim: Claim, seen: Observed) -> Stalled | None:
    """Whether the connection secret's name belongs to something else: nobody's Secret is overwritten."""
    if seen.connection is None or seen.owners == (claim.metadata.uid,):
        return None
    if seen.connection.metadata.labels.get(naming.MANAGED_LABEL) == naming.MANAGED_BY and not seen.owners:
        return None
    return Stalled(
        SECRET_TAKEN,
        f"spec.writeConnectionSecretToRef.name: the Secret {claim.connection_secret} exists and is not this claim's; "
        f"choose another name or delete that Secret",
    )


def connection_actions(claim: Claim, provision: Provision) -> tuple[Action, ...]:
    """Writes the connection secret once the driver can say what is in it."""
    if provision.connection is None:
        return ()
    kind = claim.KIND.kind
    labels = naming.labels_for(name=TYPES[kind], instance=claim.name, component="connection")
    metadata = objects.build_metadata(claim.connection_secret, claim.namespace, labels, owner=claim)
    return (Mint(metadata, provision.connection, type=f"servicebinding.io/{TYPES[kind]}"),)


def conclude(claim: Claim, provision: Provision, seen: Observed) -> Outcome:
    """Ready only with a complete connection secret that was seen."""
    if not isinstance(provision.outcome, Settled):
        return provision.outcome
    keys = seen.connection.keys if seen.connection else frozenset()
    if missing := missing_keys(claim.KIND.kind, keys):
        return Waiting(
            CONNECTION_INCOMPLETE,
            f"The connection secret {claim.connection_secret} has no {', '.join(missing)} yet",
        )
    return provision.outcome


def status_of(claim: Claim, chosen: Chosen | None, provision: Provision | None, *, bound: bool = False) -> Object:
    """The claim's own status fields."""
    if chosen is None:
        return {}
    driver = drivers().get((claim.KIND.kind, chosen.driver))
    if driver is None or provision is None:
        return unchanged(claim, bound=bound)
    parameters = fitted(driver.parameters, chosen.parameters)
    status: Object = {
        "className": chosen.name,
        "driver": chosen.driver,
        "parameters": chosen.parameters,
        "deletionPolicy": "Retain" if chosen.keep else "Delete",
        "instance": {"driver": chosen.driver, "ref": provision.instance},
        "capabilities": sorted(driver.capabilities(parameters)),
    }
    if bound:
        status["binding"] = {"name": claim.connection_secret}
    return status


def unchanged(claim: Claim, *, bound: bool) -> Object:
    """The claim's own status fields as they are on record."""
    status: Object = msgspec.to_builtins(claim.status)
    return {
        key: value
        for key, value in status.items()
        if key not in ("conditions", "observedGeneration") and (key != "binding" or bound)
    }


def let_go(claim: Claim, seen: Observed) -> Decision:
    """Deletion. What has an owner goes with the claim; data goes only under Delete, after what uses it is gone.

    What was made outside is undone first, and what is left of that lies elsewhere and is deleted last.
    """
    if not isinstance(seen.chosen, Chosen) or not isinstance(seen.ask, Ask) or claim.status.driver is None:
        return Decision(Settled("Nothing was provisioned"), {}, (Release(),))
    driver = drivers()[claim.KIND.kind, seen.chosen.driver]
    kept = driver.plan(seen.ask, seen.seen).kept
    status = status_of(claim, seen.chosen, None)
    outside = withdraw(driver, seen.ask, seen.seen)
    if not isinstance(outside.outcome, Settled):
        return Decision(outside.outcome, status, outside.actions)
    last: tuple[Action, ...] = (*(Delete(ref) for ref in outside.left), Release())
    if seen.ask.keep:
        return Decision(Settled("The data is kept"), status, last)
    present = [ref for ref in kept if seen.seen.objects.get(ref) or seen.seen.secrets.get(ref)]
    deletes = tuple(Delete(ref) for ref in kept)
    if present:
        waiting = Waiting(RELEASING, f"Waiting for {', '.join(map(str, sorted(present)))} to be gone")
        return Decision(waiting, status, (*outside.actions, *deletes), prune=True)
    return Decision(Settled("All is removed"), status, (*deletes, *last), prune=True)


def withdraw(driver: Driver, ask: Ask, seen: Seen) -> Withdrawal:
    """What must happen outside before the claim may go, for drivers that act there."""
    if not acts_outside(driver):
        return Withdrawal(Settled("Nothing is outside"))
    return cast(OutsideDriver, driver).withdraw(ask, seen)
