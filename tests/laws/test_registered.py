"""The whole operator with a class whose clients register themselves at a provider, on a fake of that."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from laws.whole import Whole, whole
from support.outside import SYSTEM, Outside, decoded, secret_of

Object = dict[str, Any]
CREDENTIALS, CONNECTION = "mine-oidc-credentials", "mine-oidcclient-connection"
RENEW = "libre.sh/renew"
TOKEN = "lets-clients-register"


class Provider(Outside):
    """A fake provider, and what the program `registration` does at it: clients are a dictionary of their secrets."""

    chosen = 0
    lives: timedelta | None = None
    """How long secrets live. None: for ever."""

    def do(self, job: Object) -> None:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        program, task = container["args"]
        order = json.loads(container["env"][0]["value"])
        files = decoded(self.api.get("Secret", secret_of(job), SYSTEM))
        held = {name.partition(".")[0] for name in files if name.endswith(".client-id")}
        for edition in sorted(held - set(order["editions"])):
            self.accounts.pop(files[f"{edition}.client-id"], None)
        if task == "provide":
            kept = {name: files[name] for name in files if name.partition(".")[0] in order["editions"]}
            notes = dict(each.split("=") for each in files.get("notes", "").split(",") if each.count("=") == 1)
            self.give(job, order, kept, {edition: notes[edition] for edition in order["editions"] if edition in notes})
        self.done.append(f"{program} {task} {' '.join(order['editions'])}".strip())

    def give(self, job: Object, order: Object, values: dict[str, str], notes: dict[str, str]) -> None:
        """Registers what is not there, and puts all of it where the pod's account may: what is not given is gone."""
        for edition in order["editions"]:
            if f"{edition}.client-id" not in values:
                self.chosen += 1
                client = f"client-{self.chosen}"
                self.accounts[client] = {f"secret-{self.chosen}"}
                parts = {"client-id": client, "client-secret": f"secret-{self.chosen}", "told": "{}"}
                parts |= {"registration-access-token": "t", "registration-client-uri": "https://login.example.org/c"}
                values |= {f"{edition}.{part}": value for part, value in parts.items()}
                if self.lives is not None:
                    notes[edition] = (datetime.now(UTC) + self.lives).strftime("%Y-%m-%dT%H:%M:%SZ")
        env = {each["name"]: each.get("value") for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        namespace, _, name = str(env["LIBRESH_GIVES"]).partition("/")
        before = decoded(self.api.get("Secret", name, namespace))
        data: Object = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        data |= {key: None for key in before if key not in values}
        text = ",".join(f"{edition}={due}" for edition, due in notes.items())
        metadata = {"annotations": {RENEW: text or None}}
        self.api.edit("Secret", name, namespace, manager="libresh-errand", data=data, metadata=metadata)


def registering(**parameters: Any) -> Object:
    given = {"issuer": "https://login.example.org", "initialAccessTokenRef": {"name": "initial"}, **parameters}
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": "outside"},
        "spec": {"claimKind": "OIDCClient", "driver": "registration", "parameters": given},
    }


def initial() -> Object:
    metadata = {"name": "initial", "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": TOKEN}}


def claim(**spec: Any) -> Object:
    return {
        "apiVersion": "identity.libre.sh/v1alpha1",
        "kind": "OIDCClient",
        "metadata": {"name": "mine", "namespace": "team"},
        "spec": {"className": "outside", "parameters": {"redirectUris": ["https://wiki.example.org/cb"]}, **spec},
    }


@asynccontextmanager
async def prepared(*objects: Object, **spec: Any) -> AsyncIterator[tuple[Whole, Provider]]:
    async with whole(registering(), *(objects or (initial(),))) as found:
        provider = Provider(found.api, found.workloads)
        found.api.create(claim(**spec))
        yield found, provider


@asynccontextmanager
async def world(*objects: Object, **spec: Any) -> AsyncIterator[tuple[Whole, Provider]]:
    """A claim that is served, settled."""
    async with prepared(*objects, **spec) as (found, provider):
        await found.start()
        await found.settle()
        yield found, provider


def ready(found: Whole) -> Object:
    return found.ready("OIDCClient", "mine", "team")


def published(found: Whole) -> dict[str, str]:
    return decoded(found.api.get("Secret", CONNECTION, "team"))


def works(found: Whole, provider: Provider) -> bool:
    connection = published(found)
    return connection["client-secret"] in provider.accounts.get(connection["client-id"], ())


def beside_the_operator(found: Whole) -> list[str]:
    """What errands left in the operator's namespace, and what may write into the claim's."""
    kinds = ("Job", "Secret", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding")
    names = [obj["metadata"]["name"] for kind in kinds for obj in found.api.objects(kind, SYSTEM)]
    names += [obj["metadata"]["name"] for kind in kinds[-2:] for obj in found.api.objects(kind, "team")]
    return [name for name in names if name != "initial" and not name.startswith("embedded-")]


def rotate(found: Whole, text: str) -> None:
    found.api.edit("OIDCClient", "mine", "team", metadata={"annotations": {"services.libre.sh/rotate": text}})


async def test_a_client_registers_once_and_then_there_is_silence() -> None:
    async with world() as (found, provider):
        assert found.not_ready() == {}
        assert works(found, provider)
        assert published(found)["issuer"] == "https://login.example.org"
        assert provider.done == ["registration provide first"]
        assert beside_the_operator(found) == []
        assert await found.restarted() == []


async def test_the_initial_token_is_missed_until_it_is_there_and_stays_with_the_operator() -> None:
    other = {**initial(), "stringData": {"another": "x"}}
    async with world(other) as (found, _):
        assert ready(found)["reason"] == "TokenMissing"
        assert "there is no Secret libresh-system/initial with the key token; make it" in ready(found)["message"]
        assert beside_the_operator(found) == []
        found.api.edit("Secret", "initial", SYSTEM, stringData={"token": TOKEN})
        await found.settle()
        assert found.not_ready() == {}
        everywhere = "".join(str(decoded(secret)) for secret in found.api.objects("Secret", "team"))
        kinds = ("OIDCClient", "Job", "Pod", "Event", "ServiceClass")
        everywhere += "".join(str(obj) for kind in kinds for obj in found.api.objects(kind))
        assert TOKEN not in everywhere


async def test_another_text_is_another_client_and_the_published_one_always_works() -> None:
    async with world() as (found, provider):
        for text in ("once", "again"):
            before = published(found)
            rotate(found, text)
            await found.settle()
            assert found.not_ready() == {}
            assert published(found)["client-id"] != before["client-id"]
            assert works(found, provider)
            assert list(provider.accounts) == [published(found)["client-id"]], "the one before is removed"
        assert provider.locked_out == []
        assert beside_the_operator(found) == []


async def test_a_secret_that_ends_has_a_successor_in_time_and_it_is_told_when() -> None:
    async with prepared() as (found, provider):
        provider.lives = timedelta(days=20)
        await found.start()
        await found.settle()
        first = published(found)["client-id"]
        assert "the credentials end, others take their place on" in ready(found)["message"]
        provider.lives = None
        due = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        notes = {"annotations": {RENEW: f"first={due}"}}
        found.api.edit("Secret", CREDENTIALS, "team", manager="libresh-errand", metadata=notes)
        await found.settle()
        assert found.not_ready() == {}
        assert published(found)["client-id"] != first
        assert list(provider.accounts) == [published(found)["client-id"]]
        assert provider.locked_out == []
        assert "credentials end" not in ready(found)["message"]
        rotate(found, "once")
        await found.settle()
        assert len(provider.accounts) == 1
        assert works(found, provider)


async def test_what_is_said_of_the_end_and_cannot_be_read_changes_nothing() -> None:
    async with world() as (found, provider):
        for text in ("first", "first=soon", "=,=,first=2020-01-01T00:00:00", "other=2020-01-01T00:00:00Z"):
            notes = {"annotations": {RENEW: text}}
            found.api.edit("Secret", CREDENTIALS, "team", manager="libresh-errand", metadata=notes)
            await found.settle()
            assert found.not_ready() == {}
        assert len(provider.done) == 1


async def test_an_edit_is_told_to_the_provider_and_a_refusal_leaves_ready_what_works() -> None:
    async with world() as (found, provider):
        provider.fails = (3, "login.example.org:443 gave no address to change the client client-1 at (RFC 7592)")
        wish = {"parameters": {"redirectUris": ["https://wiki.example.org/other"]}}
        found.api.edit("OIDCClient", "mine", "team", spec=wish)
        await found.settle()
        assert (ready(found)["status"], ready(found)["reason"]) == ("True", "ServerRefuses")
        assert works(found, provider)
        provider.fails = None
        await found.settle()
        assert found.not_ready() == {}
        assert len(provider.accounts) == 1
        assert ready(found)["reason"] == "Settled"


async def test_delete_removes_the_client_and_retain_keeps_it_for_a_claim_of_the_name() -> None:
    async with world() as (found, provider):
        before, clients = published(found), dict(provider.accounts)
        found.api.delete("OIDCClient", "mine", "team")
        await found.settle()
        assert found.api.get("OIDCClient", "mine", "team") is None
        assert provider.accounts == clients
        assert beside_the_operator(found) == []
        found.api.create(claim(deletionPolicy="Delete"))
        await found.settle()
        assert found.not_ready() == {}
        assert published(found) == before
        found.api.delete("OIDCClient", "mine", "team")
        await found.settle()
        assert found.api.get("OIDCClient", "mine", "team") is None
        assert provider.accounts == {}
        assert beside_the_operator(found) == []
        assert found.api.objects("Secret", "team") == []


async def test_a_provider_that_is_away_holds_the_claim_with_the_way_out() -> None:
    async with world(deletionPolicy="Delete") as (found, provider):
        provider.fails = (1, "login.example.org:443 cannot be reached: Connection refused")
        found.api.delete("OIDCClient", "mine", "team")
        await found.settle()
        assert "cannot be reached" in ready(found)["message"]
        assert '{"spec":{"deletionPolicy":"Retain"}}' in ready(found)["message"]
        provider.fails = None
        await found.settle()
        assert found.api.get("OIDCClient", "mine", "team") is None
        assert provider.accounts == {}


@pytest.mark.parametrize("when", ["after", "before"])
@pytest.mark.parametrize("death", range(1, 26, 6))
async def test_it_may_die_at_any_write(death: int, when: str) -> None:
    """Killed at the same write of each of its three ways: it still provides, rotates and removes."""
    async with prepared(deletionPolicy="Delete") as (found, provider):
        steps = (
            lambda: None,
            lambda: rotate(found, "once"),
            lambda: found.api.delete("OIDCClient", "mine", "team"),
        )
        for step in steps:
            await found.die(death, step, when)
            await found.rise()
            if step is not steps[-1]:
                assert found.not_ready() == {}
                assert works(found, provider)
                assert len(provider.accounts) == 1
            await found.kill()
        assert provider.locked_out == []
        assert set(provider.at_once) == {1}
        assert provider.accounts == {}
        assert found.api.get("OIDCClient", "mine", "team") is None
        assert beside_the_operator(found) == []
        assert found.api.objects("Secret", "team") == []
