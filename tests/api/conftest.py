"""What the tests of the API need: a real API server with our definitions and policies on it."""

import time
from collections.abc import Iterator

import pytest
from realserver import CRDS, Object, Server, started


@pytest.fixture(scope="session")
def bare_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An API server with nothing on it."""
    with started(tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture(scope="session")
def server(bare_server: Server) -> Server:
    """An API server that serves our kinds."""
    for crd in CRDS.values():
        status, answer = bare_server.call(
            "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldValidation=Strict", crd
        )
        assert status == 201, answer["message"]
    for crd in CRDS.values():
        wait_until_served(bare_server, crd)
    return bare_server


def wait_until_served(server: Server, crd: Object) -> None:
    """Waits until objects of a kind can be listed."""
    spec = crd["spec"]
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    deadline = time.monotonic() + 30
    while (answer := server.call("GET", path))[0] != 200:
        assert time.monotonic() < deadline, f"{path} is not served: {answer}"
        time.sleep(0.05)
