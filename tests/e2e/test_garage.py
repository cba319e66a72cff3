"""Buckets with three members on three nodes: whatever happens to one of them, objects are written and read, and none
that was acknowledged is lost.

A client puts ten objects a second through the claim's secret, from a node that stays. Compiling the server takes
minutes: see `make test-ha`.
"""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from e2e import deeds
from e2e.deeds import node_of
from e2e.kubernetes import Kube, Object, condition, connected
from e2e.waiting import until
from e2e.world import ROOT, World
from e2e.writing import BUCKET, judge, writing
from libresh.drivers.embedded_bucket import garage
from libresh.kube.errors import Unavailable

pytestmark = [pytest.mark.e2e, pytest.mark.ha]

SPACE, CLAIM = "store", "files"
CLASS = yaml.safe_load((ROOT / "examples" / "classes" / "embedded-bucket-ha.yaml").read_text())
STORE = {
    "apiVersion": "objectstore.libre.sh/v1alpha1",
    "kind": "Bucket",
    "metadata": {"name": CLAIM, "namespace": SPACE},
    "spec": {"className": CLASS["metadata"]["name"], "parameters": {"storage": "256Mi"}},
}
NODES = ("node-1", "node-2", "node-3")
WHOLE = 240
"""Seconds until all three members are there again."""


@pytest.fixture(scope="module")
def store(world: World) -> None:
    """Three nodes with Garage's image, and a bucket."""
    nodes = ("--no-example", "--nodes", "3", "--image", "garage")
    world.libresh("up", "--name", world.cluster.name, *nodes, seconds=1800)

    async def make() -> None:
        async with connected(world) as kube:
            await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}, CLASS, STORE)
            await whole(kube)

    asyncio.run(make())


async def whole(kube: Kube) -> None:
    """Until the claim says that all members are there, as it is written now."""
    await kube.says("Bucket", CLAIM, SPACE, "Settled", WHOLE)


async def members(kube: Kube) -> list[Object]:
    found = await kube.items("Pod", SPACE, **{"libre.sh/owner": f"Bucket.{CLAIM}"})
    return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))


DEEDS = deeds.common("garage")


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("deed", DEEDS)
async def test_the_others_go_on_and_nothing_acknowledged_is_lost(
    deed: str, number: int, store: None, kube: Kube, world: World, tell: Callable[[str], None]
) -> None:
    """The first member is the one that made the bucket and the key."""
    await whole(kube)
    member = (await members(kube))[number]
    node, image = node_of(member), member["spec"]["containers"][0]["image"]
    stays = next(each for each in NODES if each != node)
    try:
        async with writing(world, kube, CLAIM, SPACE, node=stays, image=image, service=BUCKET) as writer:
            await DEEDS[deed].do(world, kube, member)
            # Long enough to meet all that follows, such as a node being given up.
            await writer.flows(200)
            said = await writer.said()
        result = judge(said, await stored(kube, member, writer.run))
    finally:
        DEEDS[deed].undo(world, node)
    tell(f"a member of three ({number}), {deed}: {result}; {result.errors}")
    assert result.lost == 0
    assert result.gap <= DEEDS[deed].bar, result.errors
    await whole(kube)


async def test_it_grows_without_a_pause(store: None, kube: Kube, world: World, tell: Callable[[str], None]) -> None:
    """Every volume grows, and the first member restarts with the new quota."""
    await whole(kube)
    first, second, _ = await members(kube)
    image = first["spec"]["containers"][0]["image"]
    async with writing(world, kube, CLAIM, SPACE, node=node_of(second), image=image, service=BUCKET) as writer:
        await kube.patch("Bucket", CLAIM, SPACE, spec={"parameters": {"storage": "320Mi"}})
        await whole(kube)
        await writer.flows(50)
        said = await writer.said()
    result = judge(said, await stored(kube, first, writer.run))
    tell(f"a bucket of three members grows: {result}; {result.errors}")
    assert result.lost == 0
    assert result.gap <= 5, result.errors
    assert (await members(kube))[0]["metadata"]["uid"] != first["metadata"]["uid"]
    assert (await members(kube))[1]["metadata"]["uid"] == second["metadata"]["uid"]


async def stored(kube: Kube, without: Object, run: str) -> set[int]:
    """The numbers whose objects are there and as they were put, as a member has them that was left alone."""
    (other, *_) = [pod for pod in await members(kube) if pod["metadata"]["name"] != without["metadata"]["name"]]
    secret = await kube.secret(f"{CLAIM}-bucket-connection", SPACE)
    return await asyncio.to_thread(read, s3(secret, other["status"]["podIP"]), secret["bucket"], run)


def read(client: Any, bucket: str, run: str) -> set[int]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{run}/")
    keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
    contents = {key: client.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}
    return {int(key.partition("/")[2]) for key, content in contents.items() if content == key.replace("/", " ")}


def s3(secret: dict[str, str], host: str, key: str = "") -> Any:
    boto3 = pytest.importorskip("boto3")
    return boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{secret['port']}",
        region_name=secret["region"],
        aws_access_key_id=secret["access-key-id"],
        aws_secret_access_key=key or secret["secret-access-key"],
    )


async def test_the_claim_says_what_is_missing(store: None, kube: Kube, world: World) -> None:
    """One node takes no pods: the member whose volume is there stays away, and the claim tells so and is ready."""
    await whole(kube)
    lost = (await members(kube))[1]
    world.kubectl("cordon", node_of(lost))
    try:
        await kube.delete("Pod", lost["metadata"]["name"], SPACE)
        said = await kube.says("Bucket", CLAIM, SPACE, "MembersMissing", 60)
        assert lost["metadata"]["name"].removesuffix("-0") in said
        assert condition(await kube.get("Bucket", CLAIM, SPACE))[0] == "True"
    finally:
        world.kubectl("uncordon", node_of(lost))
    await whole(kube)


async def test_a_member_that_lost_its_volume_does_not_count_before_it_is_filled(
    store: None, kube: Kube, world: World, tell: Callable[[str], None]
) -> None:
    """Until then no drain may take another one; afterwards any other one may go."""
    await whole(kube)
    first, lost, third = await members(kube)
    secret = await kube.secret(f"{CLAIM}-bucket-connection", SPACE)
    contents = {f"kept/{number}": f"{number} ".encode() * 2000 for number in range(300)}
    await asyncio.to_thread(fill, s3(secret, first["status"]["podIP"]), secret["bucket"], contents)
    began = time.monotonic()
    await kube.delete("PersistentVolumeClaim", f"{CLAIM}-s3-{garage.volume_of(1)}", SPACE)
    await kube.delete("Pod", lost["metadata"]["name"], SPACE)
    moments = await moments_until_filled(kube, lost, first["status"]["podIP"])
    took = time.monotonic() - began
    tell(f"a member of three lost its volume: filled with {len(contents)} objects after {took:.0f} s")
    assert any(each.is_draining for each in moments)
    assert not [each for each in moments if each.is_draining and (each.is_ready or each.may_drain)]
    assert "MembersMissing" in {each.reason for each in moments}
    await whole(kube)
    world.kubectl("cordon", node_of(third))
    try:
        await kube.delete("Pod", third["metadata"]["name"], SPACE)
        refilled = (await members(kube))[1]
        client = s3(secret, refilled["status"]["podIP"])
        found = await asyncio.to_thread(contents_of, client, secret["bucket"], contents)
        assert found == contents
    finally:
        world.kubectl("uncordon", node_of(third))
    await whole(kube)


@dataclass(frozen=True)
class Moment:
    """What was to be seen of a member that is being filled."""

    reason: str
    """What the claim says."""
    may_drain: bool
    is_ready: bool
    is_draining: bool
    """Whether Garage still looks where things were before."""


async def moments_until_filled(kube: Kube, lost: Object, other: str) -> list[Moment]:
    """Until the member that comes in its place is ready."""
    moments: list[Moment] = []
    token = (await kube.secret(f"{CLAIM}-s3-credentials", SPACE))["admin-token"]

    async def look() -> bool:
        reason = condition(await kube.get("Bucket", CLAIM, SPACE))[1]
        budget = await kube.get("PodDisruptionBudget", f"{CLAIM}-s3", SPACE)
        pod = await kube.find("Pod", lost["metadata"]["name"], SPACE)
        is_new = pod is not None and pod["metadata"]["uid"] != lost["metadata"]["uid"]
        is_ready = bool(pod and is_new and condition(pod)[0] == "True")
        is_draining = await asyncio.to_thread(draining, other, token)
        may_drain = budget["status"]["disruptionsAllowed"] > 0
        moments.append(Moment(reason, may_drain, is_ready, is_draining))
        return is_ready

    await until(look, "the member to be filled", WHOLE, forgive=(Unavailable,))
    return moments


def draining(host: str, token: str) -> bool:
    """Whether Garage still looks where things were before the layout changed, as a member says."""
    url = f"http://{host}:{garage.ADMIN_PORT}/v2/GetClusterLayoutHistory"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return "Draining" in {each["status"] for each in json.load(answer)["versions"]}


def fill(client: Any, bucket: str, contents: dict[str, bytes]) -> None:
    for key, content in contents.items():
        client.put_object(Bucket=bucket, Key=key, Body=content)


def contents_of(client: Any, bucket: str, keys: Iterable[str]) -> dict[str, bytes]:
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


async def test_without_two_members_it_says_that_nothing_works_and_then_all_is_there_again(
    store: None, kube: Kube, world: World
) -> None:
    await whole(kube)
    secret = await kube.secret(f"{CLAIM}-bucket-connection", SPACE)
    first, *others = await members(kube)
    client = s3(secret, first["status"]["podIP"])
    await asyncio.to_thread(client.put_object, Bucket=secret["bucket"], Key="kept", Body=b"whole")
    for pod in others:
        world.kubectl("cordon", node_of(pod))
    try:
        for pod in others:
            await kube.delete("Pod", pod["metadata"]["name"], SPACE)
        said = await kube.says("Bucket", CLAIM, SPACE, "NoQuorum", 120)
        assert "nothing can be read or written" in said
        assert condition(await kube.get("Bucket", CLAIM, SPACE))[0] == "False"
    finally:
        for pod in others:
            world.kubectl("uncordon", node_of(pod))
    await whole(kube)
    found = await asyncio.to_thread(client.get_object, Bucket=secret["bucket"], Key="kept")
    assert found["Body"].read() == b"whole"


async def test_a_wrong_key_is_refused_by_every_member(store: None, kube: Kube) -> None:
    await whole(kube)
    secret = await kube.secret(f"{CLAIM}-bucket-connection", SPACE)
    for pod in await members(kube):
        client = s3(secret, pod["status"]["podIP"], key="w" * 43)
        with pytest.raises(client.exceptions.ClientError, match=r"Forbidden|AccessDenied"):
            await asyncio.to_thread(client.list_objects_v2, Bucket=secret["bucket"])


async def test_members_are_on_nodes_of_their_own(store: None, kube: Kube) -> None:
    assert {node_of(pod) for pod in await members(kube)} == set(NODES)


async def test_all_find_each_other_again_after_they_were_all_deleted(store: None, kube: Kube) -> None:
    """Their addresses are others then."""
    await whole(kube)
    before = {pod["metadata"]["uid"] for pod in await members(kube)}
    for pod in await members(kube):
        await kube.delete("Pod", pod["metadata"]["name"], SPACE)

    async def replaced() -> bool:
        found = {pod["metadata"]["uid"] for pod in await members(kube)}
        return len(found) == len(NODES) and not found & before

    await until(replaced, "all members to be others", 120, forgive=(Unavailable,))
    await whole(kube)


async def test_deleting_the_claim_leaves_nothing_under_delete(store: None, kube: Kube) -> None:
    """The last: the bucket goes."""
    await kube.patch("Bucket", CLAIM, SPACE, spec={"deletionPolicy": "Delete"})
    await kube.delete("Bucket", CLAIM, SPACE)
    await kube.gone("Bucket", CLAIM, SPACE)

    async def nothing() -> bool:
        kinds = ("PersistentVolumeClaim", "StatefulSet", "Pod", "PodDisruptionBudget")
        found = [
            each for kind in kinds for each in await kube.items(kind, SPACE, **{"libre.sh/owner": f"Bucket.{CLAIM}"})
        ]
        return not found

    await until(nothing, "all of the bucket to be gone", 120, forgive=(Unavailable,))
