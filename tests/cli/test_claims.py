"""`libresh claim explain` and `libresh class check` against the fake API server."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from invoking import Invoke

from support.fakeapi import Server

DEFAULT = {"services.libre.sh/is-default-class": "true"}


def make_class(api: Any, name: str, kind: str = "Redis", *, default: bool = False, **spec: Any) -> None:
    metadata = {"name": name, **({"annotations": DEFAULT} if default else {})}
    spec = {"claimKind": kind, "driver": "embedded", **spec}
    api.create({"apiVersion": "services.libre.sh/v1alpha1", "kind": "ServiceClass", "metadata": metadata, "spec": spec})
    conditions = [{"type": "Ready", "status": "True", "reason": "Settled", "message": "Serves claims"}]
    api.edit("ServiceClass", name, status={"conditions": conditions, "capabilities": ["quota"], "claims": 1})


def make_claim(api: Any, name: str = "cache", **metadata: Any) -> None:
    """A Redis that the class `small` serves, with a connection secret that lacks its uri."""
    claim = {"apiVersion": "cache.libre.sh/v1alpha1", "kind": "Redis", "spec": {}}
    made = api.create({**claim, "metadata": {"name": name, "namespace": "acme", **metadata}})
    secret = f"{name}-redis-connection"
    status = {
        "className": "small",
        "driver": "embedded",
        "parameters": {"storageClass": "slow"},
        "deletionPolicy": "Retain",
        "instance": {"driver": "embedded", "ref": f"StatefulSet acme/{name}-redis (Valkey)"},
        "capabilities": ["quota"],
        "binding": {"name": secret},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Settled", "message": "Valkey is ready"}],
    }
    api.edit("Redis", name, "acme", status=status)
    keys = ("type", "provider", "host", "port", "username", "password")
    data = {key: base64.b64encode(b"s3cret-value").decode() for key in keys}
    owner = {
        "apiVersion": "cache.libre.sh/v1alpha1",
        "kind": "Redis",
        "name": name,
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    metadata = {"name": secret, "namespace": "acme", "ownerReferences": [owner]}
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


async def test_explain(invoke: Invoke, fake_api: Server) -> None:
    make_class(fake_api.api, "small", default=True, parameters={"storageClass": "fast"})
    make_class(fake_api.api, "other")
    make_claim(fake_api.api)
    before = len(fake_api.api.journal)
    told = json.loads((await invoke("claim", "explain", "redis/cache", "-o", "json")).stdout)
    assert told["choice"]["name"] == "small"
    assert "it still has the annotation" in told["choice"]["why"]
    assert told["instance"] == "StatefulSet acme/cache-redis (Valkey)"
    assert told["differences"] == [{"parameter": "storageClass", "claim": "slow", "cls": "fast"}]
    assert told["connection"]["exists"] is True
    assert told["connection"]["lacks"] == ["uri"]
    assert [each["name"] for each in told["swap"]["classes"]] == ["other"]
    assert len(fake_api.api.journal) == before


async def test_explain_never_shows_values(invoke: Invoke, fake_api: Server) -> None:
    make_class(fake_api.api, "small", default=True)
    make_claim(fake_api.api)
    for form in ("human", "json"):
        result = await invoke("claim", "explain", "redis/cache", "-n", "acme", "-o", form)
        assert result.exit_code == 0
        assert "password" in result.stdout
        assert "s3cret" not in result.stdout
        assert base64.b64encode(b"s3cret-value").decode() not in result.stdout


async def test_explain_a_claim_of_an_application(invoke: Invoke, fake_api: Server) -> None:
    api = fake_api.api
    spec = {"host": "chat.example.org"}
    matrix = {"apiVersion": "apps.libre.sh/v1alpha1", "kind": "Matrix", "spec": spec}
    api.create({**matrix, "metadata": {"name": "chat", "namespace": "acme"}})
    uid = api.get("Matrix", "chat", "acme")["metadata"]["uid"]
    owner = {"apiVersion": "apps.libre.sh/v1alpha1", "kind": "Matrix", "name": "chat", "uid": uid, "controller": True}
    make_class(api, "small", default=True)
    make_class(api, "other")
    make_claim(api, "chat-cache", ownerReferences=[owner])
    result = await invoke("claim", "explain", "redis/chat-cache")
    assert "redis/chat-cache in acme, made for matrix/chat" in result.stdout
    assert "write spec.cache of matrix/chat as {claim: NEW}" in result.stdout


async def test_explain_where_little_may_be_read(invoke: Invoke, fake_api: Server) -> None:
    make_class(fake_api.api, "small", default=True)
    make_claim(fake_api.api)
    fake_api.api.faults.refuse(403, verb="list", kind="ServiceClass")
    fake_api.api.faults.refuse(403, verb="get", kind="Secret")
    result = await invoke("claim", "explain", "redis/cache")
    assert result.exit_code == 0, result.output
    assert "you may not list ServiceClasses" in result.stdout
    assert "you may not read Secrets in acme" in result.stdout


async def test_explain_takes_claims_only(invoke: Invoke) -> None:
    assert "one of: bucket, oidcclient" in str((await invoke("claim", "explain", "matrix/chat")).exception)
    missing = await invoke("claim", "explain", "pg/none")
    assert missing.exit_code == 1
    assert "There is no PostgreSQL none" in str(missing.exception)


async def test_class_list_says_what_services_can_do(invoke: Invoke, fake_api: Server) -> None:
    make_class(fake_api.api, "small", default=True, parameters={"storageClass": "fast"})
    lines = (await invoke("class", "list")).stdout.splitlines()
    assert lines[0].split() == ["CLASS", "SERVES", "DRIVER", "DEFAULT", "CLAIMS", "STATE", "CAN", "URL"]
    assert lines[1].split() == ["small", "Redis", "embedded", "yes", "1", "ready", "quota", "-"]
    (told,) = json.loads((await invoke("class", "list", "-o", "json")).stdout)
    assert told == {
        "name": "small",
        "state": "ready",
        "reason": "Settled",
        "message": "Serves claims",
        "serves": "Redis",
        "driver": "embedded",
        "default": True,
        "claims": 1,
        "capabilities": ["quota"],
        "deletionPolicy": "Retain",
        "parameters": {"storageClass": "fast"},
        "server": "",
        "url": "",
    }


CLASSES = """
apiVersion: v1
kind: Namespace
metadata: {name: acme}
---
apiVersion: services.libre.sh/v1alpha1
kind: ServiceClass
metadata: {name: fast}
spec: {claimKind: Redis, driver: embedded, parameters: {storageClas: fast}}
---
apiVersion: services.libre.sh/v1alpha1
kind: ServiceClass
metadata: {name: office}
spec: {claimKind: PostgreSQL, driver: static, parameters: {secretRef: {name: office}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "classes.yaml"
    path.write_text(CLASSES)
    return str(path)


async def test_check_offline(invoke: Invoke, fake_api: Server, file: str) -> None:
    result = await invoke("class", "check", "--offline", file)
    assert result.exit_code == 1
    assert f"{file}, document 2 (ServiceClass fast): spec.parameters.storageClas" in result.stdout
    assert "did you mean storageClass?" in result.stdout
    assert f"{file}, document 1: Namespace acme, no class of libre.sh" in result.stdout
    assert "not checked  without a cluster: whether Secrets exist" in result.stdout
    assert "2 classes checked, 1 to correct" in result.stdout
    assert not fake_api.api.requests


async def test_check_with_the_cluster(invoke: Invoke, fake_api: Server, file: str) -> None:
    before = len(fake_api.api.journal)
    result = await invoke("class", "check", file, "-o", "json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["ok"] is False
    assert [each["field"] for each in told["findings"]] == [
        "spec.parameters.storageClas",
        "spec.parameters.secretRef.name",
    ]
    assert told["checked"] == ["fast", "office"]
    assert told["skipped"][0]["what"] == "Namespace acme"
    assert len(fake_api.api.journal) == before


async def test_check_from_standard_input(invoke: Invoke) -> None:
    good = CLASSES.partition("---")[0]
    result = await invoke("class", "check", "--offline", "-", stdin=good)
    assert result.exit_code == 0
    assert "There is no class to check" in result.stdout
    result = await invoke("class", "check", "--offline", "-", stdin="a: [")
    assert result.exit_code == 1
    assert "standard input, document 1" in result.stdout
    assert "it is not YAML" in result.stdout


async def test_check_the_classes_of_the_cluster(invoke: Invoke, fake_api: Server) -> None:
    make_class(fake_api.api, "small", default=True)
    result = await invoke("class", "check")
    assert result.exit_code == 0, result.output
    assert "1 class checked, nothing to correct" in result.stdout
    make_class(fake_api.api, "other", default=True)
    make_class(fake_api.api, "wrong", parameters={"size": 1})
    result = await invoke("class", "check")
    assert result.exit_code == 1
    assert "the default for Redis is also: other" in result.stdout
    assert "the default for Redis is also: small" in result.stdout
    assert "cluster, class (ServiceClass wrong): spec.parameters.size" in result.stdout


async def test_check_where_little_may_be_read(invoke: Invoke, fake_api: Server, file: str) -> None:
    fake_api.api.faults.refuse(403, verb="list", kind="ServiceClass")
    fake_api.api.faults.refuse(403, verb="get", kind="Secret")
    told = json.loads((await invoke("class", "check", file, "-o", "json")).stdout)
    assert len(told["unchecked"]) == 2
    assert [each["field"] for each in told["findings"]] == ["spec.parameters.storageClas"]


async def test_check_a_secret_that_no_secret_can_be(invoke: Invoke, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CLASSES.replace("{secretRef: {name: office}}", "{secretRef: {name: ../../nodes}}"))
    told = json.loads((await invoke("class", "check", str(path), "-o", "json")).stdout)
    assert "../../nodes" in told["findings"][-1]["reason"]


async def test_check_without_a_cluster_names_the_way_out(invoke: Invoke, fake_api: Server, file: str) -> None:
    await fake_api.close()
    result = await invoke("class", "check", file)
    assert result.exit_code == 3
    assert "--offline" in str(result.exception)


async def test_check_of_what_is_no_file(invoke: Invoke, tmp_path: Path) -> None:
    for file in (str(tmp_path / "none.yaml"), str(tmp_path), "a\0b"):
        result = await invoke("class", "check", "--offline", file)
        assert result.exit_code == 1
        assert "cannot be read" in str(result.exception)
    assert (await invoke("class", "check", "--offline")).exit_code == 2
