"""How many claims a crowd can have."""

from typing import Any

from libresh.conformance import room

Object = dict[str, Any]


class Nodes:
    """A fake client: two nodes, one of which takes no pods, and what runs there."""

    async def list(self, kind: str) -> list[Object]:
        node = {"spec": {}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}}}
        ended = {**pod("1", "1Gi"), "status": {"phase": "Succeeded"}}
        found = {
            "Node": [node, {**node, "spec": {"unschedulable": True}}],
            "Pod": [pod("300m", "100Mi"), ended],
        }
        return found[kind]


def pod(cpu: str, memory: str) -> Object:
    requests = {"cpu": cpu, "memory": memory}
    return {"spec": {"containers": [{"resources": {"requests": requests}}]}, "status": {"phase": "Running"}}


async def test_a_crowd_is_as_large_as_the_nodes_have_room_for() -> None:
    # Nine tenths of two CPUs, less what is taken, by 50m; of the memory, by 1 GiB.
    assert await room.capacity(Nodes(), [pod("50m", "16Mi")]) == 30  # type: ignore[arg-type]
    assert await room.capacity(Nodes(), [pod("50m", "512Mi"), pod("10m", "512Mi")]) == 3  # type: ignore[arg-type]
    # Pods that ask for nothing: as many as there may be.
    assert await room.capacity(Nodes(), [pod("0", "0")]) == 98  # type: ignore[arg-type]
    assert await room.capacity(Nodes(), [pod("4", "1Mi")]) == 0  # type: ignore[arg-type]
