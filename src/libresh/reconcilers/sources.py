"""Claims that begin with the data of another one: which, and whether it can be copied now.

source missing or not ready ──> waits ──> copied ──> from then on the source is no longer asked for
"""

from datetime import UTC, datetime
from typing import cast

from libresh.api.claims import Claim
from libresh.api.services import ServiceClass
from libresh.catalog.profile import everything
from libresh.drivers.model import Ask, CopyingDriver, Driver, Seen, changes_of
from libresh.plan.decision import Stalled, Waiting
from libresh.ports import DECLARED, READY, Reader

CLONE, PITR = "clone", "pitr"
SOURCE_UNFIT = "SourceUnfit"  # this claim cannot begin with that data
SOURCE_MISSING = "SourceMissing"
SOURCE_NOT_READY = "SourceNotReady"


async def observe_source(claim: Claim, reader: Reader) -> Claim | None:
    """The claim that `spec.source` names, if there is one."""
    if claim.source is None:
        return None
    return await reader.load(type(claim), claim.source.claim.name, claim.namespace, only=(DECLARED, READY))


async def refuse_outside(claim: Claim, class_name: str, reader: Reader) -> Stalled | None:
    """Why a claim with a source is not left to a controller outside of libre.sh: its class must say that it can."""
    if claim.source is None or claim.status.driver is not None:
        return None
    cls = await reader.load(ServiceClass, class_name, only=(DECLARED, READY))
    if cls is not None and CLONE in cls.status.capabilities:
        return None
    return cannot(class_name, cls.spec.driver if cls else "")


def cannot(class_name: str, driver: str) -> Stalled:
    """A class without the capability."""
    return Stalled(
        SOURCE_UNFIT,
        f"spec.source: ServiceClass {class_name} (driver {driver}) cannot begin with the data of another claim; name a "
        f"class that can {CLONE} (libresh class list), or take spec.source out and move the data yourself",
    )


def find_obstacle(driver: Driver, ask: Ask, found: Claim | None) -> Stalled | Waiting | None:
    """Why the source, as it was found, cannot be copied now. None too where the claim is to begin empty."""
    wish = ask.claim.source
    if wish is None:
        return None
    if CLONE not in driver.capabilities(ask.parameters):
        return cannot(ask.class_name, driver.name)
    where = f"{ask.claim.KIND.kind} {wish.claim.name}"
    if found is None:
        words = f"there is no {where} in the namespace {ask.claim.namespace}; name another one, or wait for it"
        return Waiting(SOURCE_MISSING, f"spec.source.claim.name: {words}")
    if found.deleting:
        return Waiting(SOURCE_MISSING, f"spec.source.claim.name: {where} is being deleted; name another one")
    if found.status.driver is None:
        return Waiting(SOURCE_NOT_READY, f"spec.source.claim.name: nobody serves {where} yet")
    if found.status.driver != driver.name:
        return Stalled(
            SOURCE_UNFIT,
            f"spec.source.claim.name: {where} is served by the driver {found.status.driver}, and ServiceClass "
            f"{ask.class_name} has the driver {driver.name}: only the same one can copy its data; name a class with "
            f"the driver {found.status.driver}, or move the data yourself",
        )
    return differs(driver, ask, found) or check_moment(ask, found)


def differs(driver: Driver, ask: Ask, found: Claim) -> Stalled | None:
    """Why the copy cannot be what it is to be: beyond what it inherits it differs as far as a claim may be edited."""
    old, new = found.status.asked or everything(found.asked), everything(ask.claim.asked)
    inherited = cast(CopyingDriver, driver).inherits
    for change in changes_of(driver, type(ask.claim)):
        theirs, ours = old.get(change.field), new.get(change.field)
        if change.forbids(theirs, ours) or (change.field in inherited and theirs != ours):
            rule = (
                f"at least {theirs}, which its source has" if change.verdict == "grows" else f"its source's, {theirs}"
            )
            words = f"{ours}: a copy of {found.KIND.kind} {found.name} needs {rule}; set it to {theirs}"
            return Stalled(SOURCE_UNFIT, f"spec.parameters.{change.field} is {words}")
    return None


def check_moment(ask: Ask, found: Claim) -> Stalled | Waiting | None:
    """Whether the data of that moment, or of now, can be had."""
    at = ask.claim.source.at if ask.claim.source else None
    where = f"{found.KIND.kind} {found.name}"
    if at is None:
        ready = found.was_ready()
        return None if ready else Waiting(SOURCE_NOT_READY, f"spec.source: {where} can be copied once it is ready")
    if PITR not in found.status.capabilities:
        return Stalled(
            SOURCE_UNFIT,
            f"spec.source.at: no moment of {where} can be restored, as its ServiceClass {found.status.class_name} "
            f"keeps no backups for that (the capability {PITR}); take at out for its data as it is now",
        )
    made = datetime.fromisoformat(ask.claim.metadata.creation_timestamp or said(at))
    if at > made:
        return Stalled(
            SOURCE_UNFIT,
            f"spec.source.at: {said(at)} is after this claim was made ({said(made)}): what was not yet cannot be "
            "restored; name an earlier moment, or take at out for the data as it is now",
        )
    window = getattr(found.status, "recovery_window", None)
    earliest = window.earliest if window else None
    if earliest is not None and at < earliest:
        return Stalled(
            SOURCE_UNFIT,
            f"spec.source.at: {said(at)} is before {said(earliest)}, the first moment of {where} that can be restored; "
            "name a later one",
        )
    return None


def said(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def find_hindrance(
    driver: Driver, ask: Ask, obstacle: Stalled | Waiting | None, seen: Seen
) -> Stalled | Waiting | None:
    """Why the claim's data cannot begin as declared. Once it has begun the source is not asked for again."""
    if ask.claim.source is None:
        return None
    began = cast(CopyingDriver, driver).began(ask, seen) if hasattr(driver, "began") else None
    if began is None:
        return obstacle
    if began:
        return None
    return Stalled(
        SOURCE_UNFIT,
        "spec.source: what is kept under this claim's name did not begin with that data, and is not overwritten; take "
        "spec.source out to use it as it is, give the claim another name, or delete what is kept",
    )
