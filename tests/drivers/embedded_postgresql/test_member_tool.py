"""What a member does when it becomes the primary, as far as no server is needed."""

import importlib.util
import json
import sys
import urllib.error
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from libresh.drivers.embedded_postgresql import patroni

TOOL = Path(patroni.__file__).parent / "tools" / patroni.MEMBER_TOOL
LOCK = {"metadata": {"resourceVersion": "7", "annotations": {"leader": "db-pg-1-0"}}}
NOBODYS = {"metadata": {}}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tool, without the database driver that is in the image."""
    psycopg = ModuleType("psycopg")
    vars(psycopg).update(Error=RuntimeError, OperationalError=RuntimeError, sql=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "psycopg", psycopg)
    spec = importlib.util.spec_from_file_location("libresh_member", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def alone(tool: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What an only member does at its start; it lies beside the other tool."""
    monkeypatch.setitem(sys.modules, "libresh_member", tool)
    spec = importlib.util.spec_from_file_location("libresh_alone", TOOL.parent / patroni.ALONE_TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Api:
    """A fake of the API server: what is asked is answered from a table, what is written is remembered."""

    def __init__(self, lock: dict[str, Any], *primaries: str) -> None:
        self.lock, self.primaries = lock, primaries
        self.written: list[tuple[str, Any]] = []

    def __call__(self, verb: str, path: str, body: Any = None) -> Any:
        if verb == "PATCH":
            self.written.append((path, body))
            return None
        if path.startswith("configmaps/"):
            return self.lock
        assert path == "pods?labelSelector=libre.sh/scope%3Ddb-pg,libre.sh/role%3Dprimary"
        return {"items": [{"metadata": {"name": name}} for name in self.primaries]}


def test_a_dead_primary_loses_its_label(tool: Any) -> None:
    api = Api(LOCK, "db-pg-0", "db-pg-1-0")
    tool.take_label("db-pg", ask=api, me="db-pg-1-0")
    assert api.written == [("pods/db-pg-0", {"metadata": {"labels": {"libre.sh/role": "replica"}}})]


@pytest.mark.parametrize("lock", [NOBODYS, {"metadata": {"annotations": {"leader": "db-pg-2-0"}}}])
def test_who_does_not_hold_the_lock_takes_nothing(tool: Any, lock: dict[str, Any]) -> None:
    api = Api(lock, "db-pg-0", "db-pg-1-0")
    tool.take_label("db-pg", ask=api, me="db-pg-1-0")
    assert api.written == []


def test_a_primary_that_comes_back_from_a_crash_lets_go_of_its_lock(tool: Any) -> None:
    api = Api(LOCK)
    tool.release_lock("db-pg", ask=api, me="db-pg-1-0")
    released = {"metadata": {"resourceVersion": "7", "annotations": {"leader": None}}}
    assert api.written == [("configmaps/db-pg-leader", released)]


@pytest.mark.parametrize("lock", [NOBODYS, LOCK])
def test_the_lock_of_another_is_left_alone(tool: Any, lock: dict[str, Any]) -> None:
    api = Api(lock)
    tool.release_lock("db-pg", ask=api, me="db-pg-0")
    assert api.written == []


@pytest.mark.parametrize(("timeout", "released"), [(0, ["db-pg"]), (300, [])])
def test_it_keeps_the_lock_where_it_alone_may_have_what_was_written_last(
    tool: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, timeout: int, released: list[str]
) -> None:
    settings, configuration = tmp_path / "dynamic.json", tmp_path / "patroni.yaml"
    settings.write_text(json.dumps({"primary_start_timeout": timeout}))
    configuration.write_text(json.dumps({"scope": "db-pg"}))
    asked: list[str] = []
    started: list[list[str]] = []
    monkeypatch.setattr(tool, "SETTINGS", settings)
    monkeypatch.setattr(tool, "CONFIGURATION", configuration)
    monkeypatch.setattr(tool, "release_lock", asked.append)
    monkeypatch.setattr(tool.os, "execv", lambda path, words: started.append(words))
    tool.main(["start"])
    assert asked == released
    assert started == [["/opt/patroni/bin/patroni", str(configuration)]]


def test_it_starts_also_while_the_api_server_is_away(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(scope: str) -> None:
        raise OSError("connection refused")

    started: list[str] = []
    monkeypatch.setattr(tool, "SETTINGS", SimpleNamespace(read_text=lambda: '{"primary_start_timeout": 0}'))
    monkeypatch.setattr(tool, "CONFIGURATION", SimpleNamespace(read_text=lambda: '{"scope": "db-pg"}'))
    monkeypatch.setattr(tool, "release_lock", fail)
    monkeypatch.setattr(tool.os, "execv", lambda path, words: started.append(path))
    tool.main(["start"])
    assert started == ["/opt/patroni/bin/patroni"]


def test_settings_are_compared_as_patroni_does(tool: Any) -> None:
    found = {"ttl": 20, "pause": False, "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": "100"}}}
    assert tool.holds(found, {"ttl": 20, "postgresql": {"parameters": {"max_connections": 100}}})
    assert not tool.holds(found, {"ttl": 30})
    assert not tool.holds(found, {"postgresql": {"parameters": {"wal_sender_timeout": "20s"}}})
    assert not tool.holds(found, {"synchronous_mode": "quorum"})


def test_a_step_that_fails_does_not_keep_the_next_from_being_done(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def fail() -> None:
        done.append("settings")
        raise OSError("not now")

    monkeypatch.setattr(tool, "take_label", lambda scope: done.append(f"label of {scope}"))
    monkeypatch.setattr(tool, "bring_settings", fail)
    monkeypatch.setattr(tool, "set_passwords", lambda: done.append("passwords"))
    monkeypatch.setattr(tool.insist, "__kwdefaults__", {"sleep": lambda seconds: None})
    monkeypatch.setattr(tool.os, "execv", lambda path, words: done.append(" ".join(words)))
    tool.main(["on_role_change", "primary", "db-pg"])
    image = "/usr/local/bin/libresh-postgresql-roles on_role_change primary db-pg"
    assert done == ["label of db-pg", *["settings"] * tool.TRIES, "passwords", image]


def test_a_replica_does_nothing_of_this(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[str] = []
    monkeypatch.setattr(tool, "take_label", lambda scope: pytest.fail("a replica took the label"))
    monkeypatch.setattr(tool.os, "execv", lambda path, arguments: words.extend(arguments))
    tool.main(["on_start", "replica", "db-pg"])
    assert words == [patroni.ROLES_CALLBACK, "on_start", "replica", "db-pg"]


# --- the only member ---------------------------------------------------------------------------------------------


def noted(settings: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7", "annotations": {"config": json.dumps(settings)}}}


SETTINGS: dict[str, tuple[Any, Any]] = {
    "of a cluster that was made before": (
        {"ttl": 30, "postgresql": {"use_pg_rewind": True}},
        {"ttl": 30, "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 50}}},
    ),
    "that say another number": (
        {"postgresql": {"parameters": {"max_connections": 100, "wal_level": "logical"}}},
        {"postgresql": {"parameters": {"max_connections": 50, "wal_level": "logical"}}},
    ),
    "that are right": ({"postgresql": {"parameters": {"max_connections": "50"}}}, None),
    "that are empty": ({"postgresql": None}, {"postgresql": {"parameters": {"max_connections": 50}}}),
}


@pytest.mark.parametrize(("found", "written"), SETTINGS.values(), ids=SETTINGS)
def test_the_only_member_brings_settings_before_it_starts(alone: Any, found: Any, written: Any) -> None:
    api = Api(noted(found))
    alone.bring("db-pg", {"max_connections": 50}, ask=api)
    if written is None:
        assert api.written == []
        return
    ((path, body),) = api.written
    assert path == "configmaps/db-pg-config"
    assert body["metadata"]["resourceVersion"] == "7"
    assert json.loads(body["metadata"]["annotations"]["config"]) == written


def test_a_cluster_that_is_yet_to_be_made_is_left_to_its_configuration(alone: Any) -> None:
    def absent(verb: str, path: str, body: Any = None) -> Any:
        raise urllib.error.HTTPError(path, 404, "Not Found", None, None)  # type: ignore[arg-type]

    alone.bring("db-pg", {"max_connections": 50}, ask=absent)
    alone.bring("db-pg", {"max_connections": 50}, ask=Api({"metadata": {"resourceVersion": "1"}}))


def test_the_only_member_waits_for_the_api_server(alone: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([OSError("unreachable"), OSError("unreachable"), None])

    def step() -> None:
        if problem := next(answers):
            raise problem

    rests: list[float] = []
    alone.until_done(step, sleep=rests.append)
    assert rests == [2, 2]
    assert capsys.readouterr().err.count("unreachable") == 1
