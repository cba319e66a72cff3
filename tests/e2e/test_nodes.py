"""Three nodes: pods are spread, addresses of Services lead across, and what a dead node carried comes back with it."""

import asyncio
from typing import Any

import pytest

from e2e.deeds import cut_power, node_of, restore_power
from e2e.kubernetes import Kube, Object, condition, connected
from e2e.waiting import until
from e2e.world import World
from libresh.kube.errors import Unavailable

pytestmark = pytest.mark.e2e

SPACE = "spread"
COUNT = 3
CACHE = {"apiVersion": "cache.libre.sh/v1alpha1", "kind": "Redis"}
CACHES = tuple(f"cache-{number}" for number in range(1, COUNT + 1))


@pytest.fixture(scope="module")
def caches(three_nodes: None, world: World) -> dict[str, Object]:
    """The pod of each cache. While one was made only its node took new pods: the first is on node-1, and so on."""
    return asyncio.run(make_caches(world))


async def make_caches(world: World) -> dict[str, Object]:
    async with connected(world) as kube:
        await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        try:
            for number, name in enumerate(CACHES, 1):
                await open_nodes(kube, number)
                metadata = {"name": name, "namespace": SPACE}
                spec = {"parameters": {"memory": "16Mi", "persistence": True}}
                await kube.apply({**CACHE, "metadata": metadata, "spec": spec})
                await kube.ready("Redis", name, SPACE)
        finally:
            await open_nodes(kube, *range(1, COUNT + 1))
        return {name: await kube.get("Pod", f"{name}-redis-0", SPACE) for name in CACHES}


async def open_nodes(kube: Kube, *numbers: int) -> None:
    """Let only these nodes take new pods, as `kubectl cordon` does."""
    for number in range(1, COUNT + 1):
        await kube.patch("Node", f"node-{number}", "", spec={"unschedulable": number not in numbers})


async def ask_cache(world: World, kube: Kube, by: str, of: str, *words: str) -> str:
    """A command for one cache, sent from the pod of another by the name of its Service."""
    connection = await kube.secret(f"{of}-redis-connection", SPACE)
    script = 'read -r REDISCLI_AUTH; export REDISCLI_AUTH; exec valkey-cli --no-auth-warning -h "$0" "$@"'
    command = ["sh", "-c", script, connection["host"], "--user", connection["username"], *words]
    pod = ["exec", "-i", "-n", SPACE, f"{by}-redis-0", "--"]
    given = connection["password"] + "\n"
    return (await asyncio.to_thread(world.kubectl, *pod, *command, given=given)).strip()


async def test_three_nodes_are_ready_and_share_the_work(three_nodes: None, kube: Kube, world: World) -> None:
    nodes = await kube.items("Node")
    assert [condition(node)[0] for node in nodes] == ["True"] * COUNT
    image = (await kube.pod("libresh-system", "operator"))["spec"]["containers"][0]["image"]
    deployment = ["create", "deployment", "probe", f"--image={image}", f"--replicas={COUNT}"]
    world.kubectl(*deployment, "--", "/opt/app/bin/python", "-c", "import signal; signal.pause()")
    try:
        world.kubectl("rollout", "status", "deployment/probe", "--timeout=100s", seconds=120)
        pods = await kube.items("Pod", "default", app="probe")
        assert len({node_of(pod) for pod in pods}) == COUNT
    finally:
        world.kubectl("delete", "deployment", "probe", "--wait=false")


async def test_a_claim_is_served_wherever_there_is_room(caches: dict[str, Object]) -> None:
    assert [node_of(caches[name]) for name in CACHES] == [f"node-{number}" for number in range(1, COUNT + 1)]


async def test_services_are_reached_across_nodes(caches: dict[str, Object], kube: Kube, world: World) -> None:
    for of in CACHES:
        assert await ask_cache(world, kube, CACHES[0], of, "SET", "word", f"kept by {of}") == "OK"
    for by in CACHES:
        for of in CACHES:
            assert await ask_cache(world, kube, by, of, "GET", "word") == f"kept by {of}"


async def test_what_a_dead_node_carried_comes_back_with_it(caches: dict[str, Object], kube: Kube, world: World) -> None:
    witness, victim = CACHES[0], CACHES[-1]
    pod = caches[victim]
    await cut_power(world, kube, pod)

    async def is_missed() -> bool:
        return condition(await kube.get("Node", node_of(pod)))[0] != "True"

    await until(is_missed, "the dead node to be missed", 120)
    assert await ask_cache(world, kube, witness, witness, "GET", "word") == f"kept by {witness}"

    async def is_told() -> bool:
        return condition(await kube.get("Redis", victim, SPACE))[0] == "False"

    await until(is_told, f"Redis {victim} to say that it is not ready", 60)

    restore_power(world, node_of(pod))
    await kube.ready("Redis", victim, SPACE)

    async def remembers() -> Any:
        return await ask_cache(world, kube, witness, victim, "GET", "word") == f"kept by {victim}"

    await until(remembers, "what it kept", 60, forgive=(AssertionError, Unavailable))
