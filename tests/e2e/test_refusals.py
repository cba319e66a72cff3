"""What cannot be done is refused with the field, the reason and the way out, in the object and in `libresh status`."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.kubernetes import Kube, Object, connected
from e2e.world import World
from libresh.errors import LibreshError

pytestmark = pytest.mark.e2e

SPACE = "refusals"


def claim(kind: str, group: str, name: str, **spec: Any) -> Object:
    version = f"{group}.libre.sh/v1alpha1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": SPACE}, "spec": spec}


def matrix(name: str, **spec: Any) -> Object:
    return claim("Matrix", "apps", name, **{"host": f"{name}.localhost", **spec})


CASES = {
    "a class that does not exist": (
        claim("PostgreSQL", "database", "no-class", className="gold"),
        "ClassNotFound",
        "spec.className: there is no ServiceClass gold; classes for PostgreSQL: embedded-postgresql. It is provisioned "
        "as soon as the class exists",
    ),
    "a class for another kind": (
        claim("PostgreSQL", "database", "wrong-class", className="embedded-redis"),
        "WrongClass",
        "spec.className: ServiceClass embedded-redis serves Redis, not PostgreSQL; classes for PostgreSQL: "
        "embedded-postgresql",
    ),
    "a volume too small to work": (
        claim("Bucket", "objectstore", "too-small", parameters={"storage": "1Mi"}),
        "InvalidSize",
        "spec.parameters.storage: 1Mi is too small, the least that works is 64Mi",
    ),
    "a host that another application has": (
        matrix("rival", host="chat.localhost"),
        "HostTaken",
        "spec.host: chat.localhost is taken by Matrix chat/chat, which is older; choose another name, or delete that "
        "one or change its host",
    ),
    "a version that does not exist": (
        matrix("future", version="99"),
        "VersionUnknown",
        "spec.version: there is no release 99 of Matrix homeserver (Synapse); there are: 1.163.2. Name one of them, "
        "the beginning of one, or leave spec.version out",
    ),
    "a profile that does not exist": (
        matrix("stranger", profile="nobody"),
        "ProfileNotFound",
        "spec.profile: there is no AppProfile nobody; profiles for Matrix: (there is none). Name one of them, or leave "
        "spec.profile out",
    ),
}


@pytest.fixture(scope="module")
def screens(world: World, example: None) -> Iterator[tuple[Object, str]]:
    """What `libresh status` shows when all of it was asked for and refused, for programs and for people."""
    asyncio.run(apply_all(world))
    yield json.loads(world.libresh("status", "-o", "json")), world.libresh("status")
    world.kubectl("delete", "namespace", SPACE, "--wait=false")


async def apply_all(world: World) -> None:
    async with connected(world) as kube:
        await kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        for wanted, _, _ in CASES.values():
            await kube.apply(wanted)
        for wanted, reason, _ in CASES.values():
            await kube.says(wanted["kind"], wanted["metadata"]["name"], SPACE, reason)


@pytest.mark.parametrize("case", CASES)
async def test_it_is_refused_with_a_reason_and_a_way_out(case: str, kube: Kube, screens: tuple[Object, str]) -> None:
    wanted, reason, message = CASES[case]
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    assert await kube.says(kind, name, SPACE, reason) == message
    shown, text = screens
    found = [each for each in (*shown["apps"], *shown["claims"]) if (each["kind"], each["name"]) == (kind, name)]
    assert [(each["reason"], each["message"]) for each in found] == [(reason, message)]
    assert message in " ".join(text.split())


async def test_what_is_refused_makes_nothing(kube: Kube, screens: tuple[Object, str]) -> None:
    asked = {(wanted["kind"], wanted["metadata"]["name"]) for wanted, _, _ in CASES.values()}
    kinds = ("PostgreSQL", "Redis", "Bucket", "Deployment", "StatefulSet", "Ingress", "Secret", "PersistentVolumeClaim")
    there = {(kind, each["metadata"]["name"]) for kind in kinds for each in await kube.items(kind, SPACE)}
    assert there <= asked


async def test_a_class_in_use_is_not_deleted(kube: Kube, example: None) -> None:
    with pytest.raises(LibreshError, match=r"ServiceClass embedded-postgresql serves \d+ claim\(s\)"):
        await kube.delete("ServiceClass", "embedded-postgresql")
    await kube.ready("ServiceClass", "embedded-postgresql")


async def test_the_name_of_a_server_is_for_ever(kube: Kube, example: None) -> None:
    with pytest.raises(LibreshError, match="host cannot be changed while it is also the server name"):
        await kube.patch("Matrix", "chat", "chat", spec={"host": "talk.localhost"})
