"""The whole operator with a class whose claims are buckets on an S3 that somebody else runs, on a fake of that.

Here the server chooses the keys, and the errand gives them back: what laws/test_outside.py says of accounts holds of
these, too.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from laws.whole import Whole, deaths, whole
from support.outside import SYSTEM, Outside, decoded, secret_of

Object = dict[str, Any]
CREDENTIALS, CONNECTION = "mine-s3-credentials", "mine-bucket-connection"
ABILITIES = {"can.versioning": "true", "can.scoped-key": "true"}


class OutsideS3(Outside):
    """Users with keys that the server chooses. The pod's right to give them back is looked at."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.chosen = 0
        self.loses = False
        """Whether the program is killed beside giving back what the server chose."""

    def do(self, job: Object) -> None:
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        env = {each["name"]: each["value"] for each in container["env"]}
        order, files = json.loads(env["LIBRESH_ORDER"]), decoded(self.api.get("Secret", secret_of(job), SYSTEM))
        assert files["admin-secret-access-key"] == "of-the-administrator"
        task = container["args"][1]
        self.done.append(f"s3 {task}")
        if task == "remove":
            assert "LIBRESH_GIVES" not in env
            self.accounts.pop(order["bucket"], None)
            return
        keys = {e: files.get(f"{e}.secret-access-key", "") for e in order["editions"]}
        known = self.accounts.get(order["bucket"], set())
        for edition, key in keys.items():
            if key not in known:
                self.chosen += 1
                keys[edition] = f"chosen-{self.chosen}"
        self.accounts[order["bucket"]] = set(keys.values())
        if self.loses:
            self.loses = False
            return
        namespace, name = env["LIBRESH_GIVES"].split("/")
        assert self.may_patch(pod["serviceAccountName"], namespace, name)
        values = {f"{e}.access-key-id": key.upper() for e, key in keys.items()}
        values |= {f"{e}.secret-access-key": key for e, key in keys.items()} | ABILITIES
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}
        encoded = {key: encode(value) for key, value in values.items()}
        self.api.apply({**secret, "data": encoded}, "libresh-errand", force=True)

    def may_patch(self, account: str, namespace: str, name: str) -> bool:
        """As Kubernetes would decide it, of the objects that are there."""
        subject = {"kind": "ServiceAccount", "name": account, "namespace": SYSTEM}
        roles = [
            binding["roleRef"]["name"]
            for binding in self.api.objects("RoleBinding", namespace)
            if subject in binding["subjects"]
        ]
        rules = [rule for role in roles for rule in (self.api.get("Role", role, namespace) or {})["rules"]]
        right = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["patch"]}
        return rules == [right] and self.api.get("ServiceAccount", account, SYSTEM) is not None

    def check_published(self) -> None:
        data = decoded(self.api.get("Secret", CONNECTION, "team"))
        if data and data["secret-access-key"] not in self.accounts.get(data["bucket"], {data["secret-access-key"]}):
            self.locked_out.append(data["bucket"])


def encode(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def admin() -> Object:
    data = {"access-key-id": "ROOT", "secret-access-key": "of-the-administrator"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "admin", "namespace": SYSTEM},
        "stringData": data,
    }


def build_class(**parameters: Any) -> Object:
    given = {"endpoint": "https://s3.example.org", "adminSecretRef": {"name": "admin"}, **parameters}
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": "outside"},
        "spec": {"claimKind": "Bucket", "driver": "s3", "parameters": given},
    }


def claim(**spec: Any) -> Object:
    return {
        "apiVersion": "objectstore.libre.sh/v1alpha1",
        "kind": "Bucket",
        "metadata": {"name": "mine", "namespace": "team"},
        "spec": {"className": "outside", **spec},
    }


@asynccontextmanager
async def prepared(**spec: Any) -> AsyncIterator[tuple[Whole, OutsideS3]]:
    async with whole(build_class(), admin()) as found:
        outside = OutsideS3(found.api, found.workloads)
        found.api.create(claim(**spec))
        yield found, outside


@asynccontextmanager
async def world(**spec: Any) -> AsyncIterator[tuple[Whole, OutsideS3]]:
    async with prepared(**spec) as (found, outside):
        await found.rise()
        yield found, outside


def status(found: Whole) -> Object:
    obj = found.api.get("Bucket", "mine", "team")
    assert obj is not None
    return dict(obj["status"])


def condition(found: Whole, type: str) -> Object:
    return next((each for each in status(found)["conditions"] if each["type"] == type), {})


def published(found: Whole) -> dict[str, str]:
    return decoded(found.api.get("Secret", CONNECTION, "team"))


def works(found: Whole, outside: OutsideS3) -> bool:
    return outside.accounts[published(found)["bucket"]] == {published(found)["secret-access-key"]}


def left(found: Whole) -> list[str]:
    """What errands left, in any namespace."""
    kinds = ("Job", "Secret", "NetworkPolicy", "ServiceAccount", "Role", "RoleBinding")
    names = [
        obj["metadata"]["name"] for kind in kinds for obj in found.api.objects(kind) if kind != "Secret" or is_here(obj)
    ]
    return [name for name in names if name != "admin" and not name.startswith("embedded-")]


def is_here(secret: Object) -> bool:
    return bool(secret["metadata"]["namespace"] == SYSTEM)


def annotate(found: Whole, text: str) -> None:
    found.api.edit("Bucket", "mine", "team", metadata={"annotations": {"services.libre.sh/rotate": text}})


async def test_a_bucket_is_made_once_and_then_there_is_silence() -> None:
    async with world() as (found, outside):
        assert found.not_ready() == {}
        assert works(found, outside)
        assert left(found) == []
        assert len(outside.done) == 1
        (bucket,) = outside.accounts
        assert bucket.startswith("team-mine-")
        connection = published(found)
        assert connection["endpoint"] == "https://s3.example.org"
        assert connection["uri"] == f"s3://CHOSEN-1:chosen-1@s3.example.org:443/{bucket}"
        assert status(found)["capabilities"] == ["rotate", "scoped-key", "versioning"]
        assert status(found)["instance"]["ref"] == f"https://s3.example.org/{bucket}"
        assert await found.written_within(0.5) == []
        assert await found.restarted() == []
        shown = "".join(str(obj) for kind in ("Bucket", "Job", "Event", "Pod") for obj in found.api.objects(kind))
        assert "chosen-1" not in shown
        assert "of-the-administrator" not in shown


async def test_another_text_is_another_key_and_nobody_is_locked_out_meanwhile() -> None:
    async with world() as (found, outside):
        for number, text in enumerate(("once", "again"), 2):
            annotate(found, text)
            await found.settle()
            assert found.not_ready() == {}
            assert published(found)["secret-access-key"] == f"chosen-{number}"
            assert works(found, outside)
            credentials = decoded(found.api.get("Secret", CREDENTIALS, "team"))
            assert len([key for key in credentials if key.endswith(".secret-access-key")]) == 1
        assert outside.locked_out == []
        assert left(found) == []


async def test_what_was_lost_on_the_way_back_is_asked_for_again() -> None:
    async with prepared() as (found, outside):
        outside.loses = True
        await found.rise()
        assert found.not_ready() == {}
        assert works(found, outside)


@pytest.mark.parametrize("what", ["changed", "deleted"])
async def test_credentials_of_another_hand_are_noticed(what: str) -> None:
    async with world() as (found, outside):
        if what == "changed":
            found.api.edit("Secret", CREDENTIALS, "team", data={"first.secret-access-key": encode("invented")})
        else:
            found.api.delete("Secret", CREDENTIALS, "team")
        await found.settle()
        assert found.not_ready() == {}
        assert works(found, outside)
        assert left(found) == []


async def test_retain_leaves_all_and_a_new_claim_finds_it() -> None:
    async with world() as (found, outside):
        before = published(found)
        found.api.delete("Bucket", "mine", "team")
        await found.settle()
        assert found.api.get("Bucket", "mine", "team") is None
        assert (len(outside.accounts), outside.done, left(found)) == (1, ["s3 provide"], [])
        assert [secret["metadata"]["name"] for secret in found.api.objects("Secret", "team")] == [CREDENTIALS]
        found.api.create(claim())
        await found.settle()
        assert found.not_ready() == {}
        assert published(found) == before


async def test_a_refusal_says_what_to_do_and_leaves_ready_what_works() -> None:
    async with world() as (found, outside):
        said = "spec.parameters.versioning: s3.example.org:443 keeps no versions; do without, or name another class"
        outside.fails = (3, said)
        found.api.edit("Bucket", "mine", "team", spec={"parameters": {"versioning": True}})
        await found.settle()
        assert condition(found, "Stalled")["message"] == said
        assert (condition(found, "Ready")["status"], condition(found, "Ready")["reason"]) == ("True", "ServerRefuses")
        outside.fails = None
        found.api.edit("Bucket", "mine", "team", spec={"parameters": {"versioning": False}})
        await found.settle()
        assert not condition(found, "Stalled")
        assert left(found) == []


@pytest.mark.parametrize("when", ["after", "before"])
@pytest.mark.parametrize("death", deaths(range(1, 33, 4)))
async def test_it_may_die_at_any_write(death: int, when: str) -> None:
    """Killed at the same write of each of its three ways: it still provides, rotates and removes."""
    async with prepared(deletionPolicy="Delete") as (found, outside):
        steps = (lambda: None, lambda: annotate(found, "once"), lambda: found.api.delete("Bucket", "mine", "team"))
        for step in steps:
            await found.die(death, step, when)
            await found.rise()
            if step is not steps[-1]:
                assert found.not_ready() == {}
                assert works(found, outside)
            await found.kill()
        assert outside.locked_out == []
        assert set(outside.at_once) == {1}
        assert outside.accounts == {}
        assert found.api.get("Bucket", "mine", "team") is None
        assert left(found) == []
        assert found.api.objects("Secret", "team") == []
