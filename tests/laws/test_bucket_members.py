"""Laws of three members of Garage, over the API server in memory. Nothing answers on the network: workloads are ready
when the stub of Kubernetes' controllers says so."""

from laws.members import SPACE, Served, names, written
from libresh.api.objectstore import Bucket

FILES = Served(Bucket, "files")
claim, running, ready, delete = FILES.claim, FILES.running, FILES.ready, FILES.delete
WORKLOADS = ["files-s3-0", "files-s3-1", "files-s3-2"]
VOLUMES = ["files-s3-member-0", "files-s3-member-1", "files-s3-member-2"]


async def test_it_is_ready_with_three_and_says_what_it_can() -> None:
    async with running(claim()) as world:
        assert names(world, "StatefulSet") == WORKLOADS
        assert names(world, "PersistentVolumeClaim") == VOLUMES
        assert ready(world) == ("True", "Settled", "The S3 server is ready with 3 members")
        assert FILES.capabilities(world) == ["expand", "ha", "quota"]
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
