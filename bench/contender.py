"""libre.sh's side of the small reconcile: the real runtime with a reconciler for widgets. A process of its own."""

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from libresh.api.meta import BaseStatus, Kind, Resource
from libresh.kube.auth import find_access
from libresh.kube.client import Client
from libresh.kube.kinds import Kinds
from libresh.plan import naming, objects
from libresh.plan.actions import Apply
from libresh.plan.decision import Decision, Settled
from libresh.ports import Reader, Watched
from libresh.runtime import logs
from libresh.runtime.manager import Manager


class Widget(Resource):
    """A widget."""

    KIND: ClassVar[Kind] = Kind("bench.libre.sh", "Widget", "widgets", version="v1")

    spec: dict[str, Any] = {}
    status: BaseStatus = msgspec.field(default_factory=BaseStatus)


@dataclass(frozen=True)
class Observed:
    """Nothing but the widget itself is looked at."""


class WidgetReconciler:
    """One ConfigMap for each widget."""

    type = Widget
    finalizer: bool = False
    watches: tuple[Watched, ...] = (Watched("ConfigMap", writes=True),)

    async def observe(self, obj: Widget, reader: Reader) -> Observed:
        return Observed()

    def decide(self, obj: Widget, seen: Observed) -> Decision:
        labels = naming.labels_for(name="widget", instance=obj.name)
        metadata = objects.build_metadata(f"{obj.name}-config", obj.namespace, labels, owner=obj)
        data = {"size": str(obj.spec["size"]), "first": obj.spec["settings"]["setting00"]}
        return Decision(Settled("The ConfigMap is there"), {}, (Apply(objects.build_config_map(metadata, data)),))


async def main() -> None:
    logs.set_up("warning")
    async with Client(find_access(os.environ["KUBECONFIG"]), Kinds((Widget,))) as client:
        manager = Manager(client, (WidgetReconciler(),), metrics_port=None, leader_election=False)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, manager.stop)
        await manager.run()


if __name__ == "__main__":
    asyncio.run(main())
