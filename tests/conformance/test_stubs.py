"""What contract stubs say of an object while the real server behind it is away."""

from typing import Any

import pytest

from libresh.kube.auth import Access
from libresh.kube.client import Client
from libresh.plan.observed import status_of
from support.contracts import CloudNativePG, Contract, Crossplane, Zalando
from support.fakeapi import FakeApi, Server
from support.fakeapi.workloads import Workloads

Object = dict[str, Any]
WISHES: dict[type[Contract], Object] = {
    CloudNativePG: {
        "instances": 1,
        "storage": {"size": "1Gi"},
        "bootstrap": {"initdb": {"database": "app", "owner": "app", "localeCollate": "C"}},
    },
    Zalando: {
        "volume": {"size": "1Gi"},
        "preparedDatabases": {"app": {"defaultUsers": True, "extensions": {}}},
    },
    Crossplane: {"parameters": {"storageGB": 1}},
}
FALLEN: dict[type[Contract], Object] = {
    CloudNativePG: {"phase": "Waiting for the instances to become active", "readyInstances": 0},
    Zalando: {"PostgresClusterStatus": "Running"},
    Crossplane: {},
}


@pytest.mark.parametrize("made", WISHES)
async def test_a_server_that_falls_is_told_as_that_operator_tells_it(made: type[Contract]) -> None:
    version, kind = made.kinds[0]
    api = FakeApi(crds=made.crds)
    workloads, stub = Workloads(api), made()
    stub.image = "images.example.org/postgresql:17"
    api.create(
        {"apiVersion": version, "kind": kind, "metadata": {"name": "db", "namespace": "ns"}, "spec": WISHES[made]}
    )
    async with Server(api) as server, Client(Access(server=server.url)) as client:

        async def look() -> tuple[Object, list[str]]:
            for _ in range(4):
                await stub.look(client)
                await api.settle()
            kept = [each["metadata"]["name"] for each in api.objects("Secret") if stub.is_own(each)]
            return status_of(api.get(f"{version}/{kind}", "db", "ns")), kept

        standing, secrets = await look()
        assert standing
        assert secrets
        workloads.hold("StatefulSet", "db-stub")
        fallen, kept = await look()
        assert kept == secrets
        assert fallen.items() >= FALLEN[made].items()
        states = {each["type"]: each["status"] for each in fallen.get("conditions", ())}
        assert states.get("Ready", "False") == "False"
        workloads.release("StatefulSet", "db-stub")
        assert (await look()) == (standing, secrets)
