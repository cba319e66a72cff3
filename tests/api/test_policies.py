"""Admission policies on a real API server: what is in use cannot be deleted, and the message says how to go on."""

import time
from collections.abc import Iterator

import pytest
from realserver import CRDS, MERGE, Object, Server, collection_of, documents

pytestmark = pytest.mark.apiserver

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def guarded(server: Server) -> Iterator[Server]:
    """A server with our policies in force."""
    policies = documents("deploy/policies")
    assert {each["kind"] for each in policies} == set(PLURALS)
    for policy in policies:
        status, answer = server.call("POST", f"{ADMISSION}/{PLURALS[policy['kind']]}?fieldValidation=Strict", policy)
        assert status == 201, answer["message"]
    try:
        wait_until_in_force(server)
        yield server
    finally:
        for policy in policies:
            server.call("DELETE", f"{ADMISSION}/{PLURALS[policy['kind']]}/{policy['metadata']['name']}")
        wait_until_in_force(server, until=200)


def wait_until_in_force(server: Server, until: int = 422) -> None:
    """Policies are taken up after a moment: waits for the last of them to refuse (or allow) a deletion on trial."""
    paths = [
        f"{DEFINITIONS}/{CRDS['Redis']['metadata']['name']}",
        *(place(server, kind, name) for kind, name in (("ServiceClass", "probe"), ("AppProfile", "probe"))),
    ]
    deadline = time.monotonic() + 60
    for path in paths:
        while (answer := server.call("DELETE", f"{path}?dryRun=All"))[0] not in (
            (403, 422) if until == 422 else (200,)
        ):
            assert time.monotonic() < deadline, f"the policy on {path} did not change: {answer}"
            time.sleep(0.1)
    if until == 200:
        for path in paths[1:]:
            server.call("DELETE", path.rsplit("/", 1)[0])


def place(server: Server, kind: str, name: str, *, used: int = 1) -> str:
    """Makes an object that is in use, and gives its path."""
    spec = {"claimKind": "PostgreSQL", "driver": "embedded"} if kind == "ServiceClass" else {"appKind": "Matrix"}
    obj: Object = {
        "apiVersion": f"{CRDS[kind]['spec']['group']}/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    path = f"{collection_of(obj)}/{name}"
    server.call("POST", collection_of(obj), obj)
    count = {"claims": used} if kind == "ServiceClass" else {"instances": used}
    status, answer = server.call("PATCH", f"{path}/status", {"status": count}, MERGE)
    assert status == 200, answer
    return path


CASES = {
    "a class that serves claims": (
        "ServiceClass",
        "ServiceClass used serves 3 claim(s), which would be left without a driver. Find them with "
        '"kubectl get postgresqls -A"',
    ),
    "a profile that instances use": (
        "AppProfile",
        'AppProfile used gives its defaults to 3 instance(s), which would all change at once. Find them with "kubectl '
        'get matrices -A"',
    ),
}


@pytest.mark.parametrize(("kind", "message"), CASES.values(), ids=CASES)
def test_what_is_in_use_stays(guarded: Server, kind: str, message: str) -> None:
    path = place(guarded, kind, "used", used=3)
    status, answer = guarded.call("DELETE", path)
    assert status == 403, answer
    assert message in answer["message"]
    assert guarded.call("GET", path)[0] == 200


@pytest.mark.parametrize("kind", ["ServiceClass", "AppProfile"])
def test_what_is_not_in_use_goes(guarded: Server, kind: str) -> None:
    path = place(guarded, kind, "unused", used=0)
    assert guarded.call("DELETE", path)[0] == 200
    assert guarded.call("GET", path)[0] == 404


@pytest.mark.parametrize("kind", ["ServiceClass", "AppProfile"])
def test_deleting_all_does_not_go_round_it(guarded: Server, kind: str) -> None:
    path = place(guarded, kind, "used", used=3)
    status, answer = guarded.call("DELETE", path.rsplit("/", 1)[0])
    assert status == 403, answer
    assert guarded.call("GET", path)[0] == 200


def test_a_class_that_was_never_looked_at_goes(guarded: Server) -> None:
    obj: Object = {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": "fresh"},
        "spec": {"claimKind": "Redis", "driver": "static"},
    }
    assert guarded.post(obj)[0] == 201
    assert guarded.call("DELETE", f"{collection_of(obj)}/fresh")[0] == 200


def test_classes_can_be_edited_while_in_use(guarded: Server) -> None:
    path = place(guarded, "ServiceClass", "used", used=3)
    status, answer = guarded.call("PATCH", path, {"spec": {"parameters": {"memory": "1Gi"}}}, MERGE)
    assert status == 200, answer


def test_a_definition_is_deleted_only_on_purpose(guarded: Server) -> None:
    path = f"{DEFINITIONS}/{CRDS['Redis']['metadata']['name']}"
    status, answer = guarded.call("DELETE", f"{path}?dryRun=All")
    assert status == 403, answer
    assert "deletes every Redis in the cluster" in answer["message"]
    assert (
        "kubectl annotate customresourcedefinition redises.cache.libre.sh libre.sh/allow-delete=true"
        in answer["message"]
    )
    annotate: Object = {"metadata": {"annotations": {"libre.sh/allow-delete": "true"}}}
    assert guarded.call("PATCH", path, annotate, MERGE)[0] == 200
    assert guarded.call("DELETE", f"{path}?dryRun=All")[0] == 200
    annotate["metadata"]["annotations"]["libre.sh/allow-delete"] = None
    assert guarded.call("PATCH", path, annotate, MERGE)[0] == 200


def test_definitions_of_others_are_none_of_our_business(guarded: Server) -> None:
    names = {"kind": "Thing", "listKind": "ThingList", "plural": "things", "singular": "thing"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    crd: Object = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.org"},
        "spec": {"group": "example.org", "names": names, "scope": "Cluster", "versions": [version]},
    }
    assert guarded.call("POST", DEFINITIONS, crd)[0] == 201
    assert guarded.call("DELETE", f"{DEFINITIONS}/things.example.org")[0] == 200
