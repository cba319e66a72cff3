"""Writing to a cluster in a person's name: server-side apply with a field manager of its own, and waiting."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from libresh.errors import LibreshError
from libresh.kube.client import APPLY, OBJECT, Client, place
from libresh.kube.errors import NotFound, Unavailable
from libresh.kube.kinds import KindInfo
from libresh.plan.actions import Object
from libresh.plan.observed import status_of

FIELD_MANAGER = "libresh-cli"
CLUSTER_WIDE = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
POLICY_PLURALS = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
TICK = 0.2


def learn_kinds(client: Client) -> None:
    """Kinds only the command line writes."""
    for kind, plural in zip(CLUSTER_WIDE, POLICY_PLURALS, strict=True):
        client.kinds.add(KindInfo(kind, "admissionregistration.k8s.io/v1", plural, namespaced=False))


async def kind_of(client: Client, obj: Object) -> str:
    """The name in the client's table of an object's kind; the API server is asked about what is not in it."""
    try:
        return client.kinds.name_of(obj["apiVersion"], obj["kind"])
    except LibreshError:
        return await client.discover(obj["apiVersion"], obj["kind"])


async def apply(client: Client, obj: Object, *, force: bool = False) -> Object:
    """Server-side apply in our name. Fields that somebody else set otherwise are a refusal, unless forced."""
    kind = await kind_of(client, obj)
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    body = await client.send(
        "PATCH",
        client.kinds[kind].path(namespace, metadata["name"]),
        params={"fieldManager": FIELD_MANAGER, "force": "true" if force else "", "fieldValidation": "Strict"},
        body=msgspec.json.encode(obj),
        content=APPLY,
        what=f"apply {place(kind, metadata['name'], namespace)}",
        secret=kind == "Secret",
    )
    return OBJECT.decode(body)


async def apply_all(client: Client, objects: Sequence[Object]) -> None:
    """Apply what does not stand on one another, at once; where somebody else set a field, ours holds."""
    await asyncio.gather(*(apply(client, obj, force=True) for obj in objects))


async def wait_until(look: Callable[[], Awaitable[str]], patience: float, what: str, hint: str) -> None:
    """Look until there is nothing to wait for any more. `look` says what is still missing, "" when nothing is.

    An API server that does not answer now and then is waited for like the rest.
    """
    deadline = time.monotonic() + patience
    missing = ""
    while time.monotonic() < deadline:
        try:
            missing = await look()
        except Unavailable as error:
            missing = error.message
        if not missing:
            return
        await asyncio.sleep(TICK)
    raise LibreshError("not-ready", f"{what} after {patience:.0f} s: {missing}", hint)


async def established(client: Client, names: list[str]) -> str:
    """Which of the definitions the API server does not serve yet."""
    waiting = []
    for name in names:
        found = await client.get("CustomResourceDefinition", name)
        conditions = {c["type"]: c["status"] for c in status_of(found).get("conditions") or ()}
        if conditions.get("NamesAccepted") == "False":
            raise LibreshError(
                "kind-taken",
                f"The kind of {name} is taken by another CustomResourceDefinition",
                f"kubectl describe crd {name}",
            )
        if conditions.get("Established") != "True":
            waiting.append(name)
    return ", ".join(waiting)


async def served(client: Client, kind: str) -> bool:
    """Whether the API server knows one of our kinds at all."""
    try:
        await client.list(kind)
    except NotFound:
        return False
    return True
