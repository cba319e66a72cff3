"""What this libre.sh consists of: its kinds and its reconcilers, found and not listed."""

from typing import Any

from libresh.api import CLAIMS, KINDS
from libresh.api.meta import Resource
from libresh.apps.matrix.spec import Matrix
from libresh.catalog.model import Command
from libresh.catalog.settings import Settings
from libresh.kube.kinds import Kinds
from libresh.ports import Reconciler
from libresh.reconcilers.claim import ClaimReconciler
from libresh.reconcilers.serviceclass import ServiceClassReconciler


def app_types() -> tuple[type[Resource], ...]:
    """Every kind of application."""
    return (Matrix,)


def types() -> tuple[type[Resource], ...]:
    """Every kind of ours, applications included."""
    return (*KINDS, *app_types())


def kinds() -> Kinds:
    """Which path of the API serves which kind, ours included."""
    return Kinds(types())


def reconcilers(settings: Settings) -> tuple[Reconciler[Any], ...]:
    """What the operator runs."""
    claims = tuple(ClaimReconciler(kind, settings) for kind in CLAIMS)
    return (*claims, ServiceClassReconciler(settings))


def commands(type: type[Resource]) -> tuple[Command, ...]:
    """The administrative commands of an application's package."""
    return ()
