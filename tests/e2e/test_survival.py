"""Processes are killed and the power is cut while people send messages and files: what was acknowledged stays.

Power is cut by killing every process of the node, or of the whole cluster, at once. This machine's kernel lives on, so
what was written but not yet flushed to the disk survives here: a real power cut is crueller in that one respect.
"""

from collections.abc import Callable

import pytest

from e2e import processes
from e2e.kubernetes import Kube, Object
from e2e.matrix import Homeserver, Person
from e2e.people import register
from e2e.storage import open_storage
from e2e.traffic import OUTAGE, Traffic, sending
from e2e.waiting import until
from e2e.world import World
from libresh.kube.errors import Unavailable
from libresh.local import keeper

pytestmark = pytest.mark.e2e

VICTIMS = {
    "the operator": ("libresh-system", "operator", ""),
    "the PostgreSQL server": ("chat", "pg", "postgres"),
    "the pod of Patroni and PostgreSQL": ("chat", "pg", ""),
    "the cache": ("chat", "redis", "valkey-server"),
    "the pod of the cache": ("chat", "redis", ""),
    "the S3 server": ("chat", "s3", "versitygw"),
    "the pod of the S3 server": ("chat", "s3", ""),
    "Synapse": ("chat", "synapse", ""),
}
"""Where each runs: namespace, component, and the processes to kill. "" are all of the pod, also the one that holds its
network: it comes back at another address, and nobody tells those who were connected to the old one."""
LONGEST_PROCESS, LONGEST_POWER = 60, 180


@pytest.fixture
async def sender(chat: Homeserver, kube: Kube, world: World) -> Person:
    """Somebody who may send faster than people do."""
    return await register(world, kube, chat, "sender", unlimited=True)


@pytest.mark.parametrize("victim", VICTIMS)
async def test_nothing_acknowledged_is_lost_when_it_is_killed(
    victim: str, sender: Person, kube: Kube, tell: Callable[[str], None]
) -> None:
    namespace, component, name = VICTIMS[victim]
    pod = await kube.pod(namespace, component)
    async with sending(sender) as traffic:
        killed = processes.kill(pod, name)
        await until_replaced(pod, name, killed)
        await traffic.flows()
        await kube.pod(namespace, component)
    await traffic.verify(await open_storage(kube, "chat", "chat-media"))
    report(tell, f"{victim}, killed with -9", traffic)
    assert max(traffic.gaps.values()) < LONGEST_PROCESS


async def test_nothing_acknowledged_is_lost_when_the_node_loses_power(
    sender: Person, kube: Kube, world: World, tell: Callable[[str], None]
) -> None:
    node = ("1", "--name", world.cluster.name)
    async with sending(sender) as traffic:
        world.libresh("local", "node", "kill", *node)
        world.libresh("local", "node", "start", *node, seconds=300)
        await traffic.flows(seconds=LONGEST_POWER)
    await traffic.verify(await open_storage(kube, "chat", "chat-media"))
    report(tell, "the node, power cut", traffic)
    await comes_back(kube, sender)


async def test_nothing_acknowledged_is_lost_when_the_whole_machine_loses_power(
    sender: Person, kube: Kube, world: World, tell: Callable[[str], None]
) -> None:
    cluster = world.cluster
    async with sending(sender) as traffic:
        for config in (cluster.keeper_config, *(node.keeper_config for node in cluster.members)):
            assert keeper.kill(config)
        world.libresh("up", "--name", cluster.name, "--no-example", seconds=600)
        await traffic.flows(seconds=LONGEST_POWER)
    await traffic.verify(await open_storage(kube, "chat", "chat-media"))
    report(tell, "the whole cluster, power cut", traffic)
    await comes_back(kube, sender)


async def until_replaced(pod: Object, name: str, killed: dict[int, str]) -> None:
    """New processes run in the place of the dead ones, in the same pod or in another."""

    async def look() -> bool:
        return not set(processes.find(pod, name)) & set(killed)

    await until(look, "the killed processes to be gone", 30)


async def comes_back(kube: Kube, sender: Person) -> None:
    """All says that it is ready, and is."""
    for kind, name in (("PostgreSQL", "db"), ("Redis", "cache"), ("Bucket", "media"), ("SMTPAccount", "mail")):
        await kube.ready(kind, f"chat-{name}", "chat")
    await kube.ready("Matrix", "chat", "chat")

    async def answers() -> str:
        return await sender.create_room("Afterwards")

    await until(answers, "the homeserver to answer", 60, forgive=(*OUTAGE, Unavailable))


def report(tell: Callable[[str], None], what: str, traffic: Traffic) -> None:
    tell(
        f"{what}: {len(traffic.messages)} messages and {len(traffic.files)} files acknowledged, none lost; none "
        f"acknowledged for at most {traffic.gaps['messages']:.1f} s and {traffic.gaps['files']:.1f} s"
    )
