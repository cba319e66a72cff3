"""Claims: choose the class, let its driver provide the service, publish the connection.

    no class ──> class chosen ──> provisioning ──> connection complete ──> settled
       ^              │                                   │
       └─ appears ────┘        a key is missing ──────────┘ (not Ready, named)
                      │
                      └── of a driver outside of libre.sh ──> the choice is on record, all else is that controller's

One reconciler serves every kind of claim: what differs is in the drivers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

import msgspec

from libresh.api.claims import Claim
from libresh.api.meta import Resource
from libresh.api.services import ServiceClass
from libresh.catalog.profile import everything
from libresh.drivers import drivers, is_outside, names_for
from libresh.drivers.connection import SCHEMAS, missing_keys
from libresh.drivers.model import (
    Ask,
    Driver,
    ErrandDriver,
    Origin,
    Provision,
    Seen,
    Settings,
    Withdrawal,
    acts_outside,
    changes_of,
    runs_server,
)
from libresh.plan import naming
from libresh.plan.actions import Action, Delete, Object, Release
from libresh.plan.decision import Decision, Outcome, Settled, Stalled, Waiting, refuse
from libresh.ports import DECLARED, READY, Reader, SecretView, Watched
from libresh.reconcilers import binding, sources
from libresh.reconcilers.granting import NAMESPACES, NOT_GRANTED, observe_labels
from libresh.reconcilers.recorded import unchanged
from libresh.reconcilers.requiring import CAPABILITY_MISSING, short_of
from libresh.reconcilers.serving import DRIVER_UNKNOWN, delegated, fitted, has_spoken, observe_refs, read_parameters

C = TypeVar("C", bound=Claim)

NO_DEFAULT_CLASS = "NoDefaultClass"  # no class is named and none is the default
SEVERAL_DEFAULT_CLASSES = "SeveralDefaultClasses"
CLASS_NOT_FOUND = "ClassNotFound"
WRONG_CLASS = "WrongClass"  # the class serves another kind of claim
CLASS_DELETING = "ClassDeleting"
CHANGE_REFUSED = "ChangeRefused"  # an edit that the service behind the claim cannot follow
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
    refused: Stalled | None = None
    """Why an edit of the claim is not made: what is asked is then as it was before."""
    source: Stalled | Waiting | None = None
    """Why the claim that this one is to begin with cannot be copied now."""


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
            NAMESPACES,
        )
        self.watches = tuple(dict.fromkeys((*own, *(each for driver in served for each in driver.watches))))

    async def observe(self, obj: C, reader: Reader) -> Observed:
        """Reads the class, what the driver wants to see, and the connection secret."""
        chosen = await observe_class(obj, reader)
        if not isinstance(chosen, Chosen):
            return Observed(self.settings, chosen)
        if is_outside(chosen.driver):
            return Observed(self.settings, await sources.refuse_outside(obj, chosen.name, reader) or chosen)
        ask = build_ask(obj, chosen, self.settings)
        if isinstance(ask, Stalled):
            return Observed(self.settings, chosen, ask)
        driver = drivers()[obj.KIND.kind, chosen.driver]
        refused = refuse_edit(driver, ask)
        if refused is not None:
            before = as_before(driver, ask)
            if before is None:
                return Observed(self.settings, chosen, refused)
            ask = before
        origin = await observe_origin(driver, ask, reader)
        if isinstance(origin, Origin):
            ask = replace(ask, origin=origin)
        # Before the choice of a class is on record nothing of that class is made, so there is nothing to look at; but
        # what was kept may have begun with the data of another claim already.
        looks = obj.status.driver is not None or obj.source is not None
        seen = await self.observe_service(driver, ask, reader) if looks else Seen()
        connection = await reader.secret(obj.namespace, obj.connection_secret, ours=True)
        hindrance = None if isinstance(origin, Origin) else origin
        return Observed(self.settings, chosen, ask, seen, connection, refused, hindrance)

    async def observe_service(self, driver: Driver, ask: Ask, reader: Reader) -> Seen:
        """What the driver wants to see, and what runs for the claim."""
        seen = await observe_refs(driver.looks_at(ask), reader)
        if not acts_outside(driver):
            return replace(seen, pods=await observe_pods(ask.claim, reader))
        pods = await observe_errands(ask.claim, self.settings, reader)
        return replace(seen, pods=pods, jobs=await reader.owned("Job", ask.claim), now=reader.now)

    def decide(self, obj: C, seen: Observed) -> Decision:
        """Pure: what should exist for this claim and how it stands."""
        if obj.deleting:
            return let_go(obj, seen)
        if not isinstance(seen.chosen, Chosen):
            return Decision(seen.chosen, status_of(obj, None, None))
        if is_outside(seen.chosen.driver):
            return hand_over(obj, seen.chosen)
        if not isinstance(seen.ask, Ask):
            return Decision(seen.ask or unknown_driver(obj, seen.chosen), status_of(obj, seen.chosen, None))
        driver = drivers()[obj.KIND.kind, seen.chosen.driver]
        stop = (
            binding.taken(obj, obj.connection_secret, seen.connection)
            or driver.refuse(seen.ask)
            or sources.find_hindrance(driver, seen.ask, seen.source, seen.seen)
        )
        if stop:
            return Decision(stop, status_of(obj, seen.chosen, None, bound=obj.status.binding is not None))
        provision = driver.plan(seen.ask, seen.seen)
        if obj.status.driver is None:
            # Which class serves the claim is on record before anything of that class is made.
            begins = Waiting(PROVISIONING, "Provisioning begins", recheck=timedelta(0))
            return Decision(begins, status_of(obj, seen.chosen, provision, asked=seen.ask.claim.asked))
        actions = (*provision.actions, *connection_actions(obj, provision))
        outcome = conclude(obj, provision, seen)
        settled, bound = isinstance(outcome, Settled), isinstance(outcome, Settled) or outcome.ready
        status = status_of(obj, seen.chosen, provision, bound=bound, asked=seen.ask.claim.asked)
        refused = seen.refused or refuse_more(obj, status["capabilities"])
        if refused is not None:
            outcome = refuse(refused, outcome)
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
    for outside in (c for c in classes if claim.spec.requires and is_outside(c.spec.driver)):
        await reader.load(ServiceClass, outside.name)  # what it can do is in its status: a change of that matters
    labels = await observe_labels(claim.namespace, (cls.spec.allowed_namespaces for cls in classes), reader)
    if claim.wanted_class is None:
        return choose_default(claim, classes, labels)
    cls = await reader.load(ServiceClass, claim.wanted_class, only=(DECLARED,))
    return check_class(claim, cls, classes, labels)


async def observe_origin(driver: Driver, ask: Ask, reader: Reader) -> Origin | Stalled | Waiting | None:
    """The claim whose data this one begins with, or why that cannot be copied now. None: it begins empty."""
    found = await sources.observe_source(ask.claim, reader)
    obstacle = sources.find_obstacle(driver, ask, found)
    if obstacle is not None or found is None:
        return obstacle
    parameters = read_parameters(driver, found.status.class_name or "", found.status.parameters or {})
    return parameters if isinstance(parameters, Stalled) else Origin(found, parameters)


def choose_default(
    claim: Claim, classes: Sequence[ServiceClass], labels: Mapping[str, str]
) -> Chosen | Stalled | Waiting:
    """The default class of this kind of claim among those that allow its namespace, also one that appears later."""
    allowed = [cls for cls in classes if cls.allows(claim.namespace, labels)]
    defaults = sorted(c.name for c in allowed if c.is_default and not c.deleting)
    if len(defaults) == 1:
        return check_class(claim, next(c for c in allowed if c.name == defaults[0]), classes, labels)
    if defaults:
        return Stalled(
            SEVERAL_DEFAULT_CLASSES,
            f"spec.className is not set and several classes are the default: {', '.join(defaults)}; name one of them, "
            f"or take the annotation services.libre.sh/is-default-class from all but one",
        )
    here = " for this namespace" if len(allowed) < len(classes) else ""
    return Waiting(
        NO_DEFAULT_CLASS,
        f"spec.className is not set and no class for {claim.KIND.kind} is the default{here}; name one of: "
        f"{listed(allowed)}, or wait for a default class",
    )


def listed(classes: Sequence[ServiceClass]) -> str:
    """The names of classes, for a message."""
    return ", ".join(sorted(c.name for c in classes)) or "(there is none)"


def check_class(
    claim: Claim, cls: ServiceClass | None, classes: Sequence[ServiceClass], labels: Mapping[str, str]
) -> Chosen | Stalled | Waiting:
    """Whether a class can take the claim on. `labels` are those of the claim's namespace."""
    kind = claim.KIND.kind
    classes = [each for each in classes if each.allows(claim.namespace, labels)]
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
    if not cls.allows(claim.namespace, labels):
        return Stalled(
            NOT_GRANTED,
            f"spec.className: ServiceClass {cls.name} does not allow the namespace {claim.namespace}; name one of: "
            f"{listed(classes)}, or ask whoever runs the cluster to add it to the class's spec.allowedNamespaces",
        )
    if cls.deleting:
        return Stalled(CLASS_DELETING, f"spec.className: ServiceClass {cls.name} is being deleted; name another one")
    if stop := refuse_unable(claim, cls, classes):
        return stop
    policy = claim.spec.deletion_policy or cls.spec.deletion_policy
    return Chosen(cls.name, cls.spec.driver, cls.spec.parameters, policy == "Retain")


def refuse_unable(claim: Claim, cls: ServiceClass, classes: Sequence[ServiceClass]) -> Stalled | None:
    """Why a class that does not promise all that is required is not to serve the claim; and which others could."""
    required = claim.spec.requires
    promised = promises_of(cls) if required else None
    missing = "" if promised is None else short_of(required, promised)
    if not missing:
        return None
    able = [each for each in classes if not each.deleting and not short_of(required, promises_of(each) or ())]
    way = f"name a class that promises all of it in spec.className: {listed(able)}; or"
    none = f"no class for {claim.KIND.kind} promises all of it:"
    return Stalled(
        CAPABILITY_MISSING,
        f"spec.requires: ServiceClass {cls.name} (driver {cls.spec.driver}) does not promise {missing}; "
        f"{way if able else none} take {missing} out, or wait: it is provisioned as soon as the class does",
    )


def promises_of(cls: ServiceClass) -> Sequence[str] | None:
    """What a class promises of its services. A controller outside of libre.sh says it of its classes itself.

    None where the driver is not there or the parameters do not fit it: of that more is told once it is to serve.
    """
    if is_outside(cls.spec.driver):
        return cls.status.capabilities
    driver = drivers().get((cls.spec.claim_kind, cls.spec.driver))
    parameters = read_parameters(driver, cls.name, cls.spec.parameters) if driver else None
    return None if driver is None or isinstance(parameters, Stalled) else driver.capabilities(parameters)


def refuse_more(claim: Claim, able: Sequence[str]) -> Stalled | None:
    """Why a claim that is served cannot have all it requires: it keeps its class. Its data is served as before."""
    missing = short_of(claim.spec.requires, able)
    if not missing:
        return None
    return Stalled(
        CAPABILITY_MISSING,
        f"spec.requires: the service of this claim cannot do {missing}, and a claim keeps its class. It runs as "
        f"before; take {missing} out, or make a new claim of a class that promises it and move the data to it",
    )


def build_ask(claim: Claim, chosen: Chosen, settings: Settings) -> Ask | Stalled:
    """What the driver is asked, or why it cannot be."""
    driver = drivers().get((claim.KIND.kind, chosen.driver))
    if driver is None:
        return unknown_driver(claim, chosen)
    parameters = read_parameters(driver, chosen.name, chosen.parameters)
    if isinstance(parameters, Stalled):
        return parameters
    return Ask(claim, chosen.name, parameters, chosen.keep, settings, chosen.served)


def refuse_edit(driver: Driver, ask: Ask) -> Stalled | None:
    """Why an edit of a claim that is served cannot be made, by the table of its kind and driver, or by the driver."""
    old = ask.claim.status.asked
    if old is None or ask.claim.status.driver is None:
        return None
    new = everything(ask.claim.asked)
    if old == new:
        return None
    for change in changes_of(driver, type(ask.claim)):
        holds = not change.given or old.get(change.given)
        if holds and change.forbids(old.get(change.field), new.get(change.field)):
            return Stalled(CHANGE_REFUSED, f"spec.parameters.{change.message}. It runs as before: set it back")
    stop = driver.refuse(ask)
    return stop if stop is not None and as_before(driver, ask) is not None else None


def as_before(driver: Driver, ask: Ask) -> Ask | None:
    """The same with the parameters on record: an edit that is refused changes nothing of what runs.

    None where the record fits neither kind nor driver, as when a later libre.sh wrote it: then nothing is touched.
    """
    try:
        before = msgspec.convert(ask.claim.status.asked, type(ask.claim.asked))
    except msgspec.ValidationError:
        return None
    spec = msgspec.structs.replace(ask.claim.spec, parameters=before)
    found = replace(ask, claim=msgspec.structs.replace(ask.claim, spec=spec))
    return found if driver.refuse(found) is None else None


def hand_over(claim: Claim, chosen: Chosen) -> Decision:
    """The choice, for the controller that serves the claim; all else in the status is that controller's to write."""
    status: Object = {
        "className": chosen.name,
        "driver": chosen.driver,
        "parameters": chosen.parameters,
        "deletionPolicy": "Retain" if chosen.keep else "Delete",
    }
    heard = claim.status.driver is not None and has_spoken(claim)
    return Decision(delegated(chosen.driver, f"ServiceClass {chosen.name}", heard=heard), status)


def unknown_driver(claim: Claim, chosen: Chosen) -> Stalled:
    """A driver that nobody installed."""
    return Stalled(
        DRIVER_UNKNOWN,
        f"ServiceClass {chosen.name}: no driver {chosen.driver} for {claim.KIND.kind} is installed; installed: "
        f"{', '.join(names_for(claim.KIND.kind))}",
    )


async def observe_pods(owner: Resource, reader: Reader) -> Sequence[Object]:
    """The pods that run for this claim, for telling what is wrong with them."""
    labels = {naming.OWNER_LABEL: naming.owner_value(owner.KIND.kind, owner.name)}
    return await reader.select("Pod", owner.namespace, labels)


async def observe_errands(owner: Resource, settings: Settings, reader: Reader) -> Sequence[Object]:
    """The pods that do something outside for this claim: they run beside the administrator's credentials."""
    return await reader.select("Pod", settings.system_namespace, {naming.OWNER_UID_LABEL: owner.metadata.uid})


def connection_actions(claim: Claim, provision: Provision) -> tuple[Action, ...]:
    """Writes the connection secret once the driver can say what is in it."""
    if provision.connection is None:
        return ()
    return (binding.build_connection(claim, claim.connection_secret, SCHEMAS[claim.KIND.kind], provision.connection),)


def conclude(claim: Claim, provision: Provision, seen: Observed) -> Outcome:
    """Ready only with a complete connection secret that was seen."""
    if not isinstance(provision.outcome, Settled):
        return provision.outcome
    keys = seen.connection.keys if seen.connection else frozenset()
    if missing := missing_keys(claim.KIND.kind, keys):
        return binding.incomplete(claim.connection_secret, missing)
    return provision.outcome


def status_of(
    claim: Claim, chosen: Chosen | None, provision: Provision | None, *, bound: bool = False, asked: Any = None
) -> Object:
    """The claim's own status fields. `asked`: its parameters as the driver was asked for them."""
    if chosen is None:
        return {}
    driver = drivers().get((claim.KIND.kind, chosen.driver))
    if driver is None or provision is None:
        return {key: value for key, value in unchanged(claim).items() if key != "binding" or bound}
    parameters = fitted(driver.parameters, chosen.parameters)
    status: Object = {
        "className": chosen.name,
        "driver": chosen.driver,
        "parameters": chosen.parameters,
        "deletionPolicy": "Retain" if chosen.keep else "Delete",
        "instance": {"driver": chosen.driver, "ref": provision.instance},
        "capabilities": sorted({*driver.capabilities(parameters), *provision.found}),
        **({"asked": everything(asked)} if asked is not None else {}),
        **({"recoveryWindow": dict(provision.recovery_window)} if provision.recovery_window else {}),
    }
    if bound:
        status["binding"] = {"name": claim.connection_secret}
    return status


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
    return cast(ErrandDriver, driver).withdraw(ask, seen)
