"""Laws of three members of Garage, over the API server in memory. Nothing answers on the network: workloads are ready
when the stub of Kubernetes' controllers says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from laws.whole import Object, Whole, whole
from libresh.plan import naming

SPACE = "team"
WORKLOADS = ["files-s3-0", "files-s3-1", "files-s3-2"]
VOLUMES = ["files-s3-member-0", "files-s3-member-1", "files-s3-member-2"]
GROWING = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "growing"},
    "provisioner": "example.org/volumes",
    "allowVolumeExpansion": True,
}


def service_class(name: str, **parameters: Any) -> Object:
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": name},
        "spec": {"claimKind": "Bucket", "driver": "embedded", "parameters": parameters},
    }


def claim(of: str = "three", **spec: Any) -> Object:
    return {
        "apiVersion": "objectstore.libre.sh/v1alpha1",
        "kind": "Bucket",
        "metadata": {"name": "files", "namespace": SPACE},
        "spec": {"className": of} | spec,
    }


@asynccontextmanager
async def running(*objects: Object) -> AsyncIterator[Whole]:
    """The operator at work on these objects, settled."""
    classes = (GROWING, service_class("three", members=3, storageClass="growing"), service_class("one"))
    async with whole(*classes, *objects) as world:
        await world.start()
        await world.settle()
        yield world


def ready(world: Whole) -> tuple[str, str, str]:
    found = world.api.get("Bucket", "files", SPACE)
    assert found is not None
    (condition,) = [each for each in found["status"]["conditions"] if each["type"] == "Ready"]
    return condition["status"], condition["reason"], condition["message"]


def written(world: Whole, kind: str, since: int) -> list[str]:
    """The names of the objects of a kind that were written by the operator, in order, each once."""
    found = [
        w for w in world.api.journal[since:] if (w.kind, w.manager, w.changed) == (kind, naming.FIELD_MANAGER, True)
    ]
    return list(dict.fromkeys(write.name for write in found))


def names(world: Whole, kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in world.api.objects(kind, SPACE)]


async def delete(world: Whole) -> None:
    world.api.delete("Bucket", "files", SPACE)
    await world.settle()
    assert world.api.get("Bucket", "files", SPACE) is None


async def test_it_is_ready_with_three_and_says_what_it_can() -> None:
    async with running(claim()) as world:
        assert names(world, "StatefulSet") == WORKLOADS
        assert names(world, "PersistentVolumeClaim") == VOLUMES
        assert ready(world) == ("True", "Settled", "The S3 server is ready with 3 members")
        found = world.api.get("Bucket", "files", SPACE)
        assert found is not None
        assert found["status"]["capabilities"] == ["expand", "ha", "quota"]
        before = len(world.api.journal)
        await world.settle()
        assert world.api.journal[before:] == []


async def test_a_larger_bucket_grows_every_volume_and_stays_ready() -> None:
    async with running(claim()) as world:
        before = len(world.api.journal)
        world.api.edit("Bucket", "files", SPACE, spec={"parameters": {"storage": "20Gi"}})
        await world.settle()
        assert written(world, "PersistentVolumeClaim", before) == VOLUMES
        assert written(world, "StatefulSet", before) == WORKLOADS[:1]
        assert ready(world)[:2] == ("True", "Settled")


async def test_while_a_member_is_missing_no_other_is_changed() -> None:
    async with running(claim()) as world:
        world.workloads.hold("StatefulSet", "files-s3-1")
        await world.settle()
        assert ready(world)[:2] == ("True", "MembersMissing")
        before = len(world.api.journal)
        world.api.edit("Bucket", "files", SPACE, spec={"parameters": {"storage": "20Gi"}})
        await world.settle()
        assert written(world, "StatefulSet", before) == []
        assert ready(world)[:2] == ("True", "Rolling")
        world.workloads.release("StatefulSet", "files-s3-1")
        await world.settle()
        assert written(world, "StatefulSet", before) == WORKLOADS[:1]
        assert ready(world)[:2] == ("True", "Settled")


async def test_keys_that_somebody_deletes_reach_all_members_at_once_and_the_clients_stays() -> None:
    async with running(claim()) as world:
        connection = world.api.get("Secret", "files-bucket-connection", SPACE)
        before = len(world.api.journal)
        world.workloads.hold("StatefulSet", "files-s3-1")
        world.api.delete("Secret", "files-s3-credentials", SPACE)
        await world.settle()
        assert set(written(world, "StatefulSet", before)) == set(WORKLOADS)
        after = world.api.get("Secret", "files-bucket-connection", SPACE)
        assert connection is not None
        assert after is not None
        assert after["data"] == connection["data"]


async def test_delete_removes_every_volume_and_retain_none() -> None:
    for policy, left in (("Retain", VOLUMES), ("Delete", [])):
        async with running(claim(deletionPolicy=policy)) as world:
            await delete(world)
            assert names(world, "PersistentVolumeClaim") == left
            assert names(world, "StatefulSet") == names(world, "PodDisruptionBudget") == []


async def test_what_one_server_has_left_the_other_leaves_alone() -> None:
    for first, second, left in (("one", "three", ["files-s3-data"]), ("three", "one", VOLUMES)):
        async with running(claim(first)) as world:
            await delete(world)
            world.api.create(claim(second, deletionPolicy="Delete"))
            await world.settle()
            assert ready(world)[:2] == ("False", "LeftByOtherServer")
            await delete(world)
            assert names(world, "PersistentVolumeClaim") == left


async def test_versions_are_refused_before_and_after_and_nothing_else_is_touched() -> None:
    async with running(claim(parameters={"versioning": True})) as world:
        assert ready(world)[:2] == ("False", "VersioningNotServed")
        assert names(world, "StatefulSet") == []
    async with running(claim()) as world:
        before = len(world.api.journal)
        world.api.edit("Bucket", "files", SPACE, spec={"parameters": {"versioning": True}})
        await world.settle()
        assert ready(world)[:2] == ("True", "VersioningNotServed")
        assert written(world, "StatefulSet", before) == []
