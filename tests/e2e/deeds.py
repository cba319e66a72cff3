"""What happens to one of three members, each on a node of its own, and how it is made good.

Power is cut by killing every process of a node at once: this machine's kernel lives on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from e2e import processes
from e2e.kubernetes import Kube, Object
from e2e.world import World

Act = Callable[[World, Kube, Object], Awaitable[object]]


@dataclass(frozen=True)
class Deed:
    """What is done to a member's pod, how it is made good, and how long writes may be away for it."""

    do: Act
    bar: float
    undo: Callable[[World, str], object] = lambda world, node: None


def node_of(pod: Object) -> str:
    return str(pod["spec"]["nodeName"])


async def delete_pod(world: World, kube: Kube, pod: Object) -> None:
    await kube.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])


def kill(name: str = "") -> Act:
    """Ends all of its processes, or those of a name."""

    async def do(world: World, kube: Kube, pod: Object) -> None:
        processes.kill(pod, name)

    return do


async def cut_power(world: World, kube: Kube, pod: Object) -> None:
    number = node_of(pod).removeprefix("node-")
    await asyncio.to_thread(world.libresh, "local", "node", "kill", number, "--name", world.cluster.name)


def restore_power(world: World, node: str) -> None:
    number = node.removeprefix("node-")
    world.libresh("local", "node", "start", number, "--name", world.cluster.name, seconds=300)


async def drain(world: World, kube: Kube, pod: Object) -> None:
    words = ("drain", node_of(pod), "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=150s")
    await asyncio.to_thread(world.kubectl, *words, seconds=180)


def uncordon(world: World, node: str) -> None:
    world.kubectl("uncordon", node)


def common(program: str) -> dict[str, Deed]:
    """What every three must bear, by what is told of it. `program`: what the server is called."""
    return {
        "its pod is deleted": Deed(delete_pod, 10),
        "its pod is killed with -9": Deed(kill(), 10),
        f"its {program} processes are killed with -9": Deed(kill(program), 10),
        "its node is drained": Deed(drain, 5, uncordon),
        "its node loses power": Deed(cut_power, 60, restore_power),
    }
