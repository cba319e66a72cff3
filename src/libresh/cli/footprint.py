"""What everything libre.sh runs asks of the nodes, added up. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from libresh.api import quantity
from libresh.plan.actions import Object
from libresh.plan.observed import status_of

OVER = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Footprint:
    """CPU in cores and memory in bytes: asked for, allowed, and there."""

    pods: int
    cpu_requests: float
    memory_requests: int
    memory_limits: int
    cpu: float
    memory: int

    def describe(self) -> str:
        """One line for people."""
        there = f" of {self.cpu:g} cores, {said(self.memory)}" if self.memory else ""
        asked = f"{self.cpu_requests:.2f} cores and {said(self.memory_requests)} of memory"
        return f"{self.pods} pods ask for {asked} (at most {said(self.memory_limits)}){there}"


def measure(pods: Iterable[Object], nodes: Sequence[Object]) -> Footprint:
    """The sum over the pods that run or are to run."""
    alive = [pod for pod in pods if status_of(pod).get("phase") not in OVER]
    allocatable = [status_of(node).get("allocatable", {}) for node in nodes]
    return Footprint(
        pods=len(alive),
        cpu_requests=float(sum((need(pod, "requests", "cpu") for pod in alive), Fraction(0))),
        memory_requests=int(sum(need(pod, "requests", "memory") for pod in alive)),
        memory_limits=int(sum(need(pod, "limits", "memory") for pod in alive)),
        cpu=float(sum((quantity.exact(each.get("cpu", "0")) for each in allocatable), Fraction(0))),
        memory=int(sum(quantity.exact(each.get("memory", "0")) for each in allocatable)),
    )


def need(pod: Object, side: str, resource: str) -> Fraction:
    """What the scheduler counts for a pod: all its containers together, or its greediest init container."""

    def amount(container: Object) -> Fraction:
        return quantity.exact(container.get("resources", {}).get(side, {}).get(resource, "0"))

    running = sum((amount(container) for container in pod["spec"]["containers"]), Fraction(0))
    before = max((amount(container) for container in pod["spec"].get("initContainers", ())), default=Fraction(0))
    return max(running, before)


def said(size: int) -> str:
    """Memory as people say it."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
