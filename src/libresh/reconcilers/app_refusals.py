"""Why an application's wishes cannot be fulfilled: named checks, in order. Each says field, reason and way out."""

from typing import TYPE_CHECKING, Any

from libresh.api.apps import App
from libresh.catalog.build import is_own
from libresh.catalog.model import AnyPackage, Refusal
from libresh.catalog.releases import Release
from libresh.drivers.connection import TYPES
from libresh.plan import naming
from libresh.reconcilers import app_status
from libresh.reconcilers.app_needs import APPS, Backing, is_copy

if TYPE_CHECKING:
    from libresh.reconcilers.app import Observed

HOST_MISSING = "HostMissing"
"""spec.host is absent: nobody could reach the application."""
VERSION_UNKNOWN = "VersionUnknown"
"""spec.version names no release that can be installed."""
VERSION_UNREACHABLE = "VersionUnreachable"
"""spec.version names a release that cannot follow the one that runs."""
HOST_TAKEN = "HostTaken"
"""Another application, which is older, has the host."""
NAME_TAKEN = "NameTaken"
"""An object that would be made exists and belongs to somebody else."""
SERVICE_MOVED = "ServiceMoved"
"""The data lies with another service than the spec now names."""
CLASS_FIXED = "ClassFixed"
"""The claim was made of another class than the spec now names."""
SERVICE_UNCLEAR = "ServiceUnclear"
"""Instance and profiles together name more than one of class, claim and secret."""
SERVICE_TAKEN = "ServiceTaken"
"""The claim or secret belongs to another application, or goes away with something else."""
WRONG_SECRET = "WrongSecret"
"""The secret is the connection of another kind of service."""
SECRET_TYPE = "servicebinding.io/"
"""How the type of every connection secret begins."""


def first(package: AnyPackage, app: App, seen: "Observed") -> Refusal | None:
    """The first reason to refuse, or None."""
    if isinstance(seen.effective, Refusal):
        return seen.effective
    spec = seen.effective.spec
    return (
        host_missing(app, spec)
        or version_unknown(package, spec, seen.release)
        or version_unreachable(app, seen)
        or host_taken(app, seen)
        or (package.refuse(app, spec, seen.release) if seen.release else None)
        or service_refused(app, seen)
        or name_taken(app, seen)
    )


def fits(package: AnyPackage, app: App, spec: Any, release: Release) -> bool:
    """Whether a package may be asked for the parts of such a spec at all."""
    return host_missing(app, spec) is None and package.refuse(app, spec, release) is None


def host_missing(app: App, spec: Any) -> Refusal | None:
    if spec.host:
        return None
    return Refusal(HOST_MISSING, f"spec.host is not set: set the name people shall reach {app.name} at")


def version_unknown(package: AnyPackage, spec: Any, release: Release | None) -> Refusal | None:
    if release is not None:
        return None
    known = package.releases.get(spec.version or "")
    why = f"{spec.version} is withdrawn ({known.withdrawn})" if known else f"there is no release {spec.version}"
    return Refusal(
        VERSION_UNKNOWN,
        f"spec.version: {why} of {package.title}; there are: {', '.join(package.releases.names)}. Name one of them, "
        f"the beginning of one, or leave spec.version out",
    )


def version_unreachable(app: App, seen: "Observed") -> Refusal | None:
    """A release may only follow those its graph names: data of a newer one cannot be read by an older one."""
    running = app_status.running_version(app, seen)
    if seen.release is None or not running or seen.release.follows(running):
        return None
    return Refusal(
        VERSION_UNREACHABLE,
        f"spec.version: {seen.release.version} cannot follow {running}, which runs now and has written the data; set "
        f"spec.version to {running}, or to a release that may follow it",
    )


def host_taken(app: App, seen: "Observed") -> Refusal | None:
    """The oldest application that names a host has it."""
    for named in seen.hosts:
        for rival in named.rivals:
            if seniority(rival) < seniority(app):
                return Refusal(
                    HOST_TAKEN,
                    f"spec.{named.path}: {named.host} is taken by {rival.ref}, which is older; choose another name, or "
                    f"delete that one or change its host",
                )
    return None


def seniority(app: App) -> tuple[str, str, str, str]:
    """Orders applications by age."""
    return (app.metadata.creation_timestamp or "", app.namespace, app.name, app.KIND.kind)


def service_refused(app: App, seen: "Observed") -> Refusal | None:
    """Services whose data would be left behind, or whose class would change."""
    ran = bool(app.status.version or seen.workloads or seen.jobs)
    before = {each.role: each.ref for each in app.status.backing} if ran else {}
    for each in seen.backing:
        stop = (
            service_unclear(each)
            or service_moved(each, before)
            or claim_taken(app, each)
            or secret_misused(each, seen)
            or class_fixed(each)
        )
        if stop:
            return stop
    return None


def service_unclear(backing: Backing) -> Refusal | None:
    """The API server sees that of one object alone, and not of what profiles give."""
    wish = backing.need.wish
    named = {"className": wish.class_name, "claim": wish.claim, "secret": wish.secret}
    given = [name for name, value in named.items() if value]
    if wish.secret and wish.requires:
        return Refusal(
            SERVICE_UNCLEAR,
            f"{backing.field} has secret and requires, with what profiles give: nobody knows what stands behind a "
            f"Secret; take requires out, or name a class or a claim in place of secret",
        )
    if len(given) < 2 and not (wish.namespace and not wish.claim):
        return None
    given += ["namespace"] if wish.namespace else []
    return Refusal(
        SERVICE_UNCLEAR,
        f"{backing.field} has {' and '.join(given)}, with what profiles give: set one of className, claim (with its "
        f"namespace, where it is another one) and secret",
    )


def claim_taken(app: App, backing: Backing) -> Refusal | None:
    """A claim that goes away with another application, or holds its data, is no place for this one's."""
    claim = backing.claim
    if claim is None or is_own(backing.need) or backing.is_ours or backing.is_leaving:
        return None
    for owner in claim.metadata.owner_references:
        if owner.controller and owner.api_version.startswith(APPS):
            return Refusal(
                SERVICE_TAKEN,
                f"{backing.field}.claim: {backing.handle} was made for {owner.kind} {owner.name} and goes with it; "
                f"name a claim that stands alone, or take {backing.field}.claim out to have one made",
            )
    for rival in backing.rivals:
        if seniority(rival) < seniority(app):
            return Refusal(
                SERVICE_TAKEN,
                f"{backing.field}.claim: {rival.ref}, which is older, keeps its data with {backing.handle}, and two "
                f"would destroy it for each other; name another claim, or take {backing.field}.claim out to have one "
                "made",
            )
    return None


def secret_misused(backing: Backing, seen: "Observed") -> Refusal | None:
    """A connection of another kind, or one that goes as soon as it is named in place of its claim."""
    secret, wanted = backing.secret, SECRET_TYPE + TYPES[backing.need.claim.KIND.kind]
    if secret is None or backing.need.wish.secret is None:
        return None
    name = secret.metadata.name
    if secret.type.startswith(SECRET_TYPE) and secret.type != wanted:
        return Refusal(
            WRONG_SECRET,
            f"{backing.field}.secret: the Secret {name} is of the type {secret.type}, not {wanted}; name the "
            f"connection of a {backing.need.claim.KIND.kind}",
        )
    makers = {claim.metadata.uid: claim for claim in seen.claims}
    for owner in secret.metadata.owner_references:
        if owner.uid in makers:
            made = makers[owner.uid].ref
            return Refusal(
                SERVICE_TAKEN,
                f"{backing.field}.secret: the Secret {name} is the connection of {made.kind} {made.name}, which was "
                f"made for this application and would go if it were not asked for; take {backing.field}.secret out",
            )
    return None


def service_moved(backing: Backing, before: dict[str, str]) -> Refusal | None:
    """Data does not move by itself when another service is named."""
    known = before.get(backing.need.role)
    if known is None or not backing.need.data or known == backing.handle:
        return None
    return Refusal(
        SERVICE_MOVED,
        f"{backing.field}: the data lies with {known}, and {backing.handle} would be empty: data does "
        f"not move by this edit; set {backing.field} back to what it was",
    )


def class_fixed(backing: Backing) -> Refusal | None:
    """The class of a claim cannot be changed once it serves it."""
    wish, claim = backing.need.wish, backing.claim
    if claim is None or not is_own(backing.need) or not wish.class_name or backing.is_foreign:
        return None
    known = claim.status.class_name
    if known is None or known == wish.class_name:
        return None
    return Refusal(
        CLASS_FIXED,
        f"{backing.field}.className: {backing.handle} was made of the class {known}; set it back to "
        f"{known}, or take className out",
    )


def name_taken(app: App, seen: "Observed") -> Refusal | None:
    """Nobody's objects are taken over: neither claims nor kept secrets that bear our names."""
    for each in seen.backing:
        if each.copy is not None and not is_copy(app, each.copy):
            return Refusal(
                NAME_TAKEN,
                f"metadata.name: the Secret {each.copy.metadata.name}, where the connection of {each.handle} would be "
                f"copied to, exists and was not made for this application; delete it, or name this application "
                "otherwise",
            )
        if each.is_foreign and not each.is_leaving:
            return Refusal(
                NAME_TAKEN,
                f"{each.field}: {each.handle} exists and was not made for this application; to use it "
                f"set {each.field}.claim to {each.ref.name}, otherwise delete it or name this application otherwise",
            )
    mine = naming.owner_value(app.KIND.kind, app.name)
    for view in seen.kept.values():
        if view is not None and view.metadata.labels.get(naming.KEPT_FOR_LABEL) != mine:
            return Refusal(
                NAME_TAKEN,
                f"metadata.name: the Secret {view.metadata.name} exists and was not made for this application; delete "
                f"it, or name this application otherwise",
            )
    return None
