"""ServiceClass: check the driver and its parameters, run the server some drivers need, refuse to go while in use.

unknown driver, bad parameters ──> stalled
driver with a server ──> server rolling out ──> settled
driver outside of libre.sh ──> its claims are counted, its own controller says how it stands
deleted while claims use it ──> waits for the last of them
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from libresh.api import CLAIMS
from libresh.api.claims import Claim
from libresh.api.services import ServiceClass
from libresh.drivers import drivers, is_outside, names_for
from libresh.drivers.model import Driver, Seen, Server, ServerDriver, Settings, runs_server
from libresh.plan.actions import Ref, Release
from libresh.plan.decision import Decision, Outcome, Settled, Stalled, Waiting
from libresh.plan.observed import is_available
from libresh.ports import Reader, Watched
from libresh.reconcilers.serving import DRIVER_UNKNOWN, delegated, has_spoken, observe_refs, read_parameters

IN_USE = "InUse"


@dataclass(frozen=True)
class Observed:
    """Everything `decide` may know."""

    settings: Settings
    claims: tuple[Claim, ...] = ()
    """The claims this class serves, and those it would serve if it came up."""
    seen: Seen = field(default_factory=Seen)


class ServiceClassReconciler:
    """Reconciles classes."""

    type = ServiceClass
    finalizer = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        kinds = (Watched(kind.KIND.kind, managed=False) for kind in CLAIMS)
        own = Watched(ServiceClass.KIND.kind, writes=True, managed=False)
        served = (driver for driver in drivers().values() if runs_server(driver))
        more = (each for driver in served for each in driver.watches)
        self.watches = tuple(dict.fromkeys((own, *kinds, Watched("Secret", writes=True), *more)))

    async def observe(self, obj: ServiceClass, reader: Reader) -> Observed:
        """Reads the claims of the class and, where the driver runs a server, what stands of it."""
        kind = next(kind for kind in CLAIMS if kind.KIND.kind == obj.spec.claim_kind)
        claims = tuple(await reader.find(kind, "status.className", obj.name))
        driver = drivers().get((obj.spec.claim_kind, obj.spec.driver))
        if driver is None or not runs_server(driver):
            return Observed(self.settings, claims)
        parameters = read_parameters(driver, obj.name, obj.spec.parameters)
        serving = cast(ServerDriver, driver)
        if isinstance(parameters, Stalled):
            refs: tuple[Ref, ...] = (serving.server_ref(obj.name, self.settings),)
        else:
            refs = serving.server_looks_at(obj, parameters, claims, self.settings)
        return Observed(self.settings, claims, await observe_refs(refs, reader))

    def decide(self, obj: ServiceClass, seen: Observed) -> Decision:
        """Pure: what stands for the class."""
        driver = drivers().get((obj.spec.claim_kind, obj.spec.driver))
        if obj.deleting and not seen.claims:
            return Decision(Settled("No claim uses it"), {}, (Release(),), prune=True)
        if is_outside(obj.spec.driver):
            return leave_alone(obj, seen.claims)
        if driver is None:
            return Decision(held(obj, seen.claims) or unknown_driver(obj), {"claims": len(seen.claims)})
        parameters = read_parameters(driver, obj.name, obj.spec.parameters)
        if isinstance(parameters, Stalled):
            refused = replace(parameters, ready=serves_on(driver, obj, seen))
            return Decision(held(obj, seen.claims) or refused, {"claims": len(seen.claims)})
        server = plan_server(driver, obj, parameters, seen)
        status = {
            "claims": len(seen.claims),
            "capabilities": sorted(driver.capabilities(parameters)),
            **({"server": server.name} if server.name else {}),
            **({"url": server.url} if server.url else {}),
        }
        outcome = held(obj, seen.claims) or server.outcome
        return Decision(outcome, status, server.actions, prune=isinstance(server.outcome, Settled))


def serves_on(driver: Driver, cls: ServiceClass, seen: Observed) -> bool:
    """Whether the server that was made before the class was edited still answers."""
    if not runs_server(driver):
        return False
    return is_available(seen.seen.get(cast(ServerDriver, driver).server_ref(cls.name, seen.settings)))


def leave_alone(cls: ServiceClass, claims: Sequence[Claim]) -> Decision:
    """The class of a controller outside: its claims are counted, by which the API server refuses to delete it."""
    return Decision(delegated(cls.spec.driver, "This class", heard=has_spoken(cls)), {"claims": len(claims)})


def plan_server(driver: Driver, cls: ServiceClass, parameters: Any, seen: Observed) -> Server:
    """The server of the class, if its driver runs one."""
    if not runs_server(driver):
        return Server(Settled("Serves claims"))
    return cast(ServerDriver, driver).plan_server(cls, parameters, seen.claims, seen.seen, seen.settings)


def held(cls: ServiceClass, claims: Sequence[Claim]) -> Outcome | None:
    """A class in use cannot go: it stays, and says whose it is."""
    if not cls.deleting:
        return None
    users = ", ".join(str(claim.ref) for claim in claims[:5])
    more = f" and {len(claims) - 5} more" if len(claims) > 5 else ""
    return Waiting(
        IN_USE,
        f"It is being deleted, but it serves {users}{more}; it goes when these are deleted",
        ready=True,
    )


def unknown_driver(cls: ServiceClass) -> Stalled:
    """A driver that is not ours."""
    names = ", ".join(names_for(cls.spec.claim_kind))
    return Stalled(
        DRIVER_UNKNOWN,
        f"spec.driver: no driver {cls.spec.driver} for {cls.spec.claim_kind}; installed: {names}",
    )
