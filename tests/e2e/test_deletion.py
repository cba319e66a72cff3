"""Deleting a homeserver keeps its data and says where, unless all of it is to go: then all goes, and nothing else."""

import json

import pytest

from e2e.kubernetes import Kube
from e2e.matrix import Homeserver, Person
from e2e.people import PASSWORD, register
from e2e.traffic import OUTAGE
from e2e.waiting import until
from e2e.world import World
from libresh.plan import naming

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("neighbour")]

SPACE = "other"
OWN = ("Matrix", "PostgreSQL", "Redis", "Bucket", "SMTPAccount", "OIDCClient")
WORKLOADS = ("Pod", "Deployment", "StatefulSet", "Job", "CronJob")
AROUND = ("Service", "Ingress", "NetworkPolicy", "ConfigMap", "ServiceAccount", "Role", "RoleBinding")
DATA = ("Secret", "PersistentVolumeClaim")
PICTURE = bytes(range(256)) * 100
WORDS = "what was said before"


async def ours(kube: Kube, kind: str, space: str) -> dict[str, str]:
    """The objects of a kind that we made in a namespace, and their uids."""
    found = await kube.items(kind, space, **({} if kind in OWN else {naming.MANAGED_LABEL: naming.MANAGED_BY}))
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in found}


async def everything(kube: Kube, space: str) -> dict[tuple[str, str], str]:
    """All there is of us in a namespace."""
    kinds = (*OWN, *WORKLOADS, *AROUND, *DATA)
    return {(kind, name): uid for kind in kinds for name, uid in (await ours(kube, kind, space)).items()}


class Before:
    """What was there before the homeserver was deleted."""

    person: Person
    room: str
    address: str
    keys: dict[str, str]
    volumes: dict[str, str]
    spec: dict[str, object]


@pytest.fixture(scope="module")
def before() -> Before:
    return Before()


async def test_deleting_it_keeps_the_data_and_says_where(
    before: Before, other: Homeserver, kube: Kube, world: World
) -> None:
    before.person = await register(world, kube, other, "frank", namespace=SPACE)
    before.room = await before.person.create_room("Archive")
    await before.person.say(before.room, WORDS)
    before.address = await before.person.upload(PICTURE)
    before.keys = await kube.secret("chat-keys", SPACE)
    before.volumes = await ours(kube, "PersistentVolumeClaim", SPACE)
    found = await kube.get("Matrix", "chat", SPACE)
    before.spec = found["spec"]
    assert found["status"]["kept"] == ["Bucket chat-media", "PostgreSQL chat-db", "Secret chat-keys"]

    world.kubectl("delete", "matrix", "chat", "-n", SPACE, "--timeout=120s", seconds=150)

    async def is_quiet() -> bool:
        return not [pod for pod in await kube.items("Pod", SPACE) if pod["metadata"]["labels"].get(naming.OWNER_LABEL)]

    await until(is_quiet, "all pods to be gone", 120)
    assert await ours(kube, "PersistentVolumeClaim", SPACE) == before.volumes
    assert await kube.secret("chat-keys", SPACE) == before.keys
    events = json.loads(world.kubectl("get", "events", "-n", SPACE, "-o", "json"))["items"]
    told = [each["message"] for each in events if each["involvedObject"]["kind"] == "Matrix"]
    assert any("kept: Bucket chat-media, PostgreSQL chat-db, Secret chat-keys" in message for message in told), told


async def test_made_again_it_is_the_same(before: Before, other: Homeserver, kube: Kube) -> None:
    kind = {"apiVersion": "apps.libre.sh/v1alpha1", "kind": "Matrix"}
    await kube.apply({**kind, "metadata": {"name": "chat", "namespace": SPACE}, "spec": before.spec})
    await kube.ready("Matrix", "chat", SPACE)
    assert await kube.secret("chat-keys", SPACE) == before.keys
    assert await ours(kube, "PersistentVolumeClaim", SPACE) == before.volumes

    frank = Person(other, before.person.user_id, before.person.token)

    async def look() -> list[str]:
        return await frank.read(before.room)

    assert await until(look, "the room", 30, forgive=OUTAGE) == [WORDS]
    assert await frank.download(before.address) == PICTURE
    name = frank.user_id.removeprefix("@").partition(":")[0]
    assert (await other.log_in(name, PASSWORD)).user_id == frank.user_id


async def test_deleting_it_with_its_data_leaves_nothing(kube: Kube, world: World) -> None:
    others = await everything(kube, "chat")
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "not-yours", "namespace": SPACE}}
    await kube.apply({**mine, "data": {"a": "b"}})
    await kube.patch("Matrix", "chat", SPACE, spec={"deletionPolicy": "Delete"})
    await kube.ready("Matrix", "chat", SPACE)

    world.kubectl("delete", "matrix", "chat", "-n", SPACE, "--timeout=240s", seconds=270)

    async def is_empty() -> bool:
        return not await everything(kube, SPACE)

    try:
        await until(is_empty, "everything to be gone", 60)
    except AssertionError:
        raise AssertionError(f"left: {sorted(await everything(kube, SPACE))}") from None
    assert await everything(kube, "chat") == others
    assert (await kube.get("ConfigMap", "not-yours", SPACE))["data"] == {"a": "b"}
    await kube.ready("Matrix", "chat", "chat")
