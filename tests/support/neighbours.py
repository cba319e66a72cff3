"""Neighbours: servers that somebody else runs, beside a local cluster for as long as drivers are tried with them.

    pods ──> Service keycloak.conformance-neighbours.svc ──> its one pod, the way ──> the cluster's bridge ──> Keycloak

They are processes of this machine, listen at the bridge's address alone, and die with the process that runs the trials.
The way passes bytes on. What the cluster's operator would know of a server (who may administer it, who signed its
certificate) is a Secret of its name beside the way. Whoever ends the way's pod ends the way: then the server cannot be
reached, but it has neither forgotten anything nor begun anew.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial

from libresh.cli import applying
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.local import state
from libresh.plan import objects, observed
from libresh.plan.actions import Object
from support.fake_aws import FakeAws
from support.keycloak import Keycloak

SPACE = "conformance-neighbours"
MARK = "conformance.libre.sh/neighbours"
"""A label of that namespace: one without it is somebody's."""
WAY = "way"
"""The label of a way's pod, with the name of its server."""
REALM = "conformance"
REGISTRATIONS, LASTING = 10_000, 86_400
"""How many clients may register, and for how many seconds: more than any run takes."""
PATIENCE = 120
PASS_ON = """
import asyncio, sys

async def carry(source, target):
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()

async def meet(reader, writer):
    try:
        source, target = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(carry(reader, target), carry(source, writer))

async def main():
    server = await asyncio.start_server(meet, *here)
    await server.serve_forever()

here, (host, port) = sys.argv[1:3], sys.argv[3:]
asyncio.run(main())
"""
"""The way: from an address and port of its own to the server's."""
Served = tuple[int, dict[str, str]]
"""The server's port on this machine, and what its Secret says."""


@contextmanager
def serve_keycloak(address: str, place: str) -> Iterator[Served]:
    """A realm in which one client may manage clients, and whoever has the token may register one."""
    with Keycloak(address, f"https://{place}") as server:
        known = {"client-id": "libresh", "client-secret": secrets.token_urlsafe()}
        server.realm(REALM)
        server.service_client(REALM, *known.values(), "manage-clients")
        known["token"] = server.initial_token(REALM, REGISTRATIONS, LASTING)
        yield server.port, {**known, "ca.crt": server.authority}


@contextmanager
def serve_s3(address: str, _: str) -> Iterator[Served]:
    """An S3 with users, a fake."""
    with FakeAws(address) as server:
        key_id, secret = server.begin()
        yield server.port, {"access-key-id": key_id, "secret-access-key": secret}


@dataclass(frozen=True)
class Neighbour:
    """A server, and the drivers that are tried with it."""

    name: str
    drivers: frozenset[str]
    port: int
    """At which pods reach it."""
    serve: Callable[[str, str], AbstractContextManager[Served]]
    """Runs it at an address of this machine, which pods know as that host and port."""
    stub: bool = False
    """Whether it is no product anybody uses."""

    @property
    def host(self) -> str:
        """The name by which pods know it."""
        return f"{self.name}.{SPACE}.svc"


NEIGHBOURS = (
    Neighbour("keycloak", frozenset({"keycloak", "registration"}), 8443, serve_keycloak),
    Neighbour("s3", frozenset({"s3"}), 8080, serve_s3, stub=True),
)


@asynccontextmanager
async def neighbours(client: Client, drivers: Collection[str], image: str) -> AsyncIterator[None]:
    """Those that these drivers are tried with. `image` has Python, for the ways."""
    wanted = [each for each in NEIGHBOURS if each.drivers.intersection(drivers)]
    async with AsyncExitStack() as stack:
        if wanted:
            address = address_beside(client.access.server)
            await clear(client)
            stack.push_async_callback(clear, client)
            await applying.apply(client, build_space())
        for each in wanted:
            port, known = stack.enter_context(each.serve(address, f"{each.host}:{each.port}"))
            await applying.apply_all(client, build_way(each, address, port, known, image))
        for each in wanted:
            await applying.wait_until(partial(missing, client, each), PATIENCE, "No way", "look at its pod")
        yield


def address_beside(server: str) -> str:
    """The address of this machine that the pods of a cluster reach, and nobody has to be told the way to."""
    for cluster in state.load_all():
        if cluster.server == server:
            return str(cluster.address)
    names = ", ".join(sorted(name for each in NEIGHBOURS for name in each.drivers))
    raise LibreshError(
        "not-local",
        f"{server} is no local cluster of this machine: what {names} are tried with runs here",
        "libresh up, and KUBECONFIG=$(libresh local kubeconfig)",
    )


async def clear(client: Client) -> None:
    """Takes away what this run made, or one before it that was killed; nothing of anybody else."""
    found = await client.get("Namespace", SPACE)
    if found is None:
        return
    if MARK not in found["metadata"].get("labels", {}):
        raise LibreshError("not-ours", f"This cluster has a namespace {SPACE} already", "use one without it")
    await client.delete("Namespace", SPACE)

    async def left() -> str:
        return "it is still there" if await client.get("Namespace", SPACE) else ""

    await applying.wait_until(left, PATIENCE, f"The namespace {SPACE} does not go", f"kubectl describe ns {SPACE}")


async def missing(client: Client, neighbour: Neighbour) -> str:
    found = await client.get("Deployment", neighbour.name, SPACE)
    return "" if observed.is_rolled_out(found) else f"the way to {neighbour.name} is not open"


def build_space() -> Object:
    labels = {MARK: "true", "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}


def build_way(neighbour: Neighbour, address: str, port: int, known: dict[str, str], image: str) -> tuple[Object, ...]:
    """What the cluster has of a neighbour."""
    labels = {WAY: neighbour.name}
    metadata = {"name": neighbour.name, "namespace": SPACE, "labels": labels}
    container = objects.Container(
        name=WAY,
        image=image,
        command=("python3", "-c", PASS_ON, "0.0.0.0", str(neighbour.port), address, str(port)),
        ports={WAY: neighbour.port},
        readiness=objects.Probe(port=neighbour.port, period=1),
        resources=objects.Resources(memory_limit="128Mi"),
    )
    return (
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": known},
        objects.build_deployment(metadata, objects.Pod((container,), grace=0), selector=labels),
        objects.build_service(metadata, {WAY: neighbour.port}, selector=labels),
    )
