"""The cases, in the order they are run. A new case is one function: what it says first is its title.

A case fails by raising Failed, says that something is not to be expected of the driver by NotSupported, and may return
a fact worth telling. Cases share one claim, `bench.main`, which the first one makes; what it holds must survive all of
them until it is deleted.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from libresh.conformance.bench import Bench, Claimed, Departed, condition, is_ready, told, values_of
from libresh.conformance.listing import in_turn
from libresh.conformance.model import Case, Failed, Level, NotSupported
from libresh.drivers import is_outside
from libresh.drivers.connection import missing_keys
from libresh.errors import LibreshError
from libresh.kube.errors import Refused
from libresh.plan.actions import Object

CASES: list[Case] = []
QUIET = 5.0
"""Seconds that a settled claim is watched."""
AFTERWARDS = 120.0
"""Seconds a connection may take to answer again after what stands behind it was ended."""
SECRET_WORDS = ("password", "secret")
LONG_NAME = "n" * 64
CROWD_SPACES = 4

Run = Callable[[Bench], Awaitable[str | None]]


def case(name: str, level: Level = "core", capability: str = "") -> Callable[[Run], Run]:
    """Puts a function among the cases."""

    def add(run: Run) -> Run:
        title = (run.__doc__ or name).strip().splitlines()[0].rstrip(".")
        CASES.append(Case(name, title, level, capability, run))
        return run

    return add


def main_of(bench: Bench) -> Claimed:
    if bench.main is None:
        raise Failed("there is no claim to try this with: provisioning failed")
    return bench.main


# --- provision and use ---------------------------------------------------------------------------------------------


@case("provision")
async def provision(bench: Bench) -> str:
    """A claim becomes ready, with a complete connection secret, and once it is settled it is silent."""
    began = time.monotonic()
    claimed = await bench.make("main", writeConnectionSecretToRef={"name": "main-details"}, deletionPolicy="Retain")
    found = await bench.ready(claimed)
    took = time.monotonic() - began
    bench.main, bench.visible = claimed, bool(await bench.pods(claimed))
    bench.capabilities |= frozenset(found["status"].get("capabilities", ()))
    found = await settled(bench, claimed)
    check_status(bench, claimed, found)
    await check_secret(bench, claimed, found)
    await check_silence(bench, claimed)
    return f"ready in {took:.1f} s"


async def settled(bench: Bench, claimed: Claimed) -> Object:
    """The claim once nothing of it is on its way any more: one of several members may come later than Ready."""

    async def look() -> Object | str:
        found = await bench.look(claimed)
        on_its_way = condition(found, "Reconciling").get("status") == "True"
        return found if found and is_ready(found) and not on_its_way else told(found)

    found: Object = await bench.until(look, f"{claimed.name} to be settled")
    return found


def check_status(bench: Bench, claimed: Claimed, found: Object) -> None:
    """The status says what every claim's must."""
    status = found["status"]
    expected = {"className": bench.class_name, "binding": {"name": claimed.secret}, "deletionPolicy": "Retain"}
    for field, value in expected.items():
        if status.get(field) != value:
            raise Failed(f"status.{field} is {status.get(field)!r}, not {value!r}")
    if condition(found, "Stalled").get("status") == "True":
        raise Failed("Stalled is True although the claim is ready")
    if not status.get("instance", {}).get("ref"):
        raise Failed("status.instance.ref does not say what stands behind the claim")


async def check_secret(bench: Bench, claimed: Claimed, found: Object) -> None:
    """The secret is complete, belongs to the claim, and its values are told nowhere else."""
    secret = await bench.secret(claimed.space, claimed.secret)
    if secret is None:
        raise Failed(f"the claim is ready and its Secret {claimed.secret} does not exist")
    if missing := missing_keys(bench.profile.kind, frozenset(secret.get("data") or {})):
        raise Failed(f"the Secret {claimed.secret} has no {', '.join(missing)}")
    if secret.get("type") != bench.profile.secret_type:
        raise Failed(f"the Secret's type is {secret.get('type')}, not {bench.profile.secret_type}")
    owners = [owner["uid"] for owner in secret["metadata"].get("ownerReferences", ()) if owner.get("controller")]
    if owners != [found["metadata"]["uid"]]:
        raise Failed("the Secret does not belong to the claim: it would not go with it")
    hidden = [value for key, value in values_of(secret).items() if any(word in key for word in SECRET_WORDS)]
    events = await bench.client.list("Event", claimed.space)
    said = json.dumps([found, *events])
    if any(value and value in said for value in hidden):
        raise Failed("a secret value stands in the claim's status or in an event")


async def check_silence(bench: Bench, claimed: Claimed) -> None:
    """Settled, nobody writes any more."""

    async def versions() -> list[str]:
        claim, secret = await bench.look(claimed), await bench.secret(claimed.space, claimed.secret)
        return [each["metadata"]["resourceVersion"] for each in (claim, secret) if each]

    before = await versions()
    await asyncio.sleep(QUIET)
    if await versions() != before:
        raise Failed(f"the claim or its Secret was written within {QUIET:.0f} s although nothing changed")


@case("use")
async def use(bench: Bench) -> None:
    """An application beside the claim can use the service by its secret, mounted as servicebinding.io has it."""
    bench.main_token = bench.token()
    word, said = await bench.probe_mounted(main_of(bench), {"do": "write", "token": bench.main_token})
    if word != "ok":
        raise Failed(f"writing and reading by the connection: {word}: {said}")


@case("wrong-credentials")
async def wrong_credentials(bench: Bench) -> None:
    """Wrong credentials are refused."""
    claimed, (*_, key) = main_of(bench), bench.profile.proof
    ((word, said),) = await bench.probe(claimed, {"do": "read", "keys": [key]})
    if word != "refused":
        raise Failed(f"with another {key} the answer is {word}, not refused: {said}")


@case("isolated")
async def isolated(bench: Bench) -> None:
    """Two claims are apart: neither lets the other's credentials in, and neither sees the other's data."""
    first = main_of(bench)
    second = await bench.make("second")
    await bench.ready(second)
    await bench.use(second, bench.token())
    await check_apart(bench, first, second)
    await check_unseen(bench, second, bench.main_token)
    await remove(bench, second)


async def check_apart(bench: Bench, first: Claimed, second: Claimed) -> None:
    """Two claims have no credentials in common, and neither lets the other's in."""
    mine, theirs = await bench.connection(first), await bench.connection(second)
    if same := [key for key in bench.profile.own if mine.get(key) == theirs.get(key)]:
        raise Failed(f"two claims have the same {', '.join(same)}")
    proof, ways = list(bench.profile.proof), (("main", "other"), ("other", "main"))
    crossed = [{"binding": one, "keys": proof, "keys_of": another} for one, another in ways]
    for word, said in await bench.probe(first, *crossed, others={"other": second.secret}):
        if word != "refused":
            raise Failed(f"with the other claim's {' and '.join(proof)} the answer is {word}: {said}")


async def check_unseen(bench: Bench, claimed: Claimed, token: str, of: str = "the other claim's data") -> None:
    """What was written elsewhere, or before, cannot be read by this claim."""
    if not bench.profile.data:
        return
    ((word, said),) = await bench.probe(claimed, {"do": "read", "token": token})
    if word != "missing":
        raise Failed(f"{of}: the answer is {word}, not missing: {said}")


async def remove(bench: Bench, claimed: Claimed) -> None:
    """A claim that has served, with all it has."""
    await bench.edit(claimed, spec={"deletionPolicy": "Delete"})
    await bench.delete(claimed)
    await bench.gone(claimed)


# --- heal ------------------------------------------------------------------------------------------------------------


@case("secret-healed")
async def secret_healed(bench: Bench) -> str:
    """The connection secret comes back with the same values when somebody deletes it."""
    claimed, began = main_of(bench), time.monotonic()
    before = await bench.connection(claimed)
    await bench.client.delete("Secret", claimed.secret, claimed.space)

    async def look() -> bool | str:
        found = await bench.connection(claimed)
        return True if found == before else ("other values" if found else "there is no Secret")

    await bench.until(look, "the same Secret", 120)
    took = time.monotonic() - began
    await bench.ready(claimed)
    await bench.use(claimed, bench.main_token, "read" if bench.profile.data else "write")
    return f"back after {took:.1f} s"


@case("restart")
async def restart(bench: Bench) -> str:
    """What stands behind the claim is ended at once, and comes back with all that was written."""
    claimed, began = main_of(bench), time.monotonic()
    count = await bench.kill(claimed)
    await bench.use(claimed, bench.main_token, "read" if bench.profile.data else "write", patience=AFTERWARDS)
    took = time.monotonic() - began
    await bench.ready(claimed)
    return f"{count} pod{'' if count == 1 else 's'} ended, usable again after {took:.1f} s"


@case("provider-down")
async def provider_down(bench: Bench) -> str:
    """While the provider is down, before or after a claim was served, the claim says so; then it is well again."""
    claimed = main_of(bench)
    own = [pod for pod in await bench.found_pods(claimed) if pod["metadata"]["namespace"] == claimed.space]
    if not own:
        return await server_down(bench, claimed)
    await bench.close(claimed.space)
    try:
        newcomer = await bench.make("newcomer")
        await bench.kill(claimed)
        await says_not_ready(bench, claimed)
        await says_not_ready(bench, newcomer)
    finally:
        await bench.open(claimed.space)
    await bench.ready(claimed)
    await bench.use(claimed, bench.main_token, "read" if bench.profile.data else "write", patience=AFTERWARDS)
    await bench.ready(newcomer)
    await bench.use(newcomer, bench.token())
    await remove(bench, newcomer)
    return "its pods could not start for a while"


async def server_down(bench: Bench, claimed: Claimed) -> str:
    """What a class has for all its claims, a server or the way to one, is ended just when a claim comes."""
    newcomer = await bench.make("newcomer")
    try:
        for _ in range(3):
            await bench.kill(claimed)
        await bench.ready(newcomer)
        await bench.use(newcomer, bench.token(), patience=AFTERWARDS)
        await bench.ready(claimed)
    finally:
        await remove(bench, newcomer)
    return "what stands behind its claims was ended three times while one was being served"


async def says_not_ready(bench: Bench, claimed: Claimed) -> None:
    async def look() -> bool | str:
        found = await bench.look(claimed)
        ready = condition(found)
        return True if ready.get("status") == "False" and ready.get("message") else told(found)

    await bench.until(look, f"{claimed.name} to say that it is not ready", 90)


# --- change ----------------------------------------------------------------------------------------------------------


@case("expand", "extended", "expand")
async def expand(bench: Bench) -> None:
    """The storage grows, and what was written is still there."""
    claimed = main_of(bench)
    if not bench.profile.grown:
        raise NotSupported("this kind of claim has no storage")
    await bench.edit(claimed, spec={"parameters": bench.profile.grown})
    claimed.spec["parameters"] = bench.profile.grown
    await bench.ready(claimed)
    await bench.use(claimed, bench.main_token, "read", patience=AFTERWARDS)


@case("rotate", "extended", "rotate")
async def rotate(bench: Bench) -> None:
    """A new password is made when it is asked for: it lets one in, the old one does not, the data stays."""
    claimed = main_of(bench)
    before = await bench.secret(claimed.space, claimed.secret)
    old = await copy_secret(bench, claimed, "before-rotation")
    await bench.edit(claimed, metadata={"annotations": {"services.libre.sh/rotate": bench.token()}})
    key = bench.profile.proof[-1]

    async def look() -> bool | str:
        return "the values are the old ones" if await bench.connection(claimed) == values_of(before) else True

    await bench.until(look, f"another {key}")
    await bench.ready(claimed)
    await bench.use(claimed, bench.main_token, "read" if bench.profile.data else "write")
    await until_shut(bench, Claimed(claimed.name, claimed.space, old, claimed.spec), bench.main_token, ("refused",))


async def copy_secret(bench: Bench, claimed: Claimed, name: str) -> str:
    """The connection secret as it is now, under another name, for a later probe."""
    found = await bench.secret(claimed.space, claimed.secret)
    assert found is not None
    header = {"apiVersion": "v1", "kind": "Secret", "metadata": bench.named(name, claimed.space)}
    await bench.client.create({**header, "data": found["data"]})
    return name


@case("clone", "extended", "clone")
async def clone(bench: Bench) -> None:
    """A claim that begins with another one's data has that, and from then on credentials and a life of its own."""
    original, old, new = main_of(bench), bench.token(), bench.token()
    await bench.use(original, old)
    before = await bench.left(original.space)
    source = {"claim": {"name": original.name}}
    copy = await bench.make("copy", source=source, parameters=original.spec["parameters"])
    await bench.ready(copy)
    await bench.use(copy, old, "read")
    await check_apart(bench, original, copy)
    await bench.use(copy, new)
    await check_unseen(bench, original, new)
    await remove(bench, copy)
    await bench.empty(original.space, besides=before)
    await bench.use(original, old, "read")


@case("class-kept")
async def class_kept(bench: Bench) -> None:
    """Once a class serves the claim, another className is refused."""
    try:
        await bench.edit(main_of(bench), spec={"className": "another"})
    except Refused as error:
        if "className" not in f"{error.fields} {error.message}":
            raise Failed(f"the refusal does not name className: {error.message}") from None
        return
    raise Failed("another className was accepted")


# --- mistakes --------------------------------------------------------------------------------------------------------


@case("parameters-refused")
async def parameters_refused(bench: Bench) -> str:
    """Bad parameters, and a bad name, are refused by the API server with the field named."""
    space = await bench.space("a")
    for parameters, field in bench.profile.bad:
        spec = {"className": bench.class_name, "parameters": parameters}
        await refused(bench, Claimed("mistaken", space, "", spec), field)
    await refused(bench, Claimed(LONG_NAME, space, "", main_of(bench).spec), "metadata.name")
    return f"{len(bench.profile.bad) + 1} mistakes"


async def refused(bench: Bench, claimed: Claimed, field: str) -> None:
    try:
        await bench.client.create(bench.manifest(claimed))
    except Refused as error:
        if not any(named.startswith(field) for named in error.fields) and field not in error.message:
            raise Failed(f"the refusal does not name {field}: {error.message}") from None
        return
    await bench.delete(claimed)
    raise Failed(f"{field}: {claimed.spec['parameters']!r} was accepted")


@case("class-parameters-refused")
async def class_parameters_refused(bench: Bench) -> None:
    """A class with a parameter that its driver does not know says so, and names it."""
    cls = await bench.client.get("ServiceClass", bench.class_name)
    assert cls is not None
    if is_outside(cls["spec"]["driver"]):
        raise NotSupported("what its parameters mean is known to its own controller")
    name, field = f"{bench.run}-bad", "noSuchParameter"
    spec = {**cls["spec"], "parameters": {**cls["spec"].get("parameters", {}), field: True}}
    metadata = {"name": name, "labels": bench.labels}
    await bench.client.create(
        {"apiVersion": cls["apiVersion"], "kind": cls["kind"], "metadata": metadata, "spec": spec}
    )

    async def look() -> bool | str:
        found = await bench.client.get("ServiceClass", name)
        stalled = condition(found, "Stalled")
        return True if stalled.get("status") == "True" and field in stalled.get("message", "") else told(found)

    try:
        await bench.until(look, f"the class to refuse {field}", 60)
    finally:
        await bench.client.delete("ServiceClass", name)


@case("class-in-use")
async def class_in_use(bench: Bench) -> None:
    """A class that serves claims cannot be deleted."""
    main_of(bench)
    path = bench.client.kinds["ServiceClass"].path("", bench.class_name)
    try:
        # Only as a trial: the class may be somebody's.
        await bench.client.send("DELETE", path, params={"dryRun": "All"}, what="try to delete the class")
    except LibreshError as error:
        if bench.profile.kind.lower() not in error.message.lower() and "claim" not in error.message.lower():
            raise Failed(f"the refusal does not say why: {error.message}") from None
        return
    raise Failed("the deletion of a class in use was accepted")


# --- the end ---------------------------------------------------------------------------------------------------------


@case("retain")
async def retain(bench: Bench) -> str:
    """Deleted under Retain, a claim of the same name finds its data again."""
    claimed = main_of(bench)
    before = await bench.connection(claimed)
    await bench.delete(claimed)
    await bench.gone(claimed)

    async def look() -> bool | str:
        found = await bench.secret(claimed.space, claimed.secret)
        return True if found is None else "its connection secret is still there"

    await bench.until(look, "the connection secret to go", 60)
    await bench.again(claimed)
    await bench.ready(claimed)
    await bench.use(claimed, bench.main_token, "read" if bench.profile.data else "write", patience=AFTERWARDS)
    same = await bench.connection(claimed) == before
    return "the connection is the same" if same else "the connection has other values"


@case("delete")
async def delete(bench: Bench) -> None:
    """Deleted under Delete, nothing of the claim remains in its namespace, nor beside the operator."""
    left = await departed(bench)
    await bench.empty(left.claimed.space)
    await bench.nothing_of(left.uid)


@case("revoked")
async def revoked(bench: Bench) -> None:
    """After deletion under Delete the credentials let nobody in any more, and a new claim does not find the data."""
    left = await departed(bench)
    claimed = left.claimed
    await until_shut(bench, Claimed(claimed.name, claimed.space, left.secret, claimed.spec), left.token)
    if bench.profile.data:
        await bench.again(claimed)
        await bench.ready(claimed)
        await check_unseen(bench, claimed, left.token, "the old data, by a new claim of the same name")
        await remove(bench, claimed)


async def departed(bench: Bench) -> Departed:
    """A claim that served and was deleted under Delete; one serves all cases that ask what is left of it."""
    if bench.departed is None:
        claimed, token = await bench.make("leaving", "d", deletionPolicy="Delete"), bench.token()
        found = await bench.ready(claimed)
        await bench.use(claimed, token)
        secret = await copy_secret(bench, claimed, "before-deletion")
        await bench.delete(claimed)
        await bench.gone(claimed)
        bench.departed = Departed(claimed, found["metadata"]["uid"], secret, token)
    return bench.departed


async def until_shut(
    bench: Bench, left: Claimed, token: str, words: tuple[str, ...] = ("refused", "unreachable")
) -> None:
    """A server that many share may take a moment to forget an account."""

    async def look() -> bool | str:
        ((word, said),) = await bench.probe(left, {"do": "read", "token": token, "patience": 2})
        return f"the answer is {word}: {said}" if word not in words else True

    await bench.until(look, "the credentials to be of no use", 90)


# --- many ------------------------------------------------------------------------------------------------------------


@case("crowd")
async def crowd(bench: Bench) -> str:
    """Many claims at once all become ready, have credentials of their own, and all go again."""
    count = await bench.room()
    began = time.monotonic()
    claims = await make_many(bench, count)
    await bench.until(lambda: all_ready(bench, claims), f"{len(claims)} claims to be ready")
    ready = time.monotonic() - began
    await check_own(bench, claims)
    for claimed in (claims[0], claims[-1]):
        await bench.use(claimed, bench.token())
    began = time.monotonic()
    await in_turn([bench.delete(claimed) for claimed in claims])
    await bench.until(lambda: all_gone(bench, claims), f"{len(claims)} claims to be gone")
    for space in sorted({claimed.space for claimed in claims}):
        await bench.empty(space)
    fewer = f", for which the nodes have room, of {bench.crowd} asked for" if count < bench.crowd else ""
    return f"{count} claims{fewer}: ready after {ready:.0f} s, gone after {time.monotonic() - began:.0f} s"


async def make_many(bench: Bench, count: int) -> list[Claimed]:
    parts = [f"c{number}" for number in range(min(CROWD_SPACES, count))]
    for part in parts:
        await bench.space(part)
    names = [(f"n{number}", parts[number % len(parts)]) for number in range(count)]
    return await in_turn([bench.make(name, part, deletionPolicy="Delete") for name, part in names])


async def all_ready(bench: Bench, claims: list[Claimed]) -> bool | str:
    found = await standing(bench, claims)
    waiting = [obj for obj in found.values() if not is_ready(obj)]
    missing = len(claims) - len(found)
    if not waiting and not missing:
        return True
    return f"{len(waiting) + missing} are not ready; one says {told(waiting[0] if waiting else None)}"


async def all_gone(bench: Bench, claims: list[Claimed]) -> bool | str:
    found = await standing(bench, claims)
    return f"{len(found)} are still there" if found else True


async def standing(bench: Bench, claims: list[Claimed]) -> dict[tuple[str, str], Object]:
    found = {}
    for space in sorted({claimed.space for claimed in claims}):
        for obj in await bench.client.list(bench.profile.kind, space):
            found[space, obj["metadata"]["name"]] = obj
    return found


async def check_own(bench: Bench, claims: list[Claimed]) -> None:
    """No two claims have the same credentials."""
    if "isolated" in bench.notes:
        return
    key = bench.profile.own[-1]
    values = await in_turn([bench.connection(claimed) for claimed in claims])
    if len({value[key] for value in values}) != len(claims):
        raise Failed(f"several of {len(claims)} claims have the same {key}")
