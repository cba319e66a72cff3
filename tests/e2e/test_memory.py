"""The whole of it fits a small machine: what is asked for, what may be used, and what the cluster itself takes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.kubernetes import Kube, Object
from e2e.world import World
from libresh.api.quantity import parse
from libresh.local import keeper

pytestmark = pytest.mark.e2e

SMALL = 4 * 2**30
"""A machine with 4 GiB."""
KERNEL = 300 * 2**20
"""Left to the kernel and to the machine's own daemons."""


def total(pods: list[Object], part: str) -> int:
    """The sum of all containers' requests or limits."""
    containers = [each for pod in pods for each in pod["spec"]["containers"]]
    lacking = [each["name"] for each in containers if "memory" not in each["resources"].get(part, {})]
    assert not lacking, f"{lacking} say nothing of memory {part}"
    return sum(parse(each["resources"][part]["memory"]) for each in containers)


def descendants(root: int) -> Iterator[int]:
    """A process and all below it, except what runs in pods."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    waiting = [root]
    while waiting:
        number = waiting.pop()
        if "kubepods" not in read(number, "cgroup"):
            yield number
            waiting += children.get(number, [])


def read(number: int, name: str) -> str:
    try:
        return Path(f"/proc/{number}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def resident(number: int) -> int:
    """What a process holds of its own; pages of files that can be read again do not count."""
    for line in read(number, "status").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def taken_by_cluster(world: World) -> int:
    """What Kubernetes itself holds: control plane, edge, and the node's daemons."""
    configs = (world.cluster.keeper_config, *(node.keeper_config for node in world.cluster.members))
    found = [running.pid for config in configs if (running := keeper.find(config))]
    assert len(found) == len(configs), "not all of the cluster runs"
    return sum(resident(number) for root in found for number in descendants(root))


async def test_it_all_fits_a_machine_of_four_gibibytes(
    kube: Kube, world: World, example: None, tell: Callable[[str], None]
) -> None:
    spaces = ("chat", "libresh-system")
    pods = [
        pod for space in spaces for pod in await kube.items("Pod", space) if pod["spec"]["restartPolicy"] != "Never"
    ]
    requests, limits, cluster = total(pods, "requests"), total(pods, "limits"), taken_by_cluster(world)
    tell(
        f"memory of one Matrix with everything it needs, operator included: requests {requests >> 20} MiB, limits "
        f"{limits >> 20} MiB; the cluster itself holds {cluster >> 20} MiB"
    )
    assert limits + cluster + KERNEL < SMALL
    assert requests < limits
