"""`libresh install` on a real API server: accepted, repeatable, and the operator may do just what it declares."""

import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest

from libresh.catalog.settings import Settings
from libresh.cli import install, manifests
from libresh.cli.access import Target, connect
from libresh.cli.manifests import Installation, discovery, operator
from libresh.kube.client import Client
from libresh.ports import COMPOSED
from libresh.runtime import leader
from support.apiserver import RealApi

pytestmark = pytest.mark.apiserver

INSTALLATION = Installation(settings=Settings(system_namespace="libresh-system"), replicas=2)


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A server of its own: what an installation makes holds for the whole cluster. No controllers, so nothing moves."""
    with RealApi() as server:
        yield Target(kubeconfig=str(server.kubeconfig()))


async def perform(client: Client) -> None:
    await install.perform(client, INSTALLATION, classes=True, wait=False, say=lambda _: None)


async def versions(client: Client) -> dict[str, str]:
    """The resourceVersion of everything an installation makes."""
    found = {}
    for obj in manifests.build_all(INSTALLATION):
        kind = client.kinds.name_of(obj["apiVersion"], obj["kind"])
        there = await client.get(kind, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        assert there is not None, f"{kind} {obj['metadata']['name']} is missing"
        found[f"{kind} {obj['metadata']['name']}"] = there["metadata"]["resourceVersion"]
    return found


async def test_a_second_install_changes_nothing(target: Target) -> None:
    async with connect(target) as client:
        await perform(client)
        before = await versions(client)
        await perform(client)
        assert await versions(client) == before


async def allowed(
    client: Client, verb: str, group: str, resource: str, namespace: str = "acme", name: str = ""
) -> bool:
    """Whether the operator's account may do something."""
    main, _, sub = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": main, "subresource": sub, "namespace": namespace}
    attributes |= {"name": name} if name else {}
    user = f"system:serviceaccount:{INSTALLATION.namespace}:{operator.NAME}"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = await client.send("POST", path, body=json.dumps(review).encode(), content="application/json")
    return bool(json.loads(answer)["status"]["allowed"])


def leader_name() -> str:
    """What the runtime calls its lease unless told otherwise."""
    return str(inspect.signature(leader.Leader).parameters["name"].default)


async def test_the_operator_may_do_what_its_reconcilers_declare_and_no_more(target: Target) -> None:
    async with connect(target) as client:
        await perform(client)
        kinds = discovery.kinds()
        for reconciler in discovery.reconcilers(Settings()):
            for watched in reconciler.watches:
                if watched.kind == COMPOSED:
                    continue
                info = kinds[watched.kind]
                assert await allowed(client, "watch", info.group, info.plural), watched.kind
                if watched.writes and watched.kind != reconciler.type.KIND.kind:
                    assert await allowed(client, "create", info.group, info.plural), watched.kind
            own = reconciler.type.KIND
            assert await allowed(client, "patch", own.group, f"{own.plural}/status"), own.kind
        lease = ("coordination.k8s.io", "leases", INSTALLATION.namespace)
        assert await allowed(client, "create", *lease)
        assert await allowed(client, "update", *lease, leader_name())
        for verb, group, resource, namespace in FORBIDDEN:
            assert not await allowed(client, verb, group, resource, namespace), f"{verb} {resource}"


FORBIDDEN: list[tuple[str, str, str, str]] = [
    ("get", "", "nodes", ""),
    ("create", "", "pods", "acme"),
    ("create", "", "pods/exec", "acme"),
    ("create", "", "namespaces", ""),
    ("delete", "", "namespaces", ""),
    ("update", "coordination.k8s.io", "leases", "acme"),
    ("update", "coordination.k8s.io", "leases", INSTALLATION.namespace),
    ("create", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("escalate", "rbac.authorization.k8s.io", "roles", "acme"),
    ("bind", "rbac.authorization.k8s.io", "roles", "acme"),
    ("delete", "services.libre.sh", "serviceclasses", ""),
    ("impersonate", "", "serviceaccounts", "acme"),
]


async def test_uninstall_leaves_kinds_and_classes(target: Target) -> None:
    async with connect(target) as client:
        await perform(client)
        removed = await install.remove_operator(client, INSTALLATION.namespace)
        assert f"Deployment {operator.NAME}" in removed
        assert len(await client.list("ServiceClass")) >= 5
        again: Any = await install.remove_operator(client, INSTALLATION.namespace)
        assert f"Deployment {operator.NAME}" not in again
        await perform(client)
