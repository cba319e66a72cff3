"""The parts of `libresh up` that can be tried without a cluster."""

import http.server
import shutil
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libresh.cli import bringup, probe, steps
from libresh.cli.access import Target, connect
from libresh.cli.bringup import Wish
from libresh.errors import LibreshError
from support.apiserver import Authority
from support.fakeapi import Server


class Quiet:
    """A show that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_images_and_programs_are_made_at_once_and_the_cluster_waits_for_its_programs_only() -> None:
    planned, _ = bringup.plan(Wish(example=Path("matrix.yaml")))
    needs = {step.name: step.needs for step in steps.order(planned)}
    assert needs["programs"] == needs["images"] == ("machine",)
    assert needs["cluster"] == ("programs",)
    assert set(needs["operator"]) == {"kinds", "loading"}
    assert set(needs) == set(bringup.USUAL)  # every step has a usual time


def test_without_an_example_nothing_is_applied() -> None:
    planned, _ = bringup.plan(Wish(example=None))
    assert "matrix" not in [step.name for step in planned]


def test_what_was_asked_reaches_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(bringup.cluster, "up", lambda wish, show: asked.append(wish))
    wish = Wish(name="coop", nodes=3, suffix="example.org", listen="0.0.0.0", unsafe_etcd=True)
    bringup.start_cluster(wish, bringup.Result(), Quiet())
    assert {name: getattr(asked[0], name) for name in vars(wish) if name not in ("example", "images")} == {
        "name": "coop",
        "nodes": 3,
        "suffix": "example.org",
        "listen": "0.0.0.0",
        "unsafe_etcd": True,
    }


def test_images_that_no_cluster_needs_are_built_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[list[str]] = []
    monkeypatch.setattr(bringup.images, "build", lambda names, **_: built.append(names) or {})
    for wish in (Wish(), Wish(images=("garage",))):
        bringup.build_images(wish, bringup.Result(), Quiet())
    assert set(built[1]) - set(built[0]) == {"garage"}
    assert "versitygw" in built[0]


def test_the_example_gets_the_names_of_this_cluster(tmp_path: Path) -> None:
    example = bringup.find_example()
    hosts = [obj["spec"]["host"] for obj in bringup.read_example(example, "example.org") if obj["kind"] == "Matrix"]
    assert hosts == ["chat.example.org"]
    kept = [obj["spec"]["host"] for obj in bringup.read_example(example, "localhost") if obj["kind"] == "Matrix"]
    assert kept == ["chat.localhost"]


def test_a_host_that_is_not_local_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: Matrix\nspec: {host: chat.acme.org}\n")
    assert bringup.read_example(path, "example.org")[0]["spec"]["host"] == "chat.acme.org"


@pytest.mark.skipif(shutil.which("go") is None, reason="there is no Go here")
@pytest.mark.parametrize("toolchain", ["local", "auto"])
def test_a_go_that_cannot_get_its_toolchain_is_refused_with_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toolchain: str
) -> None:
    module = tmp_path / "kubernetes" / "go.mod"
    module.parent.mkdir()
    module.write_text("module example.org/x\n\ngo 1.99.0\n")
    monkeypatch.setattr(bringup.binaries, "sources", lambda: tmp_path)
    monkeypatch.setenv("GOTOOLCHAIN", toolchain)
    monkeypatch.setenv("GOPROXY", "off")
    with pytest.raises(LibreshError) as refused:
        bringup.check_toolchain()
    assert "go 1.99.0" in refused.value.message
    assert "GOTOOLCHAIN" in refused.value.hint


def test_this_go_can_build_what_is_asked_of_it() -> None:
    bringup.check_toolchain()


def matrix(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps.libre.sh/v1alpha1",
        "kind": "Matrix",
        "metadata": {"name": "chat", "namespace": "acme"},
        "spec": {"host": "chat.example.org"},
        **({"status": status} if status else {}),
    }


def condition(type: str, status: str, message: str = "m") -> dict[str, Any]:
    time = "2026-11-22T10:00:00Z"
    return {"type": type, "status": status, "reason": "R", "message": message, "lastTransitionTime": time}


async def test_a_refused_application_ends_the_waiting(fake_api: Server, kubeconfig: Path) -> None:
    fake_api.api.create(matrix())
    conditions = [condition("Ready", "False"), condition("Stalled", "True", "spec.host: taken by matrix/other")]
    status = {"conditions": conditions, "observedGeneration": 1}
    fake_api.api.edit("Matrix", "chat", "acme", status=status)
    async with connect(Target(kubeconfig=str(kubeconfig))) as client:
        with pytest.raises(LibreshError, match="taken by matrix/other"):
            await bringup.wait_for_app(client, matrix(), Quiet())  # type: ignore[arg-type]


async def test_a_status_of_an_older_generation_is_not_believed(
    fake_api: Server, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bringup, "MATRIX_PATIENCE", 0.5)
    fake_api.api.create(matrix())
    ready = {"conditions": [condition("Ready", "True")], "observedGeneration": 1}
    fake_api.api.edit("Matrix", "chat", "acme", status=ready)
    show = Quiet()
    async with connect(Target(kubeconfig=str(kubeconfig))) as client:
        await bringup.wait_for_app(client, matrix(), show)  # type: ignore[arg-type]
        fake_api.api.edit("Matrix", "chat", "acme", spec={"settings": {"federation": False}})
        with pytest.raises(LibreshError, match="is not ready after"):
            await bringup.wait_for_app(client, matrix(), show)  # type: ignore[arg-type]
    assert show.said


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[tuple[str, int], Path, dict[str, int]]]:
    """A web server with a certificate for localhost: its address, the authority, and the code it answers with."""
    answer = {"code": 200}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer["code"])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("web", server=True))
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield ("127.0.0.1", server.server_port), authority.file, answer
    server.shutdown()
    server.server_close()


def test_only_what_answers_usefully_counts(web: tuple[tuple[str, int], Path, dict[str, int]]) -> None:
    address, authority, answer = web
    assert probe.trouble_at("localhost", address, authority) == ""
    answer["code"] = 404
    assert probe.trouble_at("localhost", address, authority) == ""
    answer["code"] = 503
    assert probe.trouble_at("localhost", address, authority) == "https://localhost answers with 503"


def test_a_name_the_certificate_does_not_bear_does_not_count(web: tuple[Any, Path, dict[str, int]]) -> None:
    address, authority, _ = web
    assert "does not answer" in probe.trouble_at("chat.localhost", address, authority)


def test_nobody_there_does_not_count(web: tuple[Any, Path, dict[str, int]]) -> None:
    _, authority, _ = web
    assert "does not answer" in probe.trouble_at("localhost", ("127.0.0.1", 1), authority)
