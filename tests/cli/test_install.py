"""`libresh install` and `uninstall` against the fake API server."""

import asyncio
import json
from typing import Any

import yaml
from invoking import Invoke

from support.fakeapi import Server


async def become_ready(api: Any) -> None:
    """Stand in for the controllers: the operator's Deployment rolls out once it is there."""
    while (found := api.get("Deployment", "libresh-operator", "libresh-system")) is None:
        await asyncio.sleep(0.02)
    ready = {"observedGeneration": found["metadata"]["generation"]}
    ready |= {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
    api.edit("Deployment", "libresh-operator", "libresh-system", status=ready)


async def establish(api: Any) -> None:
    """Stand in for the API server's own controller: definitions are served."""
    while True:
        for crd in api.objects("CustomResourceDefinition"):
            if not (crd.get("status") or {}).get("conditions"):
                served = {"conditions": [{"type": "Established", "status": "True"}]}
                api.edit("CustomResourceDefinition", crd["metadata"]["name"], status=served)
        await asyncio.sleep(0.02)


async def test_dry_run_prints_what_kubectl_would_take(invoke: Invoke, fake_api: Server) -> None:
    result = await invoke("install", "--dry-run", "--image-prefix", "registry.example/lib")
    assert result.exit_code == 0
    found = list(yaml.safe_load_all(result.stdout))
    kinds = [obj["kind"] for obj in found]
    assert kinds[0] == "Namespace"
    assert kinds.index("CustomResourceDefinition") < kinds.index("ClusterRole") < kinds.index("Deployment")
    assert kinds.count("ServiceClass") == 5
    assert "registry.example/lib/libresh:" in result.stdout
    assert fake_api.api.journal == []


async def test_dry_run_as_json_is_a_list(invoke: Invoke) -> None:
    told = json.loads((await invoke("install", "--dry-run", "-o", "json")).stdout)
    assert told["kind"] == "List"
    assert len(told["items"]) > 20


async def test_install_waits_and_a_second_one_changes_nothing(invoke: Invoke, fake_api: Server) -> None:
    api = fake_api.api
    helpers = [asyncio.create_task(establish(api)), asyncio.create_task(become_ready(api))]
    result = await invoke("install", "-o", "json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["ready"] is True
    assert len(told["classes"]) == 5
    before = len(api.journal)
    again = await invoke("install", "-o", "json")
    assert json.loads(again.stdout)["classes"] == []
    assert [write for write in api.journal[before:] if write.changed] == []
    for helper in helpers:
        helper.cancel()


async def test_classes_that_exist_are_left_alone(invoke: Invoke, fake_api: Server) -> None:
    mine = {"claimKind": "PostgreSQL", "driver": "static"}
    fake_api.api.create(
        {"apiVersion": "services.libre.sh/v1alpha1", "kind": "ServiceClass", "metadata": {"name": "mine"}, "spec": mine}
    )
    helper = asyncio.create_task(establish(fake_api.api))
    result = await invoke("install", "--no-wait", "-o", "json")
    helper.cancel()
    assert "embedded-postgresql" not in json.loads(result.stdout)["classes"]
    assert len(json.loads(result.stdout)["classes"]) == 4


async def test_uninstall_keeps_kinds_objects_and_namespace(invoke: Invoke, fake_api: Server) -> None:
    helper = asyncio.create_task(establish(fake_api.api))
    await invoke("install", "--no-wait")
    helper.cancel()
    result = await invoke("uninstall", "--yes")
    assert result.exit_code == 0
    assert fake_api.api.get("Deployment", "libresh-operator", "libresh-system") is None
    assert fake_api.api.get("ClusterRole", "libresh-operator") is None
    assert fake_api.api.get("Namespace", "libresh-system") is not None
    assert len(fake_api.api.objects("ServiceClass")) == 5


async def test_uninstall_refuses_while_something_waits_for_the_operator(invoke: Invoke, fake_api: Server) -> None:
    api = fake_api.api
    claim = {"apiVersion": "cache.libre.sh/v1alpha1", "kind": "Redis"}
    api.create(
        {**claim, "metadata": {"name": "c", "namespace": "acme", "finalizers": ["libre.sh/finalizer"]}, "spec": {}}
    )
    api.delete("Redis", "c", "acme")
    result = await invoke("uninstall", "--yes")
    assert result.exit_code == 1
    assert "Redis acme/c" in str(result.exception)


async def test_uninstall_asks(invoke: Invoke) -> None:
    result = await invoke("uninstall", stdin="n\n")
    assert result.exit_code != 0
