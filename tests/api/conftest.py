"""What the tests of the API need: a real API server that serves our kinds."""

import time
from collections.abc import Iterator

import pytest
from realserver import CRDS, Object, Server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of our own, as tests put policies on it that others would trip over."""
    with Server() as server:
        for crd in CRDS.values():
            status, answer = server.call("POST", f"{DEFINITIONS}?fieldValidation=Strict", crd)
            assert status == 201, answer["message"]
        for crd in CRDS.values():
            wait_until_served(server, crd)
        yield server


def wait_until_served(server: Server, crd: Object) -> None:
    """Waits until objects of a kind can be listed."""
    deadline = time.monotonic() + 30
    while not server.serves(crd):
        assert time.monotonic() < deadline, f"{crd['metadata']['name']} is not served"
        time.sleep(0.05)
