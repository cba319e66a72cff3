"""Three nodes: pods are spread, addresses of Services lead across, and what a dead node carried comes back with it."""

import asyncio
from typing import Any

import pytest

from e2e.kubernetes import Kube, Object, condition
from e2e.waiting import until
from e2e.world import World
from libresh.kube.errors import Unavailable

pytestmark = pytest.mark.e2e

SPACE = "spread"
COUNT = 3
CACHES = tuple(f"cache-{number}" for number in range(1, COUNT + 1))


@pytest.fixture(scope="module")
def three_nodes(world: World) -> None:
    """The cluster grows to three nodes, and has a cache that keeps its content for each of them."""
    world.libresh("up", "--name", world.cluster.name, "--no-example", "--nodes", str(COUNT), seconds=900)


@pytest.fixture
async def caches(three_nodes: None, kube: Kube) -> dict[str, Object]:
    """The pod of each cache, once all are ready."""
    await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    for name in CACHES:
        metadata = {"name": name, "namespace": SPACE}
        spec = {"parameters": {"memory": "16Mi", "persistence": True}}
        await kube.apply({"apiVersion": "cache.libre.sh/v1alpha1", "kind": "Redis", "metadata": metadata, "spec": spec})
    for name in CACHES:
        await kube.ready("Redis", name, SPACE)
    return {name: await kube.get("Pod", f"{name}-redis-0", SPACE) for name in CACHES}


def node_of(pod: Object) -> str:
    return str(pod["spec"]["nodeName"])


async def ask_cache(world: World, kube: Kube, by: str, of: str, *words: str) -> str:
    """A command for one cache, sent from the pod of another by the name of its Service."""
    connection = await kube.secret(f"{of}-redis-connection", SPACE)
    script = 'read -r REDISCLI_AUTH; export REDISCLI_AUTH; exec valkey-cli --no-auth-warning -h "$0" "$@"'
    command = ["sh", "-c", script, connection["host"], "--user", connection["username"], *words]
    pod = ["exec", "-i", "-n", SPACE, f"{by}-redis-0", "--"]
    given = connection["password"] + "\n"
    return (await asyncio.to_thread(world.kubectl, *pod, *command, given=given)).strip()


async def test_three_nodes_are_ready_and_share_the_work(caches: dict[str, Object], kube: Kube) -> None:
    nodes = await kube.items("Node")
    assert [condition(node)[0] for node in nodes] == ["True"] * COUNT
    assert len({node_of(pod) for pod in caches.values()}) > 1


async def test_services_are_reached_across_nodes(caches: dict[str, Object], kube: Kube, world: World) -> None:
    for of in CACHES:
        assert await ask_cache(world, kube, CACHES[0], of, "SET", "word", f"kept by {of}") == "OK"
    for by in CACHES:
        for of in CACHES:
            assert await ask_cache(world, kube, by, of, "GET", "word") == f"kept by {of}"


async def test_what_a_dead_node_carried_comes_back_with_it(caches: dict[str, Object], kube: Kube, world: World) -> None:
    victim, pod = next((name, pod) for name, pod in caches.items() if node_of(pod) != "node-1")
    witness = next(name for name, each in caches.items() if node_of(each) != node_of(pod))
    number = node_of(pod).removeprefix("node-")
    world.libresh("local", "node", "kill", number, "--name", world.cluster.name)

    async def is_missed() -> bool:
        return condition(await kube.get("Node", node_of(pod)))[0] != "True"

    await until(is_missed, "the dead node to be missed", 120)
    assert await ask_cache(world, kube, witness, witness, "GET", "word") == f"kept by {witness}"

    async def is_told() -> bool:
        return condition(await kube.get("Redis", victim, SPACE))[0] == "False"

    await until(is_told, f"Redis {victim} to say that it is not ready", 60)

    world.libresh("local", "node", "start", number, "--name", world.cluster.name, seconds=300)
    await kube.ready("Redis", victim, SPACE)

    async def remembers() -> Any:
        return await ask_cache(world, kube, witness, victim, "GET", "word") == f"kept by {victim}"

    await until(remembers, "what it kept", 60, forgive=(AssertionError, Unavailable))
