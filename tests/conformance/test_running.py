"""The suite over the fake API server, with the whole operator: what it finds out, also of drivers that are wrong."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from laws.whole import Whole, whole
from libresh import operator
from libresh.conformance import bench, cases, running
from libresh.conformance.model import FAILED, PASSED, SKIPPED, UNSUPPORTED, Report
from libresh.conformance.running import Nobody, Options
from libresh.kube import composed
from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.kube.kinds import Kinds
from support.contracts import CloudNativePG
from support.fakeapi import FakeApi, workloads

Object = dict[str, Any]
WITHOUT_POLICIES = (
    *("use", "wrong-credentials", "isolated", "secret-healed", "class-parameters-refused"),
    *("restart", "expand", "rotate", "clone", "retain", "delete", "revoked", "crowd"),
)
"""The cases that do not stand on what the fake cannot do: rules, admission policies and pods that run."""
OPERATOR: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "libresh-operator",
        "namespace": "libresh-system",
        "labels": {"app.kubernetes.io/name": "libresh-operator"},
    },
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "containers": [{"name": "operator", "image": "i", "env": [{"name": "LIBRESH_DOMAIN", "value": "x"}]}]
            },
        },
    },
}


DATABASES: Object = {
    "apiVersion": "services.libre.sh/v1alpha1",
    "kind": "ServiceClass",
    "metadata": {"name": "databases"},
    "spec": {"claimKind": "PostgreSQL", "driver": "cloudnative-pg", "parameters": {"images": {"17": "i/pg:17"}}},
}


class FakeServices:
    """A fake of the kubelet, of the probe and of every Redis: who may enter is read from the Secrets that exist."""

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        self.data: set[tuple[str, str]] = set()
        self.lets_everybody_in = False
        self.forgets = False
        api.controllers.append(self.step)
        api.programs = self.program

    def program(self, space: str, pod: str, given: bytes) -> bytes:
        """The probe, in a pod that is there already."""
        assert self.api.get("Pod", pod, space) is not None
        asked = json.loads(given)
        return self.answers(asked["steps"], asked["bindings"])

    def step(self) -> None:
        for space in self.api.objects("Namespace"):
            name = space["metadata"]["name"]
            leaving = "deletionTimestamp" in space["metadata"]
            if not leaving and self.api.get("ServiceAccount", "default", name) is None:
                account = {"apiVersion": "v1", "kind": "ServiceAccount"}
                self.api.create({**account, "metadata": {"name": "default", "namespace": name}})
        for pod in self.api.objects("Pod"):
            done = "containerStatuses" in pod.get("status", {})
            if pod["metadata"]["name"].startswith("conformance-probe") and not done:
                self.run(pod)

    def run(self, pod: Object) -> None:
        meta, spec = pod["metadata"], pod["spec"]
        env = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
        volumes = {each["name"]: each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each}
        bindings = {key.removeprefix("b-"): self.values(name, meta["namespace"]) for key, name in volumes.items()}
        said = self.answers(json.loads(env["STEPS"]), bindings).decode()
        ended = {"terminated": {"exitCode": 0, "message": said, "reason": "Completed"}}
        stays = spec["containers"][0]["command"][0] == "sleep"
        state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}} if stays else ended
        status = {"name": "probe", "image": "i", "imageID": "", "ready": stays, "restartCount": 0, "state": state}
        phase = "Running" if stays else "Succeeded"
        self.api.edit("Pod", meta["name"], meta["namespace"], status={"phase": phase, "containerStatuses": [status]})

    def answers(self, steps: list[Object], bindings: dict[str, dict[str, str]]) -> bytes:
        return json.dumps([[self.answer(step, bindings), "as the fake says"] for step in steps]).encode()

    def values(self, name: str, space: str) -> dict[str, str]:
        data = (self.api.get("Secret", name, space) or {}).get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def answer(self, step: Object, bindings: dict[str, dict[str, str]]) -> str:
        given = dict(bindings[step["binding"]])
        for key in step.get("keys", ()):
            given[key] = bindings[step["keys_of"]][key] if "keys_of" in step else given[key] + "x"
        server = self.server(given["host"])
        if server is None:
            return "unreachable"
        volume, password = server
        if given["password"] != password and not self.lets_everybody_in:
            return "refused"
        if step["do"] == "write":
            self.data.add((volume, step["token"]))
        return "ok" if (volume, step["token"]) in self.data and not self.forgets else "missing"

    def server(self, host: str) -> tuple[str, str] | None:
        """The volume and the password of the server at an address."""
        name, space, _ = host.split(".")
        volume = self.api.get("PersistentVolumeClaim", f"{name}-data", space)
        if self.api.get("StatefulSet", name, space) is None or volume is None:
            return None
        return volume["metadata"]["uid"], self.values(f"{name}-credentials", space)["password"]


class FakeClusters(FakeServices):
    """A fake of what runs behind the Clusters of CloudNativePG's contract stub, which writes their Secrets."""

    KIND = "postgresql.cnpg.io/v1/Cluster"
    copies_nothing = shares_all = takes_along = False

    def __init__(self, api: FakeApi) -> None:
        super().__init__(api)
        self.sources: dict[str, str] = {}
        """Whose data each Cluster began with, by uid."""
        for definition in CloudNativePG.crds:
            api.install(definition)
        CloudNativePG(api)

    def step(self) -> None:
        super().step()
        found = {obj["metadata"]["uid"]: obj for obj in self.api.objects(self.KIND)}
        for uid in found.keys() - self.sources.keys():
            self.sources[uid] = self.source_of(found[uid])
            if not self.copies_nothing:
                self.data |= {(uid, token) for volume, token in self.data if volume == self.sources[uid]}
        gone = [self.sources.pop(uid) for uid in self.sources.keys() - found.keys()]
        if self.takes_along:
            self.data = {(volume, token) for volume, token in self.data if volume not in gone}

    def source_of(self, obj: Object) -> str:
        (start,) = obj["spec"]["bootstrap"].values()
        source = self.api.get(self.KIND, start.get("source", ""), obj["metadata"]["namespace"])
        return str(source["metadata"]["uid"]) if source else ""

    def server(self, host: str) -> tuple[str, str] | None:
        service, space, *_ = host.split(".")
        name = service.removesuffix("-rw")
        obj = self.api.get(self.KIND, name, space)
        if obj is None:
            return None
        volume = (self.shares_all and self.source_of(obj)) or obj["metadata"]["uid"]
        return volume, self.values(f"{name}-app", space)["password"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(workloads.STATUSES, "Pod")  # what pods say is for FakeServices to write
    monkeypatch.setattr(cases, "QUIET", 0.3)
    monkeypatch.setattr(bench, "TICK", 0.03)
    monkeypatch.setattr(composed, "LOOK_AGAIN", composed.LOOK_AGAIN / 100)


@asynccontextmanager
async def world(made: type[FakeServices] = FakeServices) -> AsyncIterator[tuple[Whole, FakeServices, Client]]:
    async with whole(OPERATOR) as found:
        services = made(found.api)
        await found.start()
        async with (
            found.api.live(),
            Client(Access(server=found.server.url), Kinds(operator.types())) as client,
        ):
            yield found, services, client


async def run(client: Client, *chosen: str, driver: str = "embedded", kind: str = "Redis", **options: Any) -> Report:
    given = {"crowd": 5, "patience": 10.0, "cases": chosen or WITHOUT_POLICIES, **options}
    return await running.run_kind(client, Options(driver, **given), kind, Nobody())


def statuses(report: Report, *chosen: str) -> dict[str, str]:
    return {each.case: each.status for each in report.results if each.case in chosen}


async def test_a_driver_that_keeps_the_contract_passes_and_nothing_is_left() -> None:
    async with world() as (found, _, client):
        report = await run(client)
        assert [f"{each.case}: {each.message}" for each in report.results if each.status == FAILED] == []
        assert {each.case for each in report.results if each.status == PASSED} == {
            *("provision", "use", "wrong-credentials", "isolated", "secret-healed", "class-parameters-refused"),
            *("retain", "delete", "revoked", "crowd"),
        }
        others = ("restart", "expand", "rotate", "clone")
        assert statuses(report, *others) == dict.fromkeys(others, UNSUPPORTED)
        assert statuses(report, "class-kept") == {"class-kept": SKIPPED}
        kinds = ("Namespace", "ServiceClass", "Redis", "Secret", "ConfigMap", "PersistentVolumeClaim", "Pod")
        left = [obj["metadata"] for kind in kinds for obj in found.api.objects(kind)]
        assert [meta["name"] for meta in left if "cf-" in meta["name"] + meta.get("namespace", "")] == []


FAULTS: dict[str, tuple[Callable[[FakeServices], None], str]] = {
    "a server that lets everybody in": (lambda s: setattr(s, "lets_everybody_in", True), "wrong-credentials"),
    "a server that forgets": (lambda s: setattr(s, "forgets", True), "use"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_driver_that_breaks_the_contract_fails(fault: str) -> None:
    spoil, case = FAULTS[fault]
    async with world() as (_, services, client):
        spoil(services)
        report = await run(client, case)
        assert statuses(report, case) == {case: FAILED}
        assert report.failed


COPIES = {
    "as it must be": ("", PASSED, ""),
    "that begins empty": ("copies_nothing", FAILED, "reading by the connection: missing"),
    "that lets the other's password in": ("lets_everybody_in", FAILED, "the other claim's username and password"),
    "that goes on writing to its original": ("shares_all", FAILED, "the other claim's data: the answer is ok"),
    "that takes its original along": ("takes_along", FAILED, "reading by the connection: missing"),
}


GOOD, *BAD = COPIES


@pytest.mark.parametrize("copy", [GOOD, *(pytest.param(copy, marks=pytest.mark.thorough) for copy in BAD)])
async def test_a_copy_is_judged(copy: str) -> None:
    fault, status, said = COPIES[copy]
    async with world(FakeClusters) as (found, services, client):
        found.api.create(DATABASES)
        if fault:
            setattr(services, fault, True)
        report = await run(client, "clone", driver="cloudnative-pg", kind="PostgreSQL", class_name="databases")
        (result,) = [each for each in report.results if each.case == "clone"]
        assert (result.status, said in result.message) == (status, True), result.message


async def test_a_claim_that_never_becomes_ready_fails_and_says_why() -> None:
    async with world() as (found, _, client):
        found.workloads.hold("StatefulSet", "main-redis")
        report = await run(client, patience=1.0)
        first = report.results[0]
        assert (first.case, first.status) == ("provision", FAILED)
        assert "Valkey is starting" in first.message
        assert {each.status for each in report.results[1:]} <= {SKIPPED, UNSUPPORTED}


async def test_a_class_can_say_what_is_not_to_be_expected() -> None:
    cls = {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {
            "name": "mine",
            "annotations": {
                "conformance.libre.sh/use": "it is closed today",
                "conformance.libre.sh/stub": "A fake.",
                "conformance.libre.sh/about": "It stands beside.",
            },
        },
        "spec": {"claimKind": "Redis", "driver": "embedded"},
    }
    async with world() as (found, _, client):
        found.api.create(cls)
        report = await run(client, "use", class_name="mine")
        assert [(r.status, r.message) for r in report.results if r.case == "use"] == [
            (UNSUPPORTED, "it is closed today")
        ]
        assert (report.stub, report.about) == ("A fake.", "It stands beside.")
        assert found.api.get("ServiceClass", "mine") is not None
