"""The contract stub of the controllers: what an operator sees of workloads that nobody runs."""

import asyncio
from typing import Any

from support.fakeapi import FakeApi, Workloads

POD = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
SELECTOR = {"matchLabels": {"a": "b"}}


def named(name: str) -> dict[str, str]:
    return {"name": name, "namespace": "test"}


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    whole = {"selector": SELECTOR, "template": POD, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": named(name), "spec": whole}


def job(name: str = "job", **spec: Any) -> dict[str, Any]:
    pod = {"spec": {**POD["spec"], "restartPolicy": "Never"}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": named(name), "spec": {"template": pod, **spec}}


def conditions(obj: dict[str, Any] | None) -> dict[str, str]:
    return {c["type"]: c["status"] for c in (obj or {})["status"].get("conditions", ())}


async def test_a_deployment_becomes_available_for_each_generation() -> None:
    api = FakeApi()
    Workloads(api)
    api.apply(deployment(replicas=2))
    assert await api.settle()
    found = api.get("Deployment", "web", "test")
    assert found is not None
    assert (found["status"]["readyReplicas"], found["status"]["observedGeneration"]) == (2, 1)
    assert conditions(found) == {"Available": "True", "Progressing": "True"}
    assert not await api.settle()
    api.apply(deployment(replicas=3))
    await api.settle()
    found = api.get("Deployment", "web", "test")
    assert found is not None
    assert (found["status"]["readyReplicas"], found["status"]["observedGeneration"]) == (3, 2)


async def test_a_held_deployment_waits_until_it_is_released() -> None:
    api = FakeApi()
    workloads = Workloads(api)
    workloads.hold("Deployment", "w*")
    api.apply(deployment())
    await api.settle()
    assert conditions(api.get("Deployment", "web", "test"))["Available"] == "False"
    workloads.release("Deployment", "web")
    await api.settle()
    assert conditions(api.get("Deployment", "web", "test"))["Available"] == "True"


async def test_jobs_complete_fail_or_run_on() -> None:
    api = FakeApi()
    workloads = Workloads(api)
    workloads.fail("Job", "bad-*", message="no space left")
    workloads.hold("Job", "slow")
    for made in (job("good"), job("bad-1"), job("slow"), job("later", suspend=True)):
        api.create(made)
    await api.settle()
    assert conditions(api.get("Job", "good", "test"))["Complete"] == "True"
    assert conditions(api.get("Job", "bad-1", "test"))["Failed"] == "True"
    assert conditions(api.get("Job", "later", "test")) == {"Suspended": "True"}
    slow = api.get("Job", "slow", "test")
    assert slow is not None
    assert slow["status"]["active"] == 1
    workloads.release("Job", "*")
    await api.settle()
    assert conditions(api.get("Job", "slow", "test"))["Complete"] == "True"
    assert conditions(api.get("Job", "bad-1", "test"))["Failed"] == "True"


async def test_members_get_claims_that_outlive_them() -> None:
    api = FakeApi()
    Workloads(api)
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    spec = {"replicas": 2, "serviceName": "db", "selector": SELECTOR, "template": POD, "volumeClaimTemplates": [claim]}
    api.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": named("db"), "spec": spec})
    await api.settle()
    claims = {found["metadata"]["name"]: found["status"] for found in api.objects("PersistentVolumeClaim", "test")}
    assert set(claims) == {"data-db-0", "data-db-1"}
    assert claims["data-db-0"]["phase"] == "Bound"
    assert claims["data-db-0"]["capacity"] == {"storage": "1Gi"}
    api.delete("StatefulSet", "db", "test")
    await api.settle()
    assert len(api.objects("PersistentVolumeClaim", "test")) == 2
    api.delete("PersistentVolumeClaim", "data-db-0", "test")
    assert len(api.objects("PersistentVolumeClaim", "test")) == 2
    await api.settle()
    assert len(api.objects("PersistentVolumeClaim", "test")) == 1


async def test_what_the_stub_writes_is_nobodys_request() -> None:
    api = FakeApi()
    Workloads(api)
    api.apply(deployment())
    await api.settle()
    assert api.journal == []
    assert not api.requests
    managers = [entry["manager"] for entry in (api.get("Deployment", "web", "test") or {})["metadata"]["managedFields"]]
    assert managers == ["test", "kube-controller-manager"]


async def test_a_cron_job_fires_when_it_is_told() -> None:
    api = FakeApi()
    workloads = Workloads(api)
    spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": job()["spec"]}}
    api.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": named("backup"), "spec": spec})
    made = workloads.fire("backup", "test")
    await api.settle()
    assert conditions(api.get("Job", made["metadata"]["name"], "test"))["Complete"] == "True"
    api.delete("CronJob", "backup", "test")
    await api.settle()
    assert api.objects("Job") == []


async def test_live_settles_by_itself() -> None:
    api = FakeApi()
    Workloads(api)
    async with api.live():
        api.apply(deployment())
        async with asyncio.timeout(5):
            while not conditions(api.get("Deployment", "web", "test")):
                await asyncio.sleep(0.01)
