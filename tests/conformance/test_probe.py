"""The program that uses a connection, against servers on loopback."""

import asyncio
import datetime
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from libresh.conformance import probe

BUCKET = {
    "type": "s3",
    "endpoint": "http://s3.example.org:7070",
    "region": "eu-west-1",
    "bucket": "mine",
    "access-key-id": "AKID",
    "secret-access-key": "s3cret/+",
}


def bind(root: Path, name: str, **values: str) -> None:
    (root / name).mkdir(parents=True)
    for key, value in values.items():
        (root / name / key.replace("_", "-")).write_text(value)


def test_its_signature_is_that_of_the_common_client(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    ours = probe.sign(BUCKET, "PUT", "/mine/conformance/a%20b", b"body", now)
    request = AWSRequest("PUT", f"{BUCKET['endpoint']}/mine/conformance/a%20b", data=b"body")
    request.headers["x-amz-content-sha256"] = ours["x-amz-content-sha256"]
    request.headers["host"] = ours["host"]
    request.context["timestamp"] = "20260102T030405Z"
    request.headers["X-Amz-Date"] = "20260102T030405Z"
    auth = S3SigV4Auth(Credentials("AKID", "s3cret/+"), "s3", "eu-west-1")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert ours["authorization"].endswith(f"Signature={auth.signature(text, request)}")


def test_what_it_writes_to_a_bucket_is_no_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may take a form apart: then it would hold something else."""
    sent: list[dict[str, str]] = []

    def note(_: Any, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, bytes]:
        sent.append(headers)
        return 200, b""

    monkeypatch.setattr(probe, "request", note)
    probe.ask_s3(BUCKET, "PUT", "conformance/a", b"body")
    probe.ask_s3(BUCKET, "GET", "conformance/a")
    assert [headers.get("content-type") for headers in sent] == ["application/octet-stream", None]


class FakeRedis(socketserver.StreamRequestHandler):
    """A fake: one password, and the commands that the probe sends."""

    kept: dict[str, str] = {}

    def handle(self) -> None:
        while words := self.read():
            match words:
                case ["AUTH", "app", "right"]:
                    self.wfile.write(b"+OK\r\n")
                case ["AUTH", *_]:
                    self.wfile.write(b"-WRONGPASS invalid username-password pair\r\n")
                case ["SET", key, value]:
                    self.kept[key] = value
                    self.wfile.write(b"+OK\r\n")
                case ["GET", key]:
                    value = self.kept.get(key)
                    answer = "$-1\r\n" if value is None else f"${len(value)}\r\n{value}\r\n"
                    self.wfile.write(answer.encode())

    def read(self) -> list[str]:
        line = self.rfile.readline()
        if not line:
            return []
        words = []
        for _ in range(int(line[1:])):
            size = int(self.rfile.readline()[1:])
            words.append(self.rfile.read(size + 2)[:-2].decode())
        return words


@pytest.fixture
def redis() -> Iterator[int]:
    FakeRedis.kept.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), FakeRedis) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def binding(port: int) -> dict[str, str]:
    plain = {"type": "redis", "host": "127.0.0.1", "port": str(port), "uri": "redis://", "username": "app"}
    return plain | {"password": "right"}


def test_each_step_has_its_answer(redis: int, tmp_path: Path) -> None:
    bind(tmp_path, "main", **binding(redis))
    bind(tmp_path, "other", **binding(redis) | {"password": "another"})

    def answer(**step: Any) -> str:
        return probe.perform(tmp_path, {"binding": "main", "patience": 0, **step})[0]

    assert answer(do="read", token="t1") == "missing"
    assert answer(do="write", token="t1") == "ok"
    assert answer(do="read", token="t1") == "ok"
    assert answer(do="read", token="t1", keys=["password"]) == "refused"
    assert answer(do="read", token="t1", keys_of="other", keys=["password"]) == "refused"
    assert answer(do="read", token="t1", binding="other") == "refused"


def test_steps_and_connections_may_come_as_a_line(redis: int) -> None:
    step = {"binding": "main", "do": "write", "token": "t1", "patience": 0}
    given = {"bindings": {"main": binding(redis)}, "steps": [step, {**step, "keys": ["password"]}]}
    answers = json.loads(probe.take_from(json.dumps(given) + "\n"))
    assert [word for word, _ in answers] == ["ok", "refused"]


def test_a_prefix_begins_every_key(redis: int, tmp_path: Path) -> None:
    bind(tmp_path, "main", **binding(redis), prefix="mine:")
    assert probe.perform(tmp_path, {"binding": "main", "do": "write", "token": "t1", "patience": 0})[0] == "ok"
    assert list(FakeRedis.kept) == ["mine:conformance:t1"]


def test_nobody_there_is_not_a_refusal(tmp_path: Path) -> None:
    bind(tmp_path, "main", **binding(1))
    word, said = probe.perform(tmp_path, {"binding": "main", "do": "read", "token": "t", "patience": 0})
    assert word == "unreachable"
    assert "ConnectionRefusedError" in said


def test_no_secret_leaves_it(redis: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bind(tmp_path / "b", "main", **binding(redis))
    monkeypatch.setenv("SERVICE_BINDING_ROOT", str(tmp_path / "b"))
    monkeypatch.setenv("STEPS", json.dumps([{"binding": "main", "do": "write", "token": "t1"}]))
    monkeypatch.setenv("ANSWER", str(tmp_path / "answer"))

    def leak(*_: object) -> None:
        raise RuntimeError("the server says: right is wrong")

    monkeypatch.setitem(probe.USES, "redis", leak)
    probe.main()
    assert json.loads((tmp_path / "answer").read_text()) == [["broken", "RuntimeError: the server says: *** is wrong"]]


async def test_a_server_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    bind(tmp_path, "main", **binding(1))
    began = asyncio.get_running_loop().time()
    step = {"binding": "main", "do": "read", "token": "t", "patience": 1}
    word, _ = await asyncio.to_thread(probe.perform, tmp_path, step)
    assert word == "unreachable"
    assert asyncio.get_running_loop().time() - began >= 1
