"""PostgreSQL with three members on three nodes: whatever happens to the primary, another takes over, and no write that
was acknowledged is lost.

A client writes ten times a second through the claim's secret, from a node that stays.
"""

import asyncio
from collections.abc import Callable

import pytest
import yaml

from e2e import deeds, processes
from e2e.deeds import Deed, node_of
from e2e.kubernetes import Kube, Object, condition, connected
from e2e.waiting import until
from e2e.world import ROOT, World
from e2e.writing import judge, writing
from libresh.kube.errors import Unavailable

pytestmark = pytest.mark.e2e

SPACE, CLAIM = "failover", "db"
CLASS = yaml.safe_load((ROOT / "examples" / "classes" / "embedded-postgresql-ha.yaml").read_text())
DATABASE = {
    "apiVersion": "database.libre.sh/v1alpha1",
    "kind": "PostgreSQL",
    "metadata": {"name": CLAIM, "namespace": SPACE},
    "spec": {"className": CLASS["metadata"]["name"], "parameters": {"storage": "512Mi"}},
}
NODES = ("node-1", "node-2", "node-3")
REPLICA_BAR = 10
"""Mostly nothing is noticed. Where the other replica was not yet in step again (it had just come back), the primary
waits until Patroni looks, every five seconds, and lets the dead one go."""
WHOLE = 240
"""Seconds until all three members are there again."""


@pytest.fixture(scope="module")
def database(three_nodes: None, world: World) -> None:
    async def make() -> None:
        async with connected(world) as kube:
            await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, CLASS, DATABASE)
            await whole(kube)

    asyncio.run(make())


async def whole(kube: Kube) -> None:
    """Until the claim says that all members are there, as it is written now."""
    await kube.says("PostgreSQL", CLAIM, SPACE, "Settled", WHOLE)


async def primaries(kube: Kube) -> list[Object]:
    return await kube.items("Pod", SPACE, **{"libre.sh/role": "primary"})


async def until_another(kube: Kube, before: Object, seconds: float = 90) -> Object:
    """The primary, once it is one other than before, and no other pod is called so."""

    async def look() -> Object | None:
        found = await primaries(kube)
        same = [pod for pod in found if pod["metadata"]["name"] == before["metadata"]["name"]]
        return found[0] if len(found) == 1 and not same else None

    found = await until(look, "another member to be the only primary", seconds, forgive=(Unavailable,))
    assert found is not None
    return found


# --- what happens to the primary -----------------------------------------------------------------------------


async def change(world: World, kube: Kube, pod: Object) -> None:
    await kube.patch("PostgreSQL", CLAIM, SPACE, spec={"parameters": {"extensions": ["pg_trgm"]}})
    await whole(kube)


DEEDS = {
    "its parameters change, on all members": Deed(change, 5),
    **deeds.common("postgres"),
}


@pytest.mark.parametrize("deed", DEEDS)
async def test_another_takes_over_and_nothing_acknowledged_is_lost(
    deed: str, database: None, kube: Kube, world: World, tell: Callable[[str], None]
) -> None:
    await whole(kube)
    (primary,) = await primaries(kube)
    node, image = node_of(primary), primary["spec"]["containers"][0]["image"]
    stays = next(each for each in NODES if each != node)
    try:
        async with writing(world, kube, CLAIM, SPACE, node=stays, image=image) as writer:
            await DEEDS[deed].do(world, kube, primary)
            after = await until_another(kube, primary)
            await writer.flows()
            said = await writer.said()
        result = judge(said, await stored(world, after, writer.run))
    finally:
        DEEDS[deed].undo(world, node)
    tell(f"the primary of three, {deed}: {result}")
    assert result.lost == 0
    assert result.gap <= DEEDS[deed].bar, result.errors
    await whole(kube)


async def stored(world: World, primary: Object, run: str) -> set[int]:
    """The numbers that are there, as the new primary has them."""
    query = f"SELECT number FROM written WHERE run = '{run}'"
    pod = ("exec", "-n", SPACE, primary["metadata"]["name"], "-c", "postgresql", "--")
    client = (
        "psql",
        "--no-psqlrc",
        "-tA",
        "--host=/var/run/postgresql",
        "--username=postgres",
        "--dbname=app",
        "-c",
        query,
    )
    said = await asyncio.to_thread(world.kubectl, *pod, *client)
    return {int(line) for line in said.split()}


async def test_a_replica_that_dies_holds_no_write_up(
    database: None, kube: Kube, world: World, tell: Callable[[str], None]
) -> None:
    await whole(kube)
    (primary,) = await primaries(kube)
    replica = (await kube.items("Pod", SPACE, **{"libre.sh/role": "replica"}))[0]
    node, image = node_of(primary), primary["spec"]["containers"][0]["image"]
    async with writing(world, kube, CLAIM, SPACE, node=node, image=image) as writer:
        processes.kill(replica)
        await writer.flows()
        said = await writer.said()
    result = judge(said, await stored(world, primary, writer.run))
    tell(f"a replica of three, its pod is killed with -9: {result}")
    assert (result.failed, result.lost) == (0, 0)
    assert result.gap <= REPLICA_BAR


async def test_the_claim_says_what_is_missing(database: None, kube: Kube, world: World) -> None:
    """One node takes no pods: the member whose volume is there stays away, and the claim tells so and is ready."""
    await whole(kube)
    (primary,) = await primaries(kube)
    pods = await kube.items("Pod", SPACE, **{"libre.sh/role": "replica"})
    lost = next(pod for pod in pods if node_of(pod) != node_of(primary))
    world.kubectl("cordon", node_of(lost))
    try:
        await kube.delete("Pod", lost["metadata"]["name"], SPACE)
        said = await kube.says("PostgreSQL", CLAIM, SPACE, "MembersMissing", 60)
        assert lost["metadata"]["name"].removesuffix("-0") in said
        assert condition(await kube.get("PostgreSQL", CLAIM, SPACE))[0] == "True"
    finally:
        world.kubectl("uncordon", node_of(lost))
    await whole(kube)


def test_members_are_on_nodes_of_their_own(database: None, world: World) -> None:
    async def look() -> set[str]:
        async with connected(world) as kube:
            return {node_of(pod) for pod in await kube.items("Pod", SPACE, **{"libre.sh/owner": f"PostgreSQL.{CLAIM}"})}

    assert asyncio.run(look()) == set(NODES)
