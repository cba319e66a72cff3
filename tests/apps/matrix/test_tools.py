"""What runs in Synapse's own container: sweeping the media folder of just what the bucket holds, and starting.

Synapse, S3 and PostgreSQL themselves: see the end-to-end tests.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config

from libresh.apps.matrix import package

NOW = 1_000_000.0
OLD, FRESH = NOW - 3600, NOW - 5


class ClientError(Exception):
    """As botocore raises it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


class Bucket:
    """Holds sizes of objects by key."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.failure = ""

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, int]:
        if self.failure:
            raise ClientError(self.failure)
        if Key not in self.sizes:
            raise ClientError("404")
        return {"ContentLength": self.sizes[Key]}


def load(name: str) -> Any:
    """A tool as a module."""
    spec = importlib.util.spec_from_file_location(name, package.HERE / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The backend on a folder of its own, over a provider that has a bucket and nothing else."""

    class Provider:
        def __init__(self, hs: Any, config: Any) -> None:
            self.cache_directory, self.bucket, self.prefix = str(tmp_path), "media", "some/"
            self.client = Bucket()
            self.api_kwargs = {"config": Config()}

        def _get_s3_client(self) -> Bucket:
            return self.client

    reactor = SimpleNamespace(callWhenRunning=lambda start: None, addSystemEventTrigger=lambda *args: None)
    modules = {
        "s3_storage_provider": {"S3StorageProviderBackend": Provider},
        "twisted": {},
        "twisted.internet": {"reactor": reactor},
        "botocore": {},
        "botocore.config": {"Config": Config},
        "botocore.exceptions": {"ClientError": ClientError},
    }
    for name, names in modules.items():
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    return load("libresh_media").OffloadingBackend(None, {})


def put(backend: Any, path: str, *, content: bytes = b"12345", touched: float = OLD, stored: int | None = 5) -> Path:
    """A file in the folder, and in the bucket with `stored` bytes."""
    file = Path(backend.cache_directory, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (touched, touched))
    if stored is not None:
        backend.client.sizes["some/" + path] = stored
    return file


CASES: dict[str, tuple[str, float, int | None, bool]] = {
    "idle and in the bucket goes": ("local_content/ab/cd", OLD, 5, False),
    "still in use stays": ("local_content/ab/cd", FRESH, 5, True),
    "not in the bucket stays": ("local_content/ab/cd", OLD, None, True),
    "in the bucket in part stays": ("remote_content/host/ab", OLD, 4, True),
    "never stored in the bucket is left to Synapse": ("url_cache/ab", OLD, 5, True),
}


@pytest.mark.parametrize("case", CASES)
def test_sweep(backend: Any, case: str) -> None:
    path, touched, stored, stays = CASES[case]
    file = put(backend, path, touched=touched, stored=stored)
    assert backend.sweep(NOW) == (0 if stays else 1)
    assert file.exists() is stays


def test_what_was_read_lately_stays(backend: Any) -> None:
    file = put(backend, "local_content/ab/cd")
    os.utime(file, (FRESH, OLD))
    backend.sweep(NOW)
    assert file.exists()


def test_a_bucket_that_does_not_answer_takes_nothing_away(backend: Any) -> None:
    file = put(backend, "local_content/ab/cd")
    backend.client.failure = "503"
    with pytest.raises(ClientError):
        backend.sweep(NOW)
    assert file.exists()


def test_an_authority_of_the_buckets_server_is_believed_alone(backend: Any) -> None:
    assert "verify" not in backend.api_kwargs
    assert type(backend)(None, {"ca_file": "/etc/synapse/ca.crt"}).api_kwargs["verify"] == "/etc/synapse/ca.crt"


class OperationalError(Exception):
    """As psycopg2 raises it."""


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The start tool, over a database driver that does as the test says."""
    driver = ModuleType("psycopg2")
    vars(driver).update(OperationalError=OperationalError, connect=None)
    monkeypatch.setitem(sys.modules, "psycopg2", driver)
    return load("libresh_start")


def test_it_starts_as_soon_as_the_database_answers(start: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "homeserver.yaml"
    config.write_text("database: {name: psycopg2, args: {host: db, port: 5432, cp_max: 10}}")
    tries: list[dict[str, Any]] = []

    def connect(**settings: Any) -> Any:
        tries.append(settings)
        if len(tries) < 3:
            raise OperationalError("connection refused")
        return SimpleNamespace(close=lambda: None)

    slept: list[float] = []
    started: list[list[str]] = []
    monkeypatch.setattr(start.psycopg2, "connect", connect)
    monkeypatch.setattr(
        start.wait_for_database, "__kwdefaults__", {"patience": 9, "clock": lambda: 0, "sleep": slept.append}
    )
    monkeypatch.setattr(start.os, "execv", lambda path, words: started.append(words))
    start.main(["--config-path", str(config), "--config-path", "/nowhere/mail-none.yaml"])
    assert tries[-1] == {"host": "db", "port": 5432, "connect_timeout": 3}
    assert slept == [1, 1]
    assert started[0][1:4] == ["-m", "synapse.app.homeserver", "--config-path"]


def test_it_gives_up_with_the_reason(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(**settings: Any) -> None:
        raise OperationalError("no route to host")

    monkeypatch.setattr(start.psycopg2, "connect", connect)
    clock = iter(range(100))
    with pytest.raises(SystemExit, match=r"did not answer within 5 s: no route to host"):
        start.wait_for_database({}, patience=5, clock=lambda: next(clock), sleep=lambda seconds: None)


def test_a_server_that_moved_is_asked_anew(backend: Any) -> None:
    config = backend.api_kwargs["config"]
    assert (config.connect_timeout, config.read_timeout, config.retries["mode"]) == (5, 20, "standard")
