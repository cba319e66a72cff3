"""Laws of three members of PostgreSQL, over the API server in memory. Patroni is a fake: it labels pods of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from laws.whole import Object, Whole, whole
from libresh.kube import foreign
from libresh.plan import naming

SPACE = "team"
WORKLOADS = ("db-pg", "db-pg-1", "db-pg-2")
VOLUMES = ("db-pg-data", "db-pg-data-1", "db-pg-data-2")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for without being told comes round sooner."""
    monkeypatch.setattr(foreign, "PATIENCE", 0.1)


def service_class(name: str, **parameters: Any) -> Object:
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": name},
        "spec": {"claimKind": "PostgreSQL", "driver": "embedded", "parameters": parameters},
    }


def claim(of: str = "three", **spec: Any) -> Object:
    metadata = {"name": "db", "namespace": SPACE}
    return {
        "apiVersion": "database.libre.sh/v1alpha1",
        "kind": "PostgreSQL",
        "metadata": metadata,
        "spec": {"className": of} | spec,
    }


@asynccontextmanager
async def running(*objects: Object) -> AsyncIterator[Whole]:
    """The operator at work on these objects, settled."""
    async with whole(service_class("three", members=3), service_class("one"), *objects) as world:
        await world.start()
        await world.settle()
        yield world


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


def ready(world: Whole) -> tuple[str, str, str]:
    found = world.api.get("PostgreSQL", "db", SPACE)
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


async def test_it_is_ready_once_a_primary_serves() -> None:
    async with running(claim()) as world:
        assert tuple(names(world, "StatefulSet")) == WORKLOADS
        assert tuple(names(world, "PersistentVolumeClaim")) == VOLUMES
        assert ready(world)[:2] == ("False", "Starting")
        await fake_patroni(world, "db-pg-1")
        assert ready(world) == ("True", "Settled", "PostgreSQL is ready with 3 members; db-pg-1 is the primary")
        found = world.api.get("PostgreSQL", "db", SPACE)
        assert found is not None
        assert found["status"]["capabilities"] == ["expand", "ha", "quota"]
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


GROWING = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "growing"},
    "provisioner": "example.org/volumes",
    "allowVolumeExpansion": True,
}


async def test_room_grows_on_every_volume_and_restarts_nobody() -> None:
    async with running(GROWING, service_class("grows", members=3, storageClass="growing"), claim("grows")) as world:
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
    world.api.delete("PostgreSQL", "db", SPACE)
    await world.settle()
    assert world.api.get("PostgreSQL", "db", SPACE) is None
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
