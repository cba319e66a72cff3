"""What an object's status says already, for decisions that leave it so."""

import msgspec

from libresh.api.meta import Resource
from libresh.plan.actions import Object
from libresh.plan.decision import OF_EVERY_KIND


def unchanged(obj: Resource) -> Object:
    """The kind's own status fields as they are on record."""
    known: Object = msgspec.to_builtins(obj.status)
    return {key: value for key, value in known.items() if key not in OF_EVERY_KIND}
