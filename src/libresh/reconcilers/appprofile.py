"""AppProfile: check that its defaults fit the kind of application they are for.

unknown application, defaults that do not fit ──> stalled
otherwise ──> settled
"""

from dataclasses import dataclass

from libresh.api.apps import AppProfile
from libresh.apps import packages
from libresh.catalog.model import Refusal
from libresh.catalog.profile import check_profile
from libresh.plan.decision import Decision, Settled, Stalled
from libresh.ports import Reader, Watched

APP_UNKNOWN = "AppUnknown"
"""spec.appKind names no application that is installed."""


@dataclass(frozen=True)
class Observed:
    """Everything `decide` may know."""

    instances: int = 0
    """How many name this profile."""


class AppProfileReconciler:
    """Reconciles profiles."""

    type = AppProfile
    finalizer = False

    def __init__(self) -> None:
        kinds = (Watched(kind, managed=False) for kind in packages())
        self.watches = (Watched(AppProfile.KIND.kind, writes=True, managed=False), *kinds)

    async def observe(self, obj: AppProfile, reader: Reader) -> Observed:
        """Counts the instances that name it."""
        package = packages().get(obj.spec.app_kind)
        return Observed(len(await reader.find(package.kind, "spec.profile", obj.name)) if package else 0)

    def decide(self, obj: AppProfile, seen: Observed) -> Decision:
        """Pure: whether the profile can be used."""
        status = {"instances": seen.instances}
        package = packages().get(obj.spec.app_kind)
        if package is None:
            known = ", ".join(packages())
            why = f"spec.appKind: there is no application {obj.spec.app_kind}; there are: {known}"
            return Decision(Stalled(APP_UNKNOWN, why), status)
        wrong: Refusal | None = check_profile(package, obj)
        if wrong is not None:
            return Decision(Stalled(wrong.reason, wrong.message), status)
        return Decision(Settled("The profile can be used"), status)
