"""Making accounts: by the command line, as people are told to."""

import secrets

import aiohttp

from e2e.kubernetes import Kube
from e2e.matrix import Homeserver, Person
from e2e.web import ask
from e2e.world import World

PORT = 8008
PASSWORD = "A-long-passw0rd"


async def register(
    world: World, kube: Kube, server: Homeserver, name: str, *, namespace: str = "chat", unlimited: bool = False
) -> Person:
    """A new account on the homeserver `chat` of a namespace, logged in. Its name gets an ending of its own."""
    name = f"{name}-{secrets.token_hex(4)}"
    words = [
        "exec",
        "-n",
        namespace,
        "matrix/chat",
        "register-user",
        *(["--admin"] * unlimited),
        "--secret-stdin",
        name,
    ]
    world.libresh(*words, given=f"{PASSWORD}\n")
    person = await server.log_in(name, PASSWORD)
    if unlimited:
        await lift_limits(kube, namespace, person)
    return person


async def lift_limits(kube: Kube, namespace: str, person: Person) -> None:
    """Let an administrator send as fast as the server can. That API is served inside the cluster only."""
    address = await kube.address(namespace, "synapse", PORT)
    url = f"http://{address}/_synapse/admin/v1/users/{person.user_id}/override_ratelimit"
    async with aiohttp.ClientSession() as session:
        wish = {"messages_per_second": 0, "burst_count": 0}
        status, body = await ask(session, "POST", url, token=person.token, json=wish)
    assert status == 200, body
