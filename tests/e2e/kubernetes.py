"""Looking at the cluster, and waiting for what it says."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from e2e.waiting import until
from e2e.world import World
from libresh.cli import access, applying
from libresh.cli.access import Target
from libresh.kube.client import Client
from libresh.kube.errors import Unavailable
from libresh.plan import naming, observed

Object = dict[str, Any]
READY_PATIENCE = 240
COMPONENT = naming.COMPONENT_LABEL


@dataclass(frozen=True)
class Kube:
    """The API server, as the stories need it."""

    client: Client

    async def apply(self, *wanted: Object) -> None:
        """As `kubectl apply --server-side` does it: in a person's name."""
        for each in wanted:
            await applying.apply(self.client, each, force=True)

    async def get(self, kind: str, name: str, namespace: str = "") -> Object:
        found = await self.client.get(kind, name, namespace)
        assert found is not None, f"there is no {kind} {namespace}/{name}"
        return found

    async def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        return await self.client.get(kind, name, namespace)

    async def items(self, kind: str, namespace: str = "", **labels: str) -> list[Object]:
        return await self.client.list(kind, namespace, labels=labels)

    async def delete(self, kind: str, name: str, namespace: str = "") -> None:
        await self.client.delete(kind, name, namespace)

    async def patch(self, kind: str, name: str, namespace: str, **change: Any) -> Object:
        """A merge patch, as `kubectl patch --type merge` or an editor sends it."""
        return await self.client.patch(kind, name, namespace, change)

    async def secret(self, name: str, namespace: str) -> dict[str, str]:
        found = await self.get("Secret", name, namespace)
        return {key: base64.b64decode(value).decode() for key, value in found.get("data", {}).items()}

    async def pods(self, namespace: str, component: str) -> list[Object]:
        """The pods of a component that are not on their way out."""
        found = await self.client.list("Pod", namespace, labels={COMPONENT: component})
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def pod(self, namespace: str, component: str) -> Object:
        """The one pod of a component, once it is ready."""

        async def look() -> Object | None:
            return next((pod for pod in await self.pods(namespace, component) if condition(pod)[0] == "True"), None)

        found = await until(look, f"a ready pod of {component} in {namespace}", 120, forgive=(Unavailable,))
        assert found is not None
        return found

    async def rolled_out(self, namespace: str, component: str) -> None:
        """Until the Deployment or StatefulSet of a component runs just what it asks for."""

        async def look() -> bool:
            kinds = ("Deployment", "StatefulSet")
            found = [each for kind in kinds for each in await self.items(kind, namespace, **{COMPONENT: component})]
            return bool(found) and all(observed.is_rolled_out(each) for each in found)

        await until(look, f"{component} in {namespace} to be rolled out", READY_PATIENCE, forgive=(Unavailable,))

    async def address(self, namespace: str, component: str, port: int) -> str:
        """Where a component's pod listens; this machine has a route to the pods."""
        pod = await self.pod(namespace, component)
        return f"{pod['status']['podIP']}:{port}"

    async def ready(self, kind: str, name: str, namespace: str = "", seconds: float = READY_PATIENCE) -> Object:
        """The object, once it says that it is ready as it is written now."""

        async def look() -> Object | None:
            found = await self.client.get(kind, name, namespace)
            return found if found and is_current(found) and condition(found)[0] == "True" else None

        found = await until(look, f"{kind} {namespace}/{name} to be ready", seconds, forgive=(Unavailable,))
        assert found is not None
        return found

    async def says(self, kind: str, name: str, namespace: str, reason: str, seconds: float = 60) -> str:
        """The message of Ready, once its reason is this one for the spec as it is written now."""
        seen: list[tuple[str, str, str]] = [("", "", "")]

        async def look() -> bool:
            found = await self.client.get(kind, name, namespace)
            if found and is_current(found):
                seen[0] = condition(found)
            return seen[0][1] == reason

        try:
            await until(look, f"{kind} {namespace}/{name} to say {reason}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {seen[0]}") from None
        return seen[0][2]

    async def gone(self, kind: str, name: str, namespace: str = "", seconds: float = 120) -> None:
        async def look() -> bool:
            return await self.client.get(kind, name, namespace) is None

        await until(look, f"{kind} {namespace}/{name} to be gone", seconds)


def condition(found: Object, type: str = "Ready") -> tuple[str, str, str]:
    """Status, reason and message of a condition."""
    for each in found.get("status", {}).get("conditions", ()):
        if each["type"] == type:
            return each["status"], each.get("reason", ""), each.get("message", "")
    return "Unknown", "", ""


def is_current(found: Object) -> bool:
    """Whether the status speaks of the spec as it is now."""
    return bool(found.get("status", {}).get("observedGeneration") == found["metadata"].get("generation"))


@asynccontextmanager
async def connected(world: World) -> AsyncIterator[Kube]:
    async with access.connect(Target(kubeconfig=str(world.cluster.kubeconfig))) as client:
        yield Kube(client)
