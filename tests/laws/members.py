"""One claim of a class whose servers have three members, or one, and what laws ask of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from laws.whole import Object, Whole, whole
from libresh.api.claims import Claim
from libresh.plan import naming

SPACE = "team"
GROWING = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "growing"},
    "provisioner": "example.org/volumes",
    "allowVolumeExpansion": True,
}


@dataclass(frozen=True)
class Served:
    """The claim."""

    type: type[Claim]
    name: str

    @property
    def kind(self) -> str:
        return self.type.KIND.kind

    def claim(self, of: str = "three", **spec: Any) -> Object:
        metadata = {"name": self.name, "namespace": SPACE}
        header = {"apiVersion": self.type.KIND.api_version, "kind": self.kind}
        return {**header, "metadata": metadata, "spec": {"className": of} | spec}

    def service_class(self, name: str, **parameters: Any) -> Object:
        return {
            "apiVersion": "services.libre.sh/v1alpha1",
            "kind": "ServiceClass",
            "metadata": {"name": name},
            "spec": {"claimKind": self.kind, "driver": "embedded", "parameters": parameters},
        }

    @asynccontextmanager
    async def running(self, *objects: Object) -> AsyncIterator[Whole]:
        """The operator at work on these objects, settled."""
        three = self.service_class("three", members=3, storageClass="growing")
        async with whole(GROWING, three, self.service_class("one"), *objects) as world:
            await world.start()
            await world.settle()
            yield world

    def ready(self, world: Whole) -> tuple[str, str, str]:
        condition = world.ready(self.kind, self.name, SPACE)
        return condition["status"], condition["reason"], condition["message"]

    def capabilities(self, world: Whole) -> list[str]:
        found = world.api.get(self.kind, self.name, SPACE)
        assert found is not None
        return list(found["status"]["capabilities"])

    async def delete(self, world: Whole) -> None:
        world.api.delete(self.kind, self.name, SPACE)
        await world.settle()
        assert world.api.get(self.kind, self.name, SPACE) is None


def written(world: Whole, kind: str, since: int) -> list[str]:
    """The names of the objects of a kind that were written by the operator, in order, each once."""
    found = [
        w for w in world.api.journal[since:] if (w.kind, w.manager, w.changed) == (kind, naming.FIELD_MANAGER, True)
    ]
    return list(dict.fromkeys(write.name for write in found))


def names(world: Whole, kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in world.api.objects(kind, SPACE)]
