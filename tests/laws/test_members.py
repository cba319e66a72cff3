"""Laws of three members of PostgreSQL, over the API server in memory. Patroni is a fake: it labels pods of its own."""

from collections.abc import Callable

from laws.members import SPACE, Served, names, written
from laws.whole import Whole
from libresh.api.database import PostgreSQL

DATABASE = Served(PostgreSQL, "db")
claim, running, ready = DATABASE.claim, DATABASE.running, DATABASE.ready
WORKLOADS = ("db-pg", "db-pg-1", "db-pg-2")
VOLUMES = ("db-pg-data", "db-pg-data-1", "db-pg-data-2")


async def fake_patroni(world: Whole, primary: str) -> None:
    """A pod for each member, each with its role, as Patroni labels them."""
    for workload in world.api.objects("StatefulSet", SPACE):
        name, template = f"{workload['metadata']['name']}-0", workload["spec"]["template"]
        role = "primary" if workload["metadata"]["name"] == primary else "replica"
        labels = template["metadata"]["labels"] | {"libre.sh/role": role}
        if world.api.get("Pod", name, SPACE):
            world.api.edit("Pod", name, SPACE, metadata={"labels": {"libre.sh/role": role}})
            continue
        metadata = {"name": name, "namespace": SPACE, "labels": labels}
        world.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    note_quorum(world, primary, *(name for name in WORKLOADS if name != primary))
    await until(world, lambda: ready(world)[1] != "NotConfirming")


async def until(world: Whole, holds: Callable[[], bool]) -> None:
    """Until something is so that is noticed a little later: then it settles."""
    for _ in range(100):
        await world.settle()
        if holds():
            return
    raise AssertionError(ready(world))


def note_quorum(world: Whole, primary: str, *replicas: str) -> None:
    """Which members may confirm writes, as Patroni notes it in a ConfigMap of its own."""
    noted = {"leader": f"{primary}-0", "sync_standby": ",".join(f"{name}-0" for name in replicas) or None}
    metadata = {"name": "db-pg-sync", "namespace": SPACE}
    if world.api.get("ConfigMap", "db-pg-sync", SPACE) is None:
        world.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    world.api.edit("ConfigMap", "db-pg-sync", SPACE, metadata={"annotations": noted})


async def test_it_is_ready_once_a_primary_serves() -> None:
    async with running(claim()) as world:
        assert tuple(names(world, "StatefulSet")) == WORKLOADS
        assert tuple(names(world, "PersistentVolumeClaim")) == VOLUMES
        assert ready(world)[:2] == ("False", "Starting")
        await fake_patroni(world, "db-pg-1")
        assert ready(world) == ("True", "Settled", "PostgreSQL is ready with 3 members; db-pg-1 is the primary")
        assert DATABASE.capabilities(world) == ["expand", "ha", "quota"]
        before = len(world.api.journal)
        await world.settle()
        assert world.api.journal[before:] == []


async def test_a_replica_that_cannot_confirm_writes_yet_is_told_and_waited_for() -> None:
    async with running(claim()) as world:
        await fake_patroni(world, "db-pg")
        note_quorum(world, "db-pg", "db-pg-2")
        await until(world, lambda: ready(world)[:2] == ("True", "NotConfirming"))
        assert "db-pg-1 follows and cannot confirm writes yet" in ready(world)[2]
        before = len(world.api.journal)
        world.api.edit("PostgreSQL", "db", SPACE, spec={"parameters": {"extensions": ["pg_trgm"]}})
        await world.settle()
        assert written(world, "StatefulSet", before) == []
        note_quorum(world, "db-pg", "db-pg-1", "db-pg-2")
        await until(world, lambda: ready(world)[:2] == ("True", "Settled"))
        assert written(world, "StatefulSet", before) == ["db-pg-1", "db-pg-2", "db-pg"]


async def test_a_change_reaches_the_primary_last() -> None:
    async with running(claim()) as world:
        await fake_patroni(world, "db-pg")
        before = len(world.api.journal)
        world.api.edit("PostgreSQL", "db", SPACE, spec={"parameters": {"extensions": ["pg_trgm"]}})
        await world.settle()
        assert written(world, "StatefulSet", before) == ["db-pg-1", "db-pg-2", "db-pg"]
        assert ready(world)[:2] == ("True", "Settled")


async def test_a_change_stops_where_it_does_not_work() -> None:
    async with running(claim()) as world:
        await fake_patroni(world, "db-pg")
        before = len(world.api.journal)
        world.workloads.hold("StatefulSet", "db-pg-2")
        await world.settle()
        assert ready(world)[:2] == ("True", "MembersMissing")
        world.api.edit("PostgreSQL", "db", SPACE, spec={"parameters": {"extensions": ["pg_trgm"]}})
        await world.settle()
        assert written(world, "StatefulSet", before) == ["db-pg-2"]
        assert ready(world)[:2] == ("True", "Rolling")
        world.workloads.release("StatefulSet", "db-pg-2")
        await world.settle()
        assert written(world, "StatefulSet", before) == ["db-pg-2", "db-pg-1", "db-pg"]
        assert ready(world)[:2] == ("True", "Settled")


async def test_without_a_primary_it_says_so() -> None:
    async with running(claim()) as world:
        await fake_patroni(world, "db-pg")
        await fake_patroni(world, "")
        status, reason, message = ready(world)
        assert (status, reason) == ("False", "NoPrimary")
        assert "nothing can be written" in message


async def test_room_grows_on_every_volume_and_restarts_nobody() -> None:
    async with running(claim()) as world:
        await fake_patroni(world, "db-pg")
        before = len(world.api.journal)
        world.api.edit("PostgreSQL", "db", SPACE, spec={"parameters": {"storage": "20Gi"}})
        await world.settle()
        sizes = [
            v["spec"]["resources"]["requests"]["storage"] for v in world.api.objects("PersistentVolumeClaim", SPACE)
        ]
        assert sizes == ["20Gi"] * 3
        assert written(world, "StatefulSet", before) == []


async def delete(world: Whole) -> None:
    await DATABASE.delete(world)
    for name in names(world, "Pod"):
        world.api.delete("Pod", name, SPACE)
    await world.settle()


async def test_delete_removes_every_volume_and_retain_none() -> None:
    for policy, left in (("Retain", list(VOLUMES)), ("Delete", [])):
        async with running(claim(deletionPolicy=policy)) as world:
            await fake_patroni(world, "db-pg")
            await delete(world)
            assert names(world, "PersistentVolumeClaim") == left
            assert names(world, "StatefulSet") == names(world, "PodDisruptionBudget") == []


async def test_three_take_on_what_one_has_left_and_one_leaves_alone_what_three_have_left() -> None:
    async with running(claim("one")) as world:
        volume = world.api.get("PersistentVolumeClaim", "db-pg-data", SPACE)
        await delete(world)
        world.api.create(claim())
        await world.settle()
        await fake_patroni(world, "db-pg")
        assert ready(world)[:2] == ("True", "Settled")
        again = world.api.get("PersistentVolumeClaim", "db-pg-data", SPACE)
        assert volume is not None
        assert again is not None
        assert again["metadata"]["uid"] == volume["metadata"]["uid"]
        await delete(world)
        world.api.create(claim("one", deletionPolicy="Delete"))
        await world.settle()
        assert ready(world)[:2] == ("False", "LeftByThreeMembers")
        await delete(world)
        assert tuple(names(world, "PersistentVolumeClaim")) == VOLUMES


async def test_passwords_that_somebody_deletes_reach_all_members_at_once() -> None:
    """Only so can they talk to each other again. The application's own comes back as it was."""
    async with running(claim()) as world:
        await fake_patroni(world, "db-pg")
        before = len(world.api.journal)
        world.workloads.hold("StatefulSet", "db-pg-1")
        world.api.delete("Secret", "db-pg-credentials", SPACE)
        await world.settle()
        assert set(written(world, "StatefulSet", before)) == set(WORKLOADS)
