"""The whole operator with claims and applications that require more than a class promises: told, and nothing made."""

from typing import Any

import pytest

from laws.samples import CLAIM_PARAMETERS
from laws.whole import Whole, matrix, whole
from libresh.api import CLAIMS
from libresh.api.claims import Claim

Object = dict[str, Any]
FIRST, *OTHERS = CLAIMS
KINDS = [FIRST, *(pytest.param(type, marks=pytest.mark.thorough) for type in OTHERS)]
EVERY_KIND = pytest.mark.parametrize("type", KINDS, ids=lambda type: type.KIND.kind)
MEMBERS = {"members": 3}
"""Buckets of three members survive a node and keep no versions; those of one the other way round."""


def claim(type: type[Claim], **spec: Any) -> Object:
    parameters = CLAIM_PARAMETERS.get(type.KIND.kind, {})
    return {
        "apiVersion": type.KIND.api_version,
        "kind": type.KIND.kind,
        "metadata": {"name": "mine", "namespace": "team"},
        "spec": {"parameters": parameters, **spec},
    }


def cls(name: str, kind: str = "Bucket", driver: str = "embedded", **parameters: Any) -> Object:
    return {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": name},
        "spec": {"claimKind": kind, "driver": driver, "parameters": parameters},
    }


def bucket(**spec: Any) -> Object:
    return claim(next(type for type in CLAIMS if type.KIND.kind == "Bucket"), **spec)


def told(found: Whole, kind: str, name: str = "mine") -> dict[str, tuple[str, str, str]]:
    """The conditions of an object: status, reason and message by type."""
    obj = found.api.get(kind, name, "team") or {}
    conditions = obj.get("status", {}).get("conditions", [])
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in conditions}


async def silent(found: Whole) -> None:
    """An operator that starts anew finds nothing to write."""
    await found.kill()
    since = len(found.api.journal)
    await found.rise()
    assert [str(write) for write in found.api.journal[since:] if write.changed] == []


@EVERY_KIND
async def test_what_the_default_class_does_not_promise_is_not_made(type: type[Claim]) -> None:
    kind = type.KIND.kind
    async with whole() as found:
        await found.rise()
        before = found.state()
        found.api.create(claim(type, requires=["pitr", "rotate"]))
        await found.settle()
        status, reason, message = told(found, kind)["Ready"]
        assert (status, reason) == ("False", "CapabilityMissing")
        of = f"ServiceClass embedded-{kind.lower()} (driver embedded)"
        assert message.startswith(f"spec.requires: {of} does not promise pitr, rotate; no class for {kind} ")
        assert "promises all of it: take pitr, rotate out" in message
        assert told(found, kind)["Stalled"][0] == "True"
        assert found.state() == before, "nothing was made for it"
        assert "className" not in found.api.get(kind, "mine", "team")["status"]
        await silent(found)
        found.api.edit(kind, "mine", "team", spec={"requires": None})
        await found.settle()
        assert found.not_ready() == {}
        await silent(found)


@EVERY_KIND
async def test_what_the_class_promises_is_served(type: type[Claim]) -> None:
    kind = type.KIND.kind
    async with whole() as found:
        await found.rise()
        promised = found.api.get("ServiceClass", f"embedded-{kind.lower()}")["status"]["capabilities"]
        assert promised
        found.api.create(claim(type, requires=promised))
        await found.settle()
        assert found.not_ready() == {}
        await silent(found)


@EVERY_KIND
async def test_a_claim_that_is_served_and_asks_for_more_is_served_on(type: type[Claim]) -> None:
    kind = type.KIND.kind
    async with whole(claim(type)) as found:
        await found.rise()
        assert found.not_ready() == {}
        before, binding = found.state(), found.api.get(kind, "mine", "team")["status"]["binding"]
        found.api.edit(kind, "mine", "team", spec={"requires": ["pitr"]})
        await found.settle()
        conditions = told(found, kind)
        assert conditions["Ready"][:2] == ("True", "CapabilityMissing")
        assert conditions["Stalled"][:2] == ("True", "CapabilityMissing")
        assert "spec.requires: the service of this claim cannot do pitr" in conditions["Stalled"][2]
        assert found.state() == before
        assert found.api.get(kind, "mine", "team")["status"]["binding"] == binding
        await silent(found)
        found.api.edit(kind, "mine", "team", spec={"requires": None})
        await found.settle()
        assert set(told(found, kind)) == {"Ready"}


async def test_it_is_provisioned_as_soon_as_its_class_promises_what_is_required() -> None:
    async with whole(cls("wide", **MEMBERS), bucket(className="wide", requires=["versioning"])) as found:
        await found.rise()
        assert (
            "name a class that promises all of it in spec.className: embedded-bucket; or"
            in told(found, "Bucket")["Ready"][2]
        )
        found.api.edit("ServiceClass", "wide", spec={"parameters": {"members": 1}})
        await found.settle()
        assert found.not_ready() == {}
        assert found.api.get("Bucket", "mine", "team")["status"]["className"] == "wide"


async def test_it_is_provisioned_by_another_class_that_is_named() -> None:
    async with whole(cls("wide", **MEMBERS), bucket(className="wide", requires=["versioning"])) as found:
        await found.rise()
        found.api.edit("Bucket", "mine", "team", spec={"className": "embedded-bucket"})
        await found.settle()
        assert found.not_ready() == {}


async def test_a_controller_outside_gets_a_claim_once_it_says_that_its_class_can() -> None:
    hosted = cls("hosted", driver="example.org/hosted")
    async with whole(hosted, bucket(className="hosted", requires=["ha"])) as found:
        await found.rise()
        assert told(found, "Bucket")["Ready"][1] == "CapabilityMissing"
        assert "driver" not in found.api.get("Bucket", "mine", "team")["status"]
        status = found.api.get("ServiceClass", "hosted")["status"]
        found.api.edit("ServiceClass", "hosted", status={**status, "capabilities": ["ha"]})
        await found.settle()
        assert found.api.get("Bucket", "mine", "team")["status"]["driver"] == "example.org/hosted"
        assert told(found, "Bucket")["Ready"][1] == "OutsideDriver"


async def test_an_application_requires_it_of_the_claim_that_is_made_for_it() -> None:
    """And the way out that the message names is open: another class, while none serves the claim."""
    wish = {"className": "wide", "requires": ["versioning", "expand"]}
    async with whole(cls("wide", **MEMBERS), matrix(objectStore=wish)) as found:
        await found.rise()
        made = found.api.get("Bucket", "chat-media", "team")
        assert made["spec"]["requires"] == ["expand", "versioning"]
        assert told(found, "Bucket", "chat-media")["Ready"][1] == "CapabilityMissing"
        status, reason, message = told(found, "Matrix", "chat")["Stalled"]
        assert (status, reason) == ("True", "NeedStalled")
        assert "Bucket chat-media: spec.requires: ServiceClass wide (driver embedded) does not promise" in message
        assert not found.api.objects("Job")
        await silent(found)
        found.api.edit("Matrix", "chat", "team", spec={"objectStore": {**wish, "className": "embedded-bucket"}})
        await found.settle()
        assert found.not_ready() == {}
        assert found.api.get("Bucket", "chat-media", "team")["status"]["className"] == "embedded-bucket"
        await silent(found)


async def test_an_application_that_runs_and_asks_for_more_runs_on() -> None:
    async with whole(matrix()) as found:
        await found.rise()
        assert found.not_ready() == {}
        before = found.state()
        found.api.edit("Matrix", "chat", "team", spec={"database": {"requires": ["ha"]}})
        await found.settle()
        conditions = told(found, "Matrix", "chat")
        assert conditions["Ready"][:2] == ("True", "CapabilityMissing")
        assert conditions["Stalled"][2].startswith("spec.database.requires: PostgreSQL chat-db cannot do ha; ")
        assert told(found, "PostgreSQL", "chat-db")["Stalled"][1] == "CapabilityMissing"
        assert found.state() == before
        await silent(found)
        found.api.edit("Matrix", "chat", "team", spec={"database": None})
        await found.settle()
        assert found.not_ready() == {}
        assert "requires" not in found.api.get("PostgreSQL", "chat-db", "team")["spec"]
        assert set(told(found, "Matrix", "chat")) == {"Ready"}
