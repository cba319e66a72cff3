"""What contract stubs share: one look at everything, in memory or by HTTP."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from libresh.errors import LibreshError
from libresh.kube.client import Client
from support.fakeapi import FakeApi

from .standing import Server, is_up, stand

Object = dict[str, Any]
Place = tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """What an operator makes of one of its objects: its next status, and the Secrets it keeps for it."""

    status: Object
    secrets: tuple[Object, ...] = ()


class Contract:
    """A contract stub. With `api` it joins `api.settle`; its kinds must be installed first."""

    driver: ClassVar[str] = ""
    """Of libre.sh, which hands claims to such an operator."""
    kinds: ClassVar[tuple[tuple[str, str], ...]] = ()
    """apiVersion and kind of what it acts on."""
    crds: ClassVar[tuple[Object, ...]] = ()
    mark: ClassVar[str] = ""
    """The label by which its Secrets are known."""
    manager: ClassVar[str] = "contract-stub"

    def __init__(self, api: FakeApi | None = None) -> None:
        self.working = True
        self.says: dict[str, Object] = {}
        """By the name of an object: the status it is to have, in place of the one it would."""
        self.lacking: set[str] = set()
        self.trouble = ""
        """What went wrong at the last look by HTTP."""
        self.image = ""
        """With an image of PostgreSQL each object stands on a real server (by HTTP only)."""
        self.authorities: dict[Place, str] = {}
        """Who signed the certificates of real servers, by namespace and name of the object,"""
        self.standing: dict[Place, tuple[str, ...]] = {}
        """and the extensions that those have which can be used as they are wished."""
        self.written: set[Place] = set()
        """Its Secrets, as of the last look."""
        self.built: dict[str, Object] = {}
        """What real servers were made as, by the uid of the object."""
        self.api = api
        if api is not None:
            api.controllers.append(self.step)

    def verdict(self, obj: Object) -> Verdict:
        raise NotImplementedError

    def server(self, obj: Object) -> Server | None:
        """The real server behind an object, if it is one that has a server."""
        return None

    def fallen(self, obj: Object) -> Verdict | None:
        """What is made of an object that had a server while that cannot be used; None: nothing is said of it."""
        return None

    async def stands(self, client: Client, obj: Object) -> bool:
        """Whether an object may go on: with an image, once its server can be used."""
        server = self.server(obj) if self.image else None
        if server is None:
            return True
        if not server.possible:
            return False
        place, uid = place_of(obj), obj["metadata"]["uid"]
        if self.built.get(uid) != server.made:
            self.authorities[place] = await stand(client, server, self.image)
            self.built[uid] = server.made
        ready = await is_up(client, server)
        if ready:
            self.standing[place] = tuple(server.extensions)
        return ready

    def judge(self, obj: Object) -> Verdict:
        """The verdict as the test wants it."""
        found = self.verdict(obj)
        status = self.says.get(obj["metadata"]["name"], found.status)
        return Verdict(status, tuple(self.without(secret) for secret in found.secrets))

    def without(self, secret: Object) -> Object:
        data = {key: value for key, value in secret["data"].items() if key not in self.lacking}
        return {**secret, "data": data}

    def step(self) -> None:
        """One look at everything, in memory."""
        api = self.api
        assert api is not None
        if not self.working:
            return
        wanted: dict[Place, Object] = {}
        for version, kind in self.kinds:
            if (version, kind) not in api.kinds:
                continue
            for obj in api.objects(f"{version}/{kind}"):
                meta = obj["metadata"]
                found = self.judge(obj)
                wanted |= {place_of(secret): secret for secret in found.secrets}
                if obj.get("status") != found.status:
                    replaced = without_old(obj.get("status"), found.status)
                    where = f"{version}/{kind}", meta["name"], meta["namespace"]
                    api.edit(*where, manager=self.manager, status=replaced)
        self.written = set(wanted)
        present = {place_of(each): each for each in api.objects("Secret") if self.is_own(each)}
        for place in present.keys() - wanted.keys():
            api.delete("Secret", place[1], place[0])
        for place, secret in wanted.items():
            if api.get("Secret", place[1], place[0]) is None:
                api.create(secret, self.manager)
            elif place in present and present[place].get("data") != secret["data"]:
                data = without_old(present[place].get("data"), secret["data"])
                api.edit("Secret", place[1], place[0], manager=self.manager, data=data)

    async def look(self, client: Client) -> None:
        """One look at everything, by HTTP."""
        if not self.working:
            return
        wanted: dict[Place, Object] = {}
        for version, kind in self.kinds:
            name = await client.discover(version, kind)
            for obj in await client.list(name):
                if obj["metadata"].get("deletionTimestamp"):
                    continue
                found = self.judge(obj) if await self.stands(client, obj) else self.fallen(obj)
                if found is None:
                    continue
                wanted |= {place_of(secret): secret for secret in found.secrets}
                if obj.get("status") != found.status:
                    meta, status = obj["metadata"], without_old(obj.get("status"), found.status)
                    await client.patch(name, meta["name"], meta["namespace"], {"status": status}, subresource="status")
        self.written = set(wanted)
        present = {place_of(each) for each in await client.list("Secret") if self.is_own(each)}
        for namespace, secret in present - wanted.keys():
            await client.delete("Secret", secret, namespace)
        for place in wanted.keys() - present:
            await client.create(wanted[place])

    def is_own(self, secret: Object) -> bool:
        return self.mark in (secret["metadata"].get("labels") or {})

    def secret(self, obj: Object, name: str, values: dict[str, str], type: str = "Opaque") -> Object:
        """A Secret beside an object, marked as the stub's."""
        meta = obj["metadata"]
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        labels = {self.mark: meta["name"]}
        metadata = {"name": name, "namespace": meta["namespace"], "labels": labels}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type, "data": data}


def place_of(obj: Object) -> Place:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def without_old(old: Object | None, new: Object) -> Object:
    """A merge patch that leaves nothing of what was there."""
    return {**dict.fromkeys((old or {}).keys() - new.keys()), **new}


@asynccontextmanager
async def over_http(client: Client, contract: Contract, every: float = 0.2) -> AsyncIterator[Contract]:
    """Runs a stub beside an API server. It may lose a race with somebody else's write: then it looks again."""

    async def run() -> None:
        while True:
            try:
                await contract.look(client)
                contract.trouble = ""
            except LibreshError as error:
                contract.trouble = str(error)
            await asyncio.sleep(every)

    task = asyncio.create_task(run())
    try:
        yield contract
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
