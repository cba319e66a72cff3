"""The whole operator beside the controller of examples/outside-driver: two writers on one object, and no quarrel."""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from laws.whole import Whole, deaths, whole
from libresh.drivers.connection import missing_keys
from support.hoster import Hoster

Object = dict[str, Any]
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "outside-driver"
CLASS, CLAIM = yaml.safe_load_all((EXAMPLE / "class.yaml").read_text())
SECRET = "my-db-postgresql-connection"
RESYNC = 1
PATIENCE = 20.0


@dataclass
class World:
    """The operator, the hoster, and the controller as a process of its own."""

    whole: Whole
    hoster: Hoster
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def serve(self) -> None:
        """Starts the controller."""
        environment = {**os.environ, "API": self.whole.server.url, "HOSTER_TOKEN": self.hoster.token}
        environment["RESYNC"] = str(RESYNC)
        program = str(EXAMPLE / "controller.py")
        self.processes.append(await asyncio.create_subprocess_exec(sys.executable, program, env=environment))

    async def kill(self) -> None:
        for process in self.processes:
            process.kill()
            await process.wait()
        self.processes.clear()

    async def until(self, holds: Callable[[], Any], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not holds():
            assert asyncio.get_running_loop().time() < deadline, f"{what}: in vain; the claim is {self.claim()}"
            await self.whole.api.settle()
            await asyncio.sleep(0.02)

    async def until_ready(self) -> None:
        await self.until(lambda: ready(self.claim()).get("status") == "True", "the claim to be ready")

    def claim(self) -> Object:
        return self.whole.api.get("PostgreSQL", "my-db", "default") or {}

    def cls(self) -> Object:
        return self.whole.api.get("ServiceClass", "hosted") or {}

    def connection(self) -> dict[str, str]:
        secret = self.whole.api.get("Secret", SECRET, "default") or {}
        return {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}

    def written_by(self, manager: str, since: int = 0) -> list[str]:
        """What somebody wrote on claims and classes, and what was stored of it."""
        kinds = ("PostgreSQL", "ServiceClass", "Secret")
        return [str(w) for w in self.whole.api.journal[since:] if w.manager == manager and w.kind in kinds]


def ready(obj: Object) -> Object:
    return next((c for c in obj.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), {})


@asynccontextmanager
async def world(**spec: Any) -> AsyncIterator[World]:
    async with Hoster() as hoster:
        cls = {**CLASS, "spec": {**CLASS["spec"], "parameters": {"url": hoster.url}}}
        async with whole(cls) as found:
            made = World(found, hoster)
            found.api.create({**CLAIM, "spec": {**CLAIM["spec"], **spec}})
            await found.start()
            await found.settle()
            try:
                yield made
            finally:
                await made.kill()


async def test_while_nobody_serves_it_the_claim_and_the_class_say_so() -> None:
    async with world() as found:
        claim = found.claim()
        assert claim["status"]["className"] == "hosted"
        assert claim["status"]["driver"] == "example.org/hosted"
        assert claim["status"]["parameters"] == {"url": found.hoster.url}
        assert claim["status"]["deletionPolicy"] == "Retain"
        assert "finalizers" not in claim["metadata"]
        assert (ready(claim)["status"], ready(claim)["reason"]) == ("Unknown", "OutsideDriver")
        assert "ServiceClass hosted has the driver example.org/hosted" in ready(claim)["message"]
        assert (ready(found.cls())["status"], ready(found.cls())["reason"]) == ("Unknown", "OutsideDriver")
        await found.until(lambda: found.cls()["status"]["claims"] == 1, "the class to count it")


async def test_the_example_makes_a_claim_ready_and_then_nobody_of_us_writes() -> None:
    async with world() as found:
        await found.serve()
        await found.until_ready()
        await found.whole.settle()
        status, made = found.claim()["status"], found.hoster.databases["default.my-db"]
        assert status["binding"] == {"name": SECRET}
        assert status["className"] == "hosted"
        assert status["capabilities"] == found.cls()["status"]["capabilities"] == ["quota"]
        assert ready(found.cls())["status"] == "True"
        assert missing_keys("PostgreSQL", frozenset(found.connection())) == ()
        assert found.connection()["uri"].startswith(f"postgresql://u1:{quote(made['password'], safe='')}@")
        assert made["password"] not in str(found.claim())
        since = len(found.whole.api.journal)
        await asyncio.sleep(2.5 * RESYNC)
        assert found.written_by("libresh", since) == []
        assert [str(write) for write in found.whole.api.journal[since:] if write.changed] == []
        assert found.written_by("example.org/hosted", since), "it looked at everything again"


async def test_each_writer_has_its_own_fields() -> None:
    async with world() as found:
        await found.serve()
        await found.until_ready()
        found.whole.api.edit("ServiceClass", "hosted", spec={"deletionPolicy": "Delete"})
        await found.until(lambda: found.claim()["status"]["deletionPolicy"] == "Delete", "the new policy")
        await found.whole.settle()
        status = found.claim()["status"]
        assert ready(found.claim())["status"] == "True"
        assert status["binding"] == {"name": SECRET}
        owners = {
            each["manager"]: set(each["fieldsV1"]["f:status"])
            for each in found.claim()["metadata"]["managedFields"]
            if each.get("subresource") == "status"
        }
        ours = {"f:className", "f:driver", "f:parameters", "f:deletionPolicy"}
        assert owners["libresh"] == ours
        assert not ours & owners["example.org/hosted"]


async def test_a_restart_of_the_operator_writes_nothing() -> None:
    async with world() as found:
        await found.serve()
        await found.until_ready()
        await found.whole.kill()
        since = len(found.whole.api.journal)
        manager = await found.whole.start()
        await manager.working.wait()
        await found.whole.settle()
        assert found.written_by("libresh", since) == []


async def test_a_secret_that_somebody_deletes_comes_back_as_it_was() -> None:
    async with world() as found:
        await found.serve()
        await found.until_ready()
        before = found.connection()
        found.whole.api.delete("Secret", SECRET, "default")
        await found.until(lambda: found.connection() == before, "the Secret")


async def test_while_the_hoster_is_away_the_claim_says_so() -> None:
    async with world() as found:
        found.hoster.away = True
        await found.serve()
        await found.until(lambda: ready(found.claim()).get("reason") == "HosterUnavailable", "the trouble")
        await found.whole.settle()
        assert ready(found.claim())["status"] == "False"
        found.hoster.away = False
        await found.until_ready()


async def test_somebody_elses_secret_is_left_alone() -> None:
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": "default"}}
    async with world() as found:
        found.whole.api.create(theirs | {"data": {"a": "Yg=="}})
        await found.serve()
        await found.until(lambda: ready(found.claim()).get("reason") == "SecretTaken", "the refusal")
        assert found.connection() == {"a": "b"}


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_deletion_ends_and_does_with_the_data_as_was_said(policy: str) -> None:
    async with world(deletionPolicy=policy) as found:
        await found.serve()
        await found.until_ready()
        before = found.connection()
        found.whole.api.delete("PostgreSQL", "my-db", "default")
        await found.until(lambda: not found.claim(), "the claim to be gone")
        await found.until(lambda: not found.connection(), "its Secret to be gone")
        assert (found.hoster.databases == {}) == (policy == "Delete")
        await found.until(lambda: found.cls()["status"]["claims"] == 0, "the class to count none")
        found.whole.api.create(CLAIM)
        await found.until_ready()
        assert (found.connection() == before) == (policy == "Retain")


@pytest.mark.parametrize("death", deaths(range(1, 6)))
async def test_it_may_die_at_any_write(death: int) -> None:
    async with world(deletionPolicy="Delete") as found:
        found.whole.api.faults.crash_after(death)
        await found.serve()
        await asyncio.wait_for(found.whole.api.faults.crashed.wait(), PATIENCE)
        await found.kill()
        await found.whole.kill()
        found.whole.api.faults.heal()
        await found.whole.start()
        await found.serve()
        await found.until_ready()
        assert list(found.hoster.databases) == ["default.my-db"]
