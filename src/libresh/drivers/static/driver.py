"""Any claim by a Secret that exists: the cluster operator writes a service down once, claims get a copy.

All claims of such a class share what the Secret names; where they must be apart, make a class for each.
"""

from typing import Annotated, Any

import msgspec

from libresh.drivers.connection import REQUIRED, TYPES, missing_keys
from libresh.drivers.model import Ask, Provision, Seen, told_otherwise
from libresh.plan.actions import From, Literal, Ref, SecretKey, Theirs, Value
from libresh.plan.decision import Settled, Stalled, Waiting
from libresh.ports import Watched

SECRET_NOT_FOUND = "SecretNotFound"
SECRET_INCOMPLETE = "SecretIncomplete"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class SecretReference(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A Secret with the keys of the published connection schema."""

    name: Name
    namespace: Name = "libresh-system"


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    secret_ref: SecretReference
    """The Secret to copy. It may lack `type` and `provider`."""


class Static:
    """Serves one kind of claim from a Secret."""

    name = "static"
    parameters = Parameters
    watches = (Watched("Secret", writes=True),)

    def __init__(self, claim_kind: str) -> None:
        self.claim_kind = claim_kind
        self.changes = told_otherwise(claim_kind, "nothing follows: what the class's Secret names is as it is")

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Nothing is known of what stands behind the Secret."""
        return ()

    def refuse(self, ask: Ask) -> Stalled | None:
        return None

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return (source_of(ask),)

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        source = source_of(ask)
        secret = seen.secret(source)
        if secret is None:
            waiting = Waiting(
                SECRET_NOT_FOUND,
                f"The Secret {source.namespace}/{source.name} that ServiceClass {ask.class_name} names does not exist; "
                f"make it with the keys {', '.join(REQUIRED[self.claim_kind][2:])}",
            )
            return Provision(waiting, instance=str(source))
        given: dict[str, Value] = {
            "type": Literal(TYPES[self.claim_kind]),
            "provider": Literal("static"),
            **{key: From(SecretKey(source.namespace, source.name, key)) for key in sorted(secret.keys)},
        }
        if missing := missing_keys(self.claim_kind, frozenset(given)):
            waiting = Waiting(
                SECRET_INCOMPLETE,
                f"The Secret {source.namespace}/{source.name} that ServiceClass {ask.class_name} names "
                f"lacks {', '.join(missing)}",
            )
            return Provision(waiting, instance=str(source))
        return Provision(Settled("The Secret is complete"), connection=given, instance=str(source))


def source_of(ask: Ask) -> Theirs:
    reference = ask.parameters.secret_ref
    return Theirs("Secret", reference.name, reference.namespace)


DRIVERS = tuple(Static(kind) for kind in REQUIRED)
