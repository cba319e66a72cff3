"""What this libre.sh consists of, as the operator itself finds it: kinds, reconcilers, commands."""

from libresh import apps, operator
from libresh.api.meta import Resource
from libresh.catalog.model import Command
from libresh.kube.kinds import Kinds

types = operator.types
reconcilers = operator.reconcilers


def app_types() -> tuple[type[Resource], ...]:
    """Every kind of application."""
    return tuple(apps.kinds())


def kinds() -> Kinds:
    """Which path of the API serves which kind, ours included."""
    return Kinds(types())


def commands(type: type[Resource]) -> tuple[Command, ...]:
    """The administrative commands of an application's package."""
    return apps.packages()[type.KIND.kind].commands
