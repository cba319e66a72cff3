"""A kind of our own for tests of the runtime, and a reconciler that can be told what to do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from libresh.api.meta import BaseStatus, Kind, Resource, Struct
from libresh.plan.actions import Object, Ref
from libresh.plan.decision import Decision, Settled
from libresh.ports import Reader, Watched
from support.definitions import definition

GROUP = "toys.libre.sh"


class ToySpec(Struct):
    size: int = 1
    host: str = ""
    secret: str = ""
    suspend: bool = False


class ToyStatus(BaseStatus):
    size: int = 0
    note: str = ""


class Toy(Resource):
    KIND: ClassVar[Kind] = Kind(group=GROUP, kind="Toy", plural="toys")

    spec: ToySpec = msgspec.field(default_factory=ToySpec)
    status: ToyStatus | None = None


def crd(type: type[Resource] = Toy, *, scope: str = "Namespaced") -> Object:
    """A definition that accepts anything."""
    return definition(type.KIND.group, type.KIND.version, type.KIND.kind, scope=scope)


def toy(name: str, namespace: str = "play", **spec: Any) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "Toy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def owned_by(obj: Toy) -> list[Object]:
    """The owner references of a child."""
    return [
        {
            "apiVersion": Toy.KIND.api_version,
            "kind": "Toy",
            "name": obj.name,
            "uid": obj.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def box(obj: Toy, name: str = "", **data: str) -> Object:
    """A ConfigMap as a child."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name or f"{obj.name}-box", "namespace": obj.namespace, "ownerReferences": owned_by(obj)},
        "data": {"size": str(obj.spec.size), **data},
    }


def fence(obj: Toy) -> Object:
    """A NetworkPolicy as a child: a kind with a generation."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"{obj.name}-fence",
            "namespace": obj.namespace,
            "labels": {"size": str(obj.spec.size)},
            "ownerReferences": owned_by(obj),
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": obj.name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 80 + obj.spec.size}]}],
        },
    }


WATCHES = (
    Watched("ConfigMap", writes=True),
    Watched("Secret", writes=True),
    Watched("NetworkPolicy", writes=True),
    Watched("Toy", writes=True),
    Watched("Namespace", managed=False, metadata=True),
)


async def see_nothing(obj: Toy, reader: Reader) -> Any:
    return None


def settle(obj: Toy, seen: Any) -> Decision:
    return Decision(Settled(), {"size": obj.spec.size})


@dataclass
class ToyReconciler:
    """Looks and decides as the test says."""

    look: Callable[[Toy, Reader], Any] = see_nothing
    judge: Callable[[Toy, Any], Decision] = settle
    finalizer: bool = False
    watches: tuple[Watched, ...] = WATCHES
    type: Any = Toy
    passes: list[Ref] = field(default_factory=list)

    async def observe(self, obj: Toy, reader: Reader) -> Any:
        self.passes.append(obj.ref)
        return await self.look(obj, reader)

    def decide(self, obj: Toy, seen: Any) -> Decision:
        return self.judge(obj, seen)
