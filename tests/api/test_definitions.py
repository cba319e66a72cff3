"""The generated definitions on a real API server: accepted, established, explained, shown."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from realserver import CRDS, MERGE, TABLE, Object, Server, collection_of

pytestmark = pytest.mark.apiserver


@pytest.mark.parametrize("kind", CRDS)
def test_established_without_complaint(server: Server, kind: str) -> None:
    name = CRDS[kind]["metadata"]["name"]
    status, crd = server.call("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    assert status == 200
    conditions = {each["type"]: each["status"] for each in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions
    assert "KubernetesAPIApprovalPolicyConformant" not in conditions


def fields(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
        if "items" in field:
            yield from fields(field["items"], f"{path}.{name}")


def published_schema(server: Server, spec: Object) -> Object:
    """What kubectl explain reads. It is published some time after the kind is served."""
    group, version, kind = spec["group"], spec["versions"][0]["name"], spec["names"]["kind"]
    name = f"{'.'.join(reversed(group.split('.')))}.{version}.{kind}"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        _, published = server.call("GET", f"/openapi/v3/apis/{group}/{version}")
        schema: Object | None = published.get("components", {}).get("schemas", {}).get(name)
        if schema is not None:
            return schema
        time.sleep(0.2)
    raise AssertionError(f"{name} is not published")


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_is_explained(server: Server, kind: str) -> None:
    spec = CRDS[kind]["spec"]
    served = dict(fields(published_schema(server, spec)))
    expected = [path for path, _ in fields(spec["versions"][0]["schema"]["openAPIV3Schema"]) if path[:9] != ".metadata"]
    assert len(expected) > 10
    assert [path for path in expected if not served.get(path, {}).get("description")] == []


@pytest.mark.parametrize("kind", CRDS)
def test_kubectl_explains_it(server: Server, kind: str) -> None:
    version = CRDS[kind]["spec"]["versions"][0]
    plural, group = CRDS[kind]["spec"]["names"]["plural"], CRDS[kind]["spec"]["group"]
    published_schema(server, CRDS[kind]["spec"])
    top = server.kubectl("explain", f"{plural}.{group}")
    description: str = version["schema"]["openAPIV3Schema"]["description"]
    assert description.split()[:5] == top.split("DESCRIPTION:")[1].split()[:5]
    below = server.kubectl("explain", f"{plural}.{group}.spec")
    for name in version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]:
        assert f"  {name}\t<" in below


COLUMNS = {
    "PostgreSQL": ["NAME", "CLASS", "READY", "REASON", "STORAGE", "AGE"],
    "Redis": ["NAME", "CLASS", "READY", "REASON", "AGE"],
    "Bucket": ["NAME", "CLASS", "READY", "REASON", "STORAGE", "AGE"],
    "SMTPAccount": ["NAME", "CLASS", "READY", "REASON", "AGE"],
    "OIDCClient": ["NAME", "CLASS", "READY", "REASON", "AGE"],
    "ServiceClass": ["NAME", "SERVES", "DRIVER", "DEFAULT", "CLAIMS", "READY", "AGE"],
    "CollaboraClaim": ["NAME", "APP", "IN", "READY", "REASON", "AGE"],
    "AppProfile": ["NAME", "APP", "DEFAULT", "INSTANCES", "READY", "AGE"],
    "Matrix": ["NAME", "URL", "VERSION", "READY", "REASON", "AGE"],
}

READY = {"type": "Ready", "status": "False", "reason": "Provisioning", "message": "Soon", "observedGeneration": 1}

SHOWN: dict[str, tuple[Object, list[str]]] = {
    "postgresqls": (
        {
            "apiVersion": "database.libre.sh/v1alpha1",
            "kind": "PostgreSQL",
            "metadata": {"name": "shown", "namespace": "default"},
            "spec": {"parameters": {"storage": "7Gi"}},
            "status": {"className": "standard", "conditions": [READY]},
        },
        ["shown", "standard", "False", "Provisioning", "7Gi"],
    ),
    "serviceclasses": (
        {
            "apiVersion": "services.libre.sh/v1alpha1",
            "kind": "ServiceClass",
            "metadata": {"name": "shown", "annotations": {"services.libre.sh/is-default-class": "true"}},
            "spec": {"claimKind": "Redis", "driver": "embedded"},
            "status": {"claims": 3, "conditions": [READY | {"status": "True", "reason": "Settled"}]},
        },
        ["shown", "Redis", "embedded", "true", "3", "True"],
    ),
    "appprofiles": (
        {
            "apiVersion": "apps.libre.sh/v1alpha1",
            "kind": "AppProfile",
            "metadata": {"name": "shown", "annotations": {"apps.libre.sh/is-default-profile": "true"}},
            "spec": {"appKind": "Matrix"},
            "status": {"instances": 2, "conditions": [READY | {"status": "True", "reason": "Settled"}]},
        },
        ["shown", "Matrix", "true", "2", "True"],
    ),
    "matrices": (
        {
            "apiVersion": "apps.libre.sh/v1alpha1",
            "kind": "Matrix",
            "metadata": {"name": "shown", "namespace": "default"},
            "spec": {"host": "chat.example.org"},
            "status": {"version": "1.163.2", "url": "https://chat.example.org", "conditions": [READY]},
        },
        ["shown", "https://chat.example.org", "1.163.2", "False", "Provisioning"],
    ),
}


@pytest.mark.parametrize("kind", CRDS)
def test_columns(server: Server, kind: str) -> None:
    spec = CRDS[kind]["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    status, shown = server.call("GET", path, accept=TABLE)
    assert status == 200
    heads = [column["name"].upper() for column in shown["columnDefinitions"] if not column["priority"]]
    assert heads == COLUMNS[kind]


@pytest.mark.parametrize(("plural", "case"), SHOWN.items(), ids=SHOWN)
def test_kubectl_get_shows(server: Server, plural: str, case: tuple[Object, list[str]]) -> None:
    obj, row = case
    name = obj["metadata"]["name"]
    base = collection_of(obj)
    assert server.call("POST", base, obj)[0] == 201
    try:
        status, answer = server.call("PATCH", f"{base}/{name}/status", {"status": obj["status"]}, MERGE)
        assert status == 200, answer
        heads, line = server.kubectl("get", plural, "-n", "default").splitlines()
        assert heads.split() == COLUMNS[obj["kind"]]
        assert line.split()[:-1] == row
        assert name in server.kubectl("get", "libresh", "-A")
        short = CRDS[obj["kind"]]["spec"]["names"].get("shortNames", [plural])[0]
        assert name in server.kubectl("get", short, "-A")
    finally:
        server.call("DELETE", f"{base}/{name}")
