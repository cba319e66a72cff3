"""Connection secrets as claims of every kind publish them: nobody's Secret is overwritten, and ready means complete."""

from collections.abc import Mapping, Sequence

from libresh.api.connection import Schema
from libresh.api.meta import Resource
from libresh.plan import naming, objects
from libresh.plan.actions import Mint, Value
from libresh.plan.decision import Stalled, Waiting
from libresh.ports import SecretView

CONNECTION_INCOMPLETE = "ConnectionIncomplete"
SECRET_TAKEN = "SecretTaken"  # the connection secret's name belongs to something else


def taken(owner: Resource, name: str, found: SecretView | None) -> Stalled | None:
    """Whether the connection secret's name belongs to something else."""
    if found is None:
        return None
    owners = tuple(each.uid for each in found.metadata.owner_references if each.controller)
    if owners == (owner.metadata.uid,):
        return None
    if found.metadata.labels.get(naming.MANAGED_LABEL) == naming.MANAGED_BY and not owners:
        return None
    return Stalled(
        SECRET_TAKEN,
        f"spec.writeConnectionSecretToRef.name: the Secret {name} exists and is not this claim's; "
        f"choose another name or delete that Secret",
    )


def build_connection(owner: Resource, name: str, schema: Schema, values: Mapping[str, Value]) -> Mint:
    """The connection secret: it goes with the claim, and says which schema it follows."""
    labels = naming.labels_for(name=schema.type, instance=owner.name, component="connection")
    labels[naming.SCHEMA_LABEL] = schema.label
    metadata = objects.build_metadata(name, owner.namespace, labels, owner=owner)
    return Mint(metadata, values, type=f"servicebinding.io/{schema.type}")


def incomplete(name: str, missing: Sequence[str]) -> Waiting:
    """A connection secret that lacks published keys."""
    return Waiting(CONNECTION_INCOMPLETE, f"The connection secret {name} has no {', '.join(missing)} yet")
