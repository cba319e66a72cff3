"""Whatever the operator made comes back when somebody deletes or edits it, and it leaves alone what is as it should."""

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest

from e2e.kubernetes import Kube, Object, is_current
from e2e.matrix import Homeserver, Refused
from e2e.people import register
from e2e.waiting import until
from e2e.web import ask
from e2e.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("example")]

SPACE, SYSTEM = "chat", "libresh-system"
PARTS = ("spec", "data", "rules", "roleRef", "subjects")
"""What of an object is ours to say. The rest is the API server's."""
GIVEN = ("clusterIP", "clusterIPs")
"""What the API server chooses anew for each Service."""
SERVICES = (("pg", "PostgreSQL"), ("redis", "Redis"), ("s3", "Bucket"))

CHILDREN = (
    ("Service", "chat-synapse"),
    ("Service", "chat-db-pg"),
    ("Ingress", "chat-synapse"),
    ("NetworkPolicy", "chat-synapse"),
    ("NetworkPolicy", "chat-media-s3"),
    ("ConfigMap", "chat-tools"),
    ("ConfigMap", "chat-cache-redis-config"),
    ("Secret", "chat-config"),
    ("Secret", "chat-keys"),
    ("Secret", "chat-cache-redis-credentials"),
    ("Secret", "chat-media-s3-credentials"),
    ("Secret", "chat-db-postgresql-connection"),
    ("Secret", "chat-cache-redis-connection"),
    ("Secret", "chat-media-bucket-connection"),
    ("Secret", "chat-mail-smtpaccount-connection"),
    ("Secret", "chat-login-oidcclient-connection"),
    ("StatefulSet", "chat-cache-redis"),
    ("Deployment", "chat-synapse"),
)
EDITS: dict[tuple[str, str], Object] = {
    ("Service", "chat-synapse"): {"spec": {"selector": {"app.kubernetes.io/component": "elsewhere"}}},
    ("Ingress", "chat-synapse"): {"spec": {"rules": [{"host": "elsewhere.localhost"}]}},
    ("NetworkPolicy", "chat-db-pg"): {"spec": {"ingress": [{}]}},
    ("ConfigMap", "chat-tools"): {"data": {"libresh_media.py": "raise SystemExit"}},
    ("Secret", "chat-config"): {"data": {"homeserver.yaml": None}},
    ("Secret", "chat-db-postgresql-connection"): {"data": {"password": "d3Jvbmc="}},
    ("StatefulSet", "chat-media-s3"): {"spec": {"replicas": 0}},
    ("Deployment", "chat-synapse"): {"spec": {"replicas": 0}},
}
"""What a careless person might do with `kubectl edit`."""


def content(found: Object | None) -> dict[str, Any]:
    """What an object says, without what changes by itself."""
    if found is None:
        return {}
    kept = {part: found[part] for part in PARTS if part in found}
    if "spec" in kept:
        kept["spec"] = {key: value for key, value in kept["spec"].items() if key not in GIVEN}
    return kept


@pytest.mark.parametrize(("kind", "name"), CHILDREN)
async def test_what_is_deleted_comes_back_as_it_was(kind: str, name: str, kube: Kube) -> None:
    before = await kube.get(kind, name, SPACE)
    await kube.delete(kind, name, SPACE)

    async def is_back() -> bool:
        found = await kube.find(kind, name, SPACE)
        return found is not None and found["metadata"]["uid"] != before["metadata"]["uid"]

    await until(is_back, f"another {kind} {name}")
    assert content(await kube.get(kind, name, SPACE)) == content(before)
    await settle(kube)


async def test_a_database_outlives_the_loss_of_its_credentials(kube: Kube) -> None:
    """The application's password is found again; those that only the server knows are new, and it starts with them."""
    name, kept = "chat-db-pg-credentials", ("username", "password", "database")
    server, before = await kube.pod(SPACE, "pg"), await kube.secret(name, SPACE)
    await kube.delete("Secret", name, SPACE)

    async def is_replaced() -> bool:
        return (await kube.pod(SPACE, "pg"))["metadata"]["uid"] != server["metadata"]["uid"]

    await until(is_replaced, "PostgreSQL to start anew")
    after = await kube.secret(name, SPACE)
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    await settle(kube)


@pytest.mark.parametrize(("kind", "name"), EDITS)
async def test_what_is_edited_is_set_right(kind: str, name: str, kube: Kube, world: World) -> None:
    before = content(await kube.get(kind, name, SPACE))
    words = ["patch", kind.lower(), name, "-n", SPACE, "--type=merge", "-p", json.dumps(EDITS[kind, name])]
    assert "(no change)" not in world.kubectl(*words)

    async def is_healed() -> bool:
        return content(await kube.find(kind, name, SPACE)) == before

    await until(is_healed, f"{kind} {name} to be as it was")
    await settle(kube)


async def test_what_others_added_stays(kube: Kube, world: World) -> None:
    world.kubectl("annotate", "service", "chat-synapse", "-n", SPACE, "example.org/note=mine", "--overwrite")
    world.kubectl("patch", "service", "chat-synapse", "-n", SPACE, "-p", '{"spec": {"sessionAffinity": "ClientIP"}}')
    await provoke(kube)
    found = await kube.get("Service", "chat-synapse", SPACE)
    assert found["metadata"]["annotations"]["example.org/note"] == "mine"
    assert found["spec"]["sessionAffinity"] == "ClientIP"


async def test_suspend_leaves_everything_as_it_is(kube: Kube, world: World) -> None:
    await set_spec(kube, suspend=True)
    try:
        await kube.delete("NetworkPolicy", "chat-synapse", SPACE)
        await provoke(kube)
        assert await kube.find("NetworkPolicy", "chat-synapse", SPACE) is None
        assert "suspended" in world.libresh("status")
    finally:
        await set_spec(kube, suspend=False)

    async def is_back() -> bool:
        return await kube.find("NetworkPolicy", "chat-synapse", SPACE) is not None

    await until(is_back, "the NetworkPolicy to come back")


async def settle(kube: Kube) -> None:
    """Until the operator has seen all that happened, and everything it started because of that runs."""
    await provoke(kube)
    for component in ("synapse", *(each for each, _ in SERVICES)):
        await kube.rolled_out(SPACE, component)
    await kube.ready("Matrix", "chat", SPACE)


async def provoke(kube: Kube) -> None:
    """Have the operator heal something else, so that it has seen all that happened before."""
    name = "embedded-smtpaccount-mail"
    before = (await kube.get("NetworkPolicy", name, SYSTEM))["metadata"]["uid"]
    await kube.delete("NetworkPolicy", name, SYSTEM)

    async def is_back() -> bool:
        found = await kube.find("NetworkPolicy", name, SYSTEM)
        return found is not None and found["metadata"]["uid"] != before

    await until(is_back, "the operator to heal something else")


async def set_spec(kube: Kube, **change: Any) -> None:
    """Edit the Matrix, and wait until the operator has taken note."""
    await kube.patch("Matrix", "chat", SPACE, spec=change)

    async def look() -> bool:
        return is_current(await kube.get("Matrix", "chat", SPACE))

    await until(look, "the operator to take note")


async def pod_uids(kube: Kube) -> dict[str, str]:
    found = {}
    for component in ("synapse", *(each for each, _ in SERVICES)):
        found[component] = (await kube.pod(SPACE, component))["metadata"]["uid"]
    return found


async def test_a_setting_restarts_only_what_it_concerns(kube: Kube, chat: Homeserver, world: World) -> None:
    person = await register(world, kube, chat, "anna")
    with pytest.raises(Refused, match="413"):
        await person.upload(bytes(50_000_001))
    before = await pod_uids(kube)
    await kube.patch("Matrix", "chat", SPACE, spec={"settings": {"maxUploadSize": "51M"}})
    try:
        await kube.ready("Matrix", "chat", SPACE)
        after = await pod_uids(kube)
        assert {each for each in before if before[each] != after[each]} == {"synapse"}
        assert await person.upload(bytes(50_000_001))
    finally:
        await kube.patch("Matrix", "chat", SPACE, spec={"settings": {"maxUploadSize": "50M"}})
        await kube.ready("Matrix", "chat", SPACE)


# --- silence -------------------------------------------------------------------------------------------------

MINUTE = 60
OWN_WRITES = re.compile(
    rb'^rest_client_requests_total\{[^}]*method="(POST|PUT|PATCH|DELETE)"[^}]*\} ([0-9.e+]+)$', re.MULTILINE
)
APPLIES = re.compile(r'^apiserver_request_total\{[^}]*resource="([^"]+)"[^}]*verb="APPLY"[^}]*\} ([0-9.e+]+)$', re.M)


async def written_by_operator(kube: Kube) -> dict[str, float]:
    """How often the operator wrote, as it counts itself, by verb; PUT is the renewal of its lease."""
    address = await kube.address(SYSTEM, "operator", 8080)
    async with aiohttp.ClientSession() as session:
        status, text = await ask(session, "GET", f"http://{address}/metrics")
    assert status == 200
    found: dict[str, float] = {}
    for verb, count in OWN_WRITES.findall(text):
        found[verb.decode()] = found.get(verb.decode(), 0) + float(count)
    assert found, "the operator counts no writes"
    return found


def applied(world: World) -> dict[str, float]:
    """How often anybody applied anything on the server's side, as the API server counts: that is how we write."""
    found: dict[str, float] = {}
    for resource, count in APPLIES.findall(world.kubectl("get", "--raw", "/metrics")):
        found[resource] = found.get(resource, 0) + float(count)
    assert found, "the API server counts no applies"
    return found


async def test_a_settled_cluster_is_left_alone(kube: Kube, world: World) -> None:
    await provoke(kube)
    await kube.ready("Matrix", "chat", SPACE)
    own, all_applies = await written_by_operator(kube), applied(world)
    await asyncio.sleep(MINUTE)  # not a wait for something: this is the time in which nothing may happen
    now = await written_by_operator(kube)
    assert {verb: now[verb] - own.get(verb, 0) for verb in now if verb != "PUT"} == dict.fromkeys(set(now) - {"PUT"}, 0)
    assert applied(world) == all_applies
