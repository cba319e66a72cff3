"""Bucket by an S3 server of its own for each claim: versitygw over a folder on a volume, or three members of Garage.

What one server keeps the other cannot read: a claim stays with what it was begun with, and finds it again by name only
with a class of as many members.
"""

from typing import Annotated, Any
from typing import Literal as OneOf

import msgspec

from libresh.api.claims import Quantity
from libresh.drivers.embedded_bucket import garage, versitygw
from libresh.drivers.embedded_bucket.names import bucket_of
from libresh.drivers.model import Ask, Provision, Seen
from libresh.drivers.outcomes import refuse_volume
from libresh.plan.actions import Ref
from libresh.plan.decision import Stalled
from libresh.ports import Watched

VERSIONING_NOT_SERVED = "VersioningNotServed"  # the claim asks for versions of objects, the class cannot keep them
LEFT_BY_OTHERS = "LeftByOtherServer"  # volumes of another number of members are there under the claim's name


class Parameters(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Parameters of a class with this driver."""

    storage_class: str | None = None
    """The StorageClass of the volumes. Absent: the cluster's default."""
    memory: Annotated[Quantity, msgspec.Meta(description="The most memory each server may use.")] = "256Mi"
    members: Annotated[
        OneOf[1, 3],
        msgspec.Meta(
            description="One (versitygw), or three (Garage) on three nodes: then any one of them may fail. Three have "
            "no versioning, and the image garage must be in the cluster."
        ),
    ] = 1


class EmbeddedBucket:
    """Serves Bucket claims with one versitygw each, or three members of Garage."""

    name = "embedded"
    claim_kind = "Bucket"
    parameters = Parameters
    watches = (
        Watched("StatefulSet", writes=True),
        Watched("Service", writes=True),
        Watched("ConfigMap", writes=True),
        Watched("PersistentVolumeClaim", writes=True),
        Watched("NetworkPolicy", writes=True),
        Watched("PodDisruptionBudget", writes=True),
        Watched("Secret", writes=True),
    )

    def capabilities(self, parameters: Any) -> tuple[str, ...]:
        """Volumes of its own, which grow where the StorageClass lets them. Only three members survive a node; only one
        keeps versions."""
        return ("expand", "ha", "quota") if parameters.members > 1 else ("expand", "quota", "versioning")

    def refuse(self, ask: Ask) -> Stalled | None:
        """A file system needs some room; Garage has no versions."""
        wanted = bucket_of(ask).spec.parameters
        if ask.parameters.members > 1 and wanted.versioning:
            return Stalled(
                VERSIONING_NOT_SERVED,
                f"spec.parameters.versioning: ServiceClass {ask.class_name} has parameters.members: 3, whose server "
                f"(Garage) keeps no versions of objects; set it to false, or name a class that can do versioning",
            )
        return refuse_volume("spec.parameters.storage", wanted.storage, least="64Mi")

    def looks_at(self, ask: Ask) -> tuple[Ref, ...]:
        return (*server_of(ask).looks_at(ask), *left_refs(ask))

    def plan(self, ask: Ask, seen: Seen) -> Provision:
        left = [ref for ref in left_refs(ask) if seen.get(ref)]
        if left:
            # Nothing is this claim's then: what lies there is not touched when it is deleted.
            return Provision(refuse_left(ask, left), instance=server_of(ask).instance_of(ask))
        provision: Provision = server_of(ask).plan(ask, seen)
        return provision


def server_of(ask: Ask) -> Any:
    """The module of the server that a class is for."""
    return versitygw if ask.parameters.members == 1 else garage


def left_refs(ask: Ask) -> tuple[Ref, ...]:
    """The volumes that a claim of this name would have with the other server."""
    return garage.volumes_of(ask) if ask.parameters.members == 1 else versitygw.volumes_of(ask)


def refuse_left(ask: Ask, left: list[Ref]) -> Stalled:
    """What one server has left another cannot take on."""
    here, there = ("one member", 3) if ask.parameters.members == 1 else ("three members", 1)
    return Stalled(
        LEFT_BY_OTHERS,
        f"spec.className: this class has {here}, but an earlier claim of this name had {there}, and what it left "
        f"({', '.join(ref.name for ref in left)}) is another server's: make the claim anew with a class that has "
        f"parameters.members: {there}, or by another name, or delete these volumes if the objects may go",
    )


DRIVERS = (EmbeddedBucket(),)
