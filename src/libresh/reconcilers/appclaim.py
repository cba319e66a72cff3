"""Claims of applications: find the application that is meant, see that it allows it, publish its connection.

    no package ──> which application? ──> allowed? ──> up? ──> connection complete ──> settled
                          ^                  │                                            │
                          │                  no: the connection secret is taken away <────┘
                          └── appears                                  (the grant is withdrawn)

One reconciler serves every kind: what differs is in the packages that offer it (`catalog.model.Offer`). Nothing is
kept: the claim is a reference, and all that is made for it goes with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from libresh.api.appclaims import AppClaim
from libresh.api.apps import App, AppProfile
from libresh.api.conditions import READY, find
from libresh.api.grants import AllowedNamespaces
from libresh.apps import packages
from libresh.catalog.model import AnyPackage, Refusal
from libresh.catalog.profile import resolve
from libresh.catalog.settings import Settings
from libresh.plan.actions import From, Hashed, Literal, Object, Ref, SecretKey, Template, Value
from libresh.plan.decision import Decision, Outcome, Settled, Stalled, Waiting
from libresh.ports import Reader, SecretView, Watched
from libresh.reconcilers import binding
from libresh.reconcilers.granting import NAMESPACES, NOT_GRANTED, observe_labels
from libresh.reconcilers.recorded import unchanged

C = TypeVar("C", bound=AppClaim)

APP_UNKNOWN = "AppNotInstalled"
"""No package of this operator serves claims of this kind."""
NO_APP = "NoApp"
"""No application is named, and there is none to take."""
SEVERAL_APPS = "SeveralApps"
"""No application is named, and there is more than one."""
APP_NOT_FOUND = "AppNotFound"
"""There is no such application in this namespace."""
APP_NOT_READY = "AppNotReady"
"""The application is not up."""


@dataclass(frozen=True)
class Target:
    """The application a claim is bound to, which allows it."""

    app: App
    values: Mapping[str, Value] | None
    """What its connection consists of; None where its settings do not hold."""


@dataclass(frozen=True)
class Observed:
    """Everything `decide` may know."""

    target: Target | Stalled | Waiting
    ref: Ref | None = None
    """The application, once one was found, whether it allows the claim or not."""
    connection: SecretView | None = None


class AppClaimReconciler(Generic[C]):
    """Reconciles one kind of application's claim."""

    finalizer = False

    def __init__(self, type: type[C], settings: Settings) -> None:
        self.type = type
        self.settings = settings
        self.package = package_for(type)
        own = Watched(type.KIND.kind, writes=True, managed=False)
        served = (Watched(self.package.kind_name, managed=False),) if self.package else ()
        self.watches = (
            own,
            *served,
            Watched(AppProfile.KIND.kind, managed=False),
            Watched("Secret", writes=True),
            NAMESPACES,
        )

    async def observe(self, obj: C, reader: Reader) -> Observed:
        """Reads the application, its grant and settings, and the connection secret."""
        if self.package is None:
            return Observed(unserved(obj))
        ref = await choose(obj, self.package, self.settings, reader)
        if not isinstance(ref, Ref):
            return Observed(ref)
        app = await load_allowed(self.package, ref, obj.namespace, reader)
        if app is None:
            return Observed(missing(obj, ref), ref)
        values = await observe_values(self.package, app, self.settings, reader)
        connection = await reader.secret(obj.namespace, obj.connection_secret, ours=True)
        return Observed(Target(app, values), ref, connection)

    def decide(self, obj: C, seen: Observed) -> Decision:
        """Pure: what should exist for this claim and how it stands."""
        if self.package is None:
            # What was published stays: the application may well run on without its package.
            assert not isinstance(seen.target, Target)
            return Decision(seen.target, unchanged(obj))
        if not isinstance(seen.target, Target):
            # Without an application that allows it, it has no connection: pruning takes the secret away.
            return Decision(seen.target, status_of(seen), prune=seen.ref is not None)
        if stop := binding.taken(obj, obj.connection_secret, seen.connection):
            return Decision(stop, status_of(seen))
        target, known = seen.target, obj.status.binding is not None
        lacking = not_ready(obj, target.app)
        if target.values is None or (lacking is not None and not known):
            return Decision(lacking or waiting_for(target.app), status_of(seen, obj if known else None))
        publish = binding.build_connection(obj, obj.connection_secret, obj.SCHEMA, target.values)
        outcome = lacking or conclude(obj, seen.connection)
        bound = known or isinstance(outcome, Settled)
        return Decision(
            outcome, status_of(seen, obj if bound else None), (publish,), prune=isinstance(outcome, Settled)
        )


def package_for(type: type[AppClaim]) -> AnyPackage | None:
    """The package that serves a kind of claim, if one is installed."""
    package = packages().get(type.APP)
    return package if package is not None and package.offer is not None and package.offer.kind is type else None


def unserved(claim: AppClaim) -> Stalled:
    """No package: nothing in this cluster can serve the claim."""
    return Stalled(
        APP_UNKNOWN,
        f"kind: this libre.sh has no application {claim.APP}, so nothing can serve a {claim.KIND.kind}; installed: "
        f"{', '.join(packages()) or '(none)'}. Install a package that brings {claim.APP} (entry point libresh.apps) "
        f"beside the operator, or delete this claim and give those who need it a Secret with the keys "
        f"{', '.join(claim.SCHEMA.required)}",
    )


async def choose(claim: AppClaim, package: AnyPackage, settings: Settings, reader: Reader) -> Ref | Stalled | Waiting:
    """The application that is meant: the one named, the one found before, or the only one there is."""
    kind, named, known = package.kind_name, claim.spec.app_ref, claim.status.app
    if named is not None:
        return Ref(kind, named.name, named.namespace or claim.namespace)
    if known is not None:
        return Ref(kind, known.name, known.namespace)
    for namespace in dict.fromkeys((claim.namespace, settings.system_namespace)):
        there = [app for app in await reader.list(package.kind, namespace) if not app.deleting]
        allowed = await allowing(there, claim.namespace, reader)
        if len(allowed) == 1:
            return allowed[0].ref
        if allowed:
            names = ", ".join(app.name for app in allowed)
            return Stalled(
                SEVERAL_APPS,
                f"spec.appRef is not set and there are several {kind} in the namespace {namespace}: {names}; name one",
            )
    return Waiting(
        NO_APP,
        f"spec.appRef is not set and there is no {kind} in this namespace, nor one in {settings.system_namespace} that "
        f"allows this namespace; make one here, or name one of another namespace whose owner allows this one",
    )


async def allowing(apps: Sequence[App], namespace: str, reader: Reader) -> list[App]:
    """The applications that a namespace may use: its own, and those whose owners allow it."""
    labels = await observe_labels(namespace, map(grant_of, apps), reader)
    return [app for app in apps if app.namespace == namespace or is_allowed(app, namespace, labels)]


def grant_of(app: App) -> AllowedNamespaces | None:
    """Whom the owner of an application lets use it."""
    grant: AllowedNamespaces | None = getattr(app.spec, "allowed_namespaces", None)
    return grant


def is_allowed(app: App, namespace: str, labels: Mapping[str, str]) -> bool:
    grant = grant_of(app)
    return grant is not None and grant.allow(namespace, labels)


async def load_allowed(package: AnyPackage, ref: Ref, namespace: str, reader: Reader) -> App | None:
    """The application, if it is there and allows the namespace."""
    app = await reader.load(package.kind, ref.name, ref.namespace)
    found = await allowing([app], namespace, reader) if app is not None else []
    return found[0] if found else None


def missing(claim: AppClaim, ref: Ref) -> Stalled | Waiting:
    """There is no such application, or not for this namespace: which of the two is not for strangers to know."""
    if ref.namespace == claim.namespace:
        return Waiting(
            APP_NOT_FOUND,
            f"spec.appRef: there is no {ref.kind} {ref.name} in this namespace; make it, or name another one. It is "
            f"taken up as soon as it exists",
        )
    return Stalled(
        NOT_GRANTED,
        f"spec.appRef: no {ref.kind} {ref.name} in the namespace {ref.namespace} allows the namespace "
        f"{claim.namespace}; ask its owner to add it to spec.allowedNamespaces.names there, or name another one",
    )


async def observe_values(
    package: AnyPackage, app: App, settings: Settings, reader: Reader
) -> Mapping[str, Value] | None:
    """What the connection consists of, by the settings in force. What it is copied from is looked at, to follow it."""
    raw = (await reader.get(app.ref) or {}).get("spec") or {}
    effective = resolve(package, app, raw, await reader.declared(AppProfile))
    if isinstance(effective, Refusal):
        return None
    assert package.offer is not None
    values = package.offer.connection(app, effective.spec, settings)
    for source in sorted(set(sources_of(values)), key=lambda each: (each.namespace, each.name, each.key)):
        await reader.secret(source.namespace, source.name, ours=True)
    return {"type": Literal(package.offer.kind.SCHEMA.type), "provider": Literal(package.name), **values}


def sources_of(values: Mapping[str, Value]) -> Iterator[SecretKey]:
    """The places in other Secrets that values are made of."""
    for value in values.values():
        match value:
            case From(source=source) | Hashed(key=SecretKey() as source):
                yield source
            case Template(values=places):
                yield from (place for place in places.values() if isinstance(place, SecretKey))


def not_ready(claim: AppClaim, app: App) -> Waiting | None:
    """What keeps the application from being used; its own words are for its own namespace."""
    if app.is_ready() and not app.deleting:
        return None
    condition = find(app.status.conditions, READY)
    words = condition.message if condition is not None and app.namespace == claim.namespace else ""
    return waiting_for(app, "is being deleted" if app.deleting else f"is not ready{': ' if words else ''}{words}")


def waiting_for(app: App, why: str = "is not ready: its settings do not hold") -> Waiting:
    return Waiting(APP_NOT_READY, f"{app.ref} {why}")


def conclude(claim: AppClaim, connection: SecretView | None) -> Outcome:
    """Ready only with a complete connection secret that was seen."""
    lacking = claim.SCHEMA.missing(connection.keys if connection else ())
    if lacking:
        return binding.incomplete(claim.connection_secret, lacking)
    return Settled("The connection is complete")


def status_of(seen: Observed, bound: AppClaim | None = None) -> Object:
    """The claim's own status fields; `bound`: the claim, where its connection secret can be used."""
    app: Object = {"app": {"name": seen.ref.name, "namespace": seen.ref.namespace}} if seen.ref else {}
    return app | ({"binding": {"name": bound.connection_secret}} if bound else {})


__all__ = ["NOT_GRANTED", "AppClaimReconciler", "Observed"]
