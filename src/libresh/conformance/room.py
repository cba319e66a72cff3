"""How many claims the nodes have room for, where each has pods of its own."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from libresh.api.quantity import exact
from libresh.kube.client import Client
from libresh.plan.actions import Object
from libresh.plan.observed import status_of

RESOURCES = ("cpu", "memory", "pods")
ROOM_USED = Fraction(9, 10)
"""How much of the nodes a crowd may fill."""


async def capacity(client: Client, pods: Sequence[Object]) -> int:
    """How often these pods can be added, by what nodes have and what pods ask for; some is left for the suite's own."""
    wanted = sum_of(map(asked_of, pods))
    nodes = [node for node in await client.list("Node") if not node["spec"].get("unschedulable")]
    running = [pod for pod in await client.list("Pod") if status_of(pod).get("phase") not in ("Succeeded", "Failed")]
    taken = sum_of(map(asked_of, running))
    has = sum_of(status_of(node)["allocatable"] for node in nodes)
    free = {name: has[name] * ROOM_USED - taken[name] for name in RESOURCES}
    return max(0, min(int(free[name] / wanted[name]) for name in RESOURCES if wanted[name]))


def asked_of(pod: Object) -> Mapping[str, str]:
    """What a pod asks for."""
    each = [container.get("resources", {}).get("requests", {}) for container in pod["spec"]["containers"]]
    total = sum_of(each)
    return {"cpu": f"{int(total['cpu'] * 1000)}m", "memory": str(int(total["memory"])), "pods": "1"}


def sum_of(parts: Iterable[Mapping[str, str]]) -> dict[str, Fraction]:
    found = dict.fromkeys(RESOURCES, Fraction(0))
    for part in parts:
        for name in RESOURCES:
            found[name] += exact(part.get(name, "0"))
    return found
