"""Two homeservers of the same name in two namespaces: neither sees, reaches or may use what is the other's.

Whether a credential is accepted is tried for real. Which pods may reach which is *evaluated* from the NetworkPolicies
that are in the cluster: the local cluster does not enforce them (docs/decisions).
"""

import asyncio

import pytest
from botocore.exceptions import ClientError

from e2e.kubernetes import Kube
from e2e.matrix import Homeserver, Refused
from e2e.people import register
from e2e.storage import open_storage
from e2e.world import World
from support.netpol import Network, Peer, peer_of

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("example", "neighbour")]

SPACES = ("chat", "other")


# --- people --------------------------------------------------------------------------------------------------


async def test_people_and_rooms_of_one_are_unknown_to_the_other(
    chat: Homeserver, other: Homeserver, kube: Kube, world: World
) -> None:
    here = await register(world, kube, chat, "erin")
    there = await register(world, kube, other, "erin", namespace="other")
    assert here.user_id.endswith(":chat.localhost")
    assert there.user_id.endswith(":other.localhost")
    room = await here.create_room("Ours")
    await here.say(room, "only for us")
    with pytest.raises(Refused, match="401"):
        await other.call("GET", "/_matrix/client/v3/account/whoami", token=here.token)
    with pytest.raises(Refused, match="403"):
        await there.read(room)
    assert await there.search("only for us") == []


async def test_each_has_keys_of_its_own(kube: Kube) -> None:
    one, two = [await kube.secret("chat-keys", space) for space in SPACES]
    assert sorted(one) == sorted(two)
    assert not set(one.values()) & set(two.values())


# --- credentials ---------------------------------------------------------------------------------------------


def query(world: World, space: str, credentials: dict[str, str]) -> str:
    """What the PostgreSQL of a namespace answers to somebody with these credentials, from a pod beside it."""
    script = "read -r PGPASSWORD; export PGPASSWORD; exec psql -tA -c 'SELECT 1' \"$@\""
    where = [f"--host=chat-db-pg.{space}.svc", f"--dbname={credentials['database']}"]
    command = ["sh", "-c", script, "psql", *where, f"--username={credentials['username']}"]
    pod = ["exec", "-i", "-n", space, "chat-db-pg-0", "-c", "postgresql", "--"]
    given = credentials["password"] + "\n"
    return world.kubectl(*pod, *command, given=given, check=False)


async def test_a_database_takes_its_own_credentials_only(kube: Kube, world: World) -> None:
    own, foreign = [await kube.secret("chat-db-postgresql-connection", space) for space in SPACES]
    assert query(world, "chat", own).strip() == "1"
    assert "password authentication failed" in query(world, "chat", foreign)


async def say_to_redis(address: str, *commands: str) -> list[str]:
    """The server's answer to each command."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answers = []
    for command in commands:
        writer.write(f"{command}\r\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.close()
    return answers


async def test_a_cache_takes_its_own_credentials_only(kube: Kube) -> None:
    own, foreign = [await kube.secret("chat-cache-redis-connection", space) for space in SPACES]
    address = await kube.address("chat", "redis", 6379)
    asked = "SET libresh-test 1"
    assert await say_to_redis(address, f"AUTH {own['username']} {own['password']}", asked) == ["+OK", "+OK"]
    refused = await say_to_redis(address, f"AUTH {foreign['username']} {foreign['password']}", asked)
    assert [answer.split()[0] for answer in refused] == ["-WRONGPASS", "-NOPERM"]


async def test_a_bucket_takes_its_own_credentials_only(kube: Kube) -> None:
    own, foreign = [await kube.secret("chat-media-bucket-connection", space) for space in SPACES]
    assert isinstance(await (await open_storage(kube, "chat", "chat-media", own)).sizes(), dict)
    forged = {**own, "secret-access-key": foreign["secret-access-key"]}
    for wrong, code in ((foreign, "XAdminUserNotFound"), (forged, "SignatureDoesNotMatch")):
        with pytest.raises(ClientError, match=code):
            await (await open_storage(kube, "chat", "chat-media", wrong)).sizes()


# --- who may reach whom: evaluated, not tried -----------------------------------------------------------------

OUTSIDE = "192.0.2.1"
COMPONENTS = {"synapse": 8008, "pg": 5432, "redis": 6379, "s3": 7070}
STORES = ("pg", "redis", "s3")
MAIL, LOGIN = ("libresh-system", "mail"), ("libresh-system", "identity")
ALLOWED = (
    *((("chat", "synapse"), ("chat", each), COMPONENTS[each]) for each in STORES),
    (("chat", "synapse"), MAIL, 2587),
    (("chat", "synapse"), OUTSIDE, 443),
    (("chat", "synapse"), OUTSIDE, 8448),
    (("chat", "pg"), OUTSIDE, 6443),  # Patroni keeps its state at the API server
    (OUTSIDE, ("chat", "synapse"), 8008),
    (OUTSIDE, LOGIN, 8080),
)
REFUSED = (
    *((("other", "synapse"), ("chat", each), port) for each, port in COMPONENTS.items() if each != "synapse"),
    *(
        (("other", mine), ("chat", each), COMPONENTS[each])
        for mine in ("redis", "s3")
        for each in ("pg", "redis", "s3")
    ),
    *((OUTSIDE, ("chat", each), COMPONENTS[each]) for each in ("pg", "redis", "s3")),
    *((("chat", each), OUTSIDE, 443) for each in ("redis", "s3")),
    (("chat", "synapse"), OUTSIDE, 25),
    (("chat", "synapse"), OUTSIDE, 6443),
    (OUTSIDE, ("chat", "synapse"), 9000),
    (OUTSIDE, MAIL, 2587),
)
End = tuple[str, str] | str


@pytest.fixture
async def network(kube: Kube) -> Network:
    """All policies there are, and the labels of the namespaces."""
    spaces = {each["metadata"]["name"]: each["metadata"].get("labels", {}) for each in await kube.items("Namespace")}
    return Network(await kube.items("NetworkPolicy"), spaces)


async def end(kube: Kube, named: End) -> Peer:
    return Peer(address=named) if isinstance(named, str) else peer_of(await kube.pod(*named))


@pytest.mark.parametrize(("source", "target", "port"), ALLOWED)
async def test_policies_allow_what_is_needed(source: End, target: End, port: int, kube: Kube, network: Network) -> None:
    assert network.allows(await end(kube, source), await end(kube, target), port)


@pytest.mark.parametrize(("source", "target", "port"), REFUSED)
async def test_policies_refuse_everything_else(
    source: End, target: End, port: int, kube: Kube, network: Network
) -> None:
    assert not network.allows(await end(kube, source), await end(kube, target), port)


async def test_every_pod_of_ours_is_under_a_policy(kube: Kube, network: Network) -> None:
    for space in (*SPACES, "libresh-system"):
        for pod in await kube.items("Pod", space):
            peer = peer_of(pod)
            closed = not network.passes(peer, Peer(address=OUTSIDE), "Ingress", peer, 1, "TCP")
            assert closed, f"{space}/{pod['metadata']['name']} lets anybody in at any port"
