"""The keeper itself, without namespaces: it starts, restarts, replaces and stops what it is told to."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libresh.local import binaries, keeper
from libresh.local.keeper import Config, Service


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keeper where keepers lie in a cache."""
    target = tmp_path_factory.mktemp("cache") / "bin" / "node-0123456789abcdef"
    environment = {**os.environ, "CGO_ENABLED": "0"}
    command = [binaries.find_go(), "build", "-o", f"{target}/", "./keeper"]
    target.mkdir(parents=True)
    subprocess.run(command, cwd=binaries.sources() / "node", env=environment, check=True)
    return target / "keeper"


class World:
    """One keeper and its configuration."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder, self.program, self.config = folder, program, folder / "keeper.json"
        self.events = folder / "events"

    def service(self, name: str, script: str = "sleep 1000", **more: Any) -> Service:
        """A shell script that notes its start and, when it is asked to end, its end."""
        noted = (
            f"echo start {name} >>{self.events}; trap 'echo stop {name} >>{self.events}; exit 0' TERM; {script} & wait"
        )
        log = str(self.folder / f"{name}.log")
        return Service(name, ("/bin/sh", "-c", noted), log, env=("PATH=/usr/bin:/bin",), **more)

    def start(self, *services: Service) -> None:
        keeper.write_config(self.config, Config(services=services))
        keeper.start(("env",), self.program, self.config, self.folder / "keeper.log")

    def replace(self, *services: Service) -> None:
        keeper.write_config(self.config, Config(services=services))
        running = keeper.find(self.config)
        assert running is not None
        keeper.reload(running, self.config)

    def happened(self) -> list[str]:
        return self.events.read_text().splitlines() if self.events.exists() else []

    def told(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = keeper.read_state(self.config)["services"][name]
        return found


@pytest.fixture
def world(tmp_path: Path, program: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("LIBRESH_CACHE", str(program.parent.parent.parent))
    made = World(tmp_path, program)
    yield made
    keeper.stop(made.config, 10)


def until(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not met():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_services_start_in_order_and_stop_in_reverse(world: World) -> None:
    world.start(world.service("one"), world.service("two"), world.service("three"))
    until(lambda: len(world.happened()) == 3, "all to start")
    until(lambda: keeper.is_settled(world.config), "to settle")
    assert keeper.stop(world.config, 10)
    assert world.happened()[3:] == ["stop three", "stop two", "stop one"]
    assert keeper.find(world.config) is None
    assert not keeper.stop(world.config, 10)


def test_what_ends_is_started_again_ever_more_slowly(world: World) -> None:
    world.start(world.service("short", "exit 3"))
    until(lambda: world.told("short")["restarts"] >= 3, "three restarts")
    assert world.told("short")["lastExit"] == "exit code 0"  # the shell's own, after its child
    said = (world.folder / "keeper.log").read_text()
    assert [f"starting it again in {pause}" in said for pause in ("1s", "2s", "4s")] == [True, True, True]


def test_a_death_by_signal_is_told(world: World) -> None:
    world.start(world.service("victim"))
    until(lambda: len(world.happened()) == 1, "the start")
    os.kill(world.told("victim")["pid"], signal.SIGKILL)
    until(lambda: world.happened() == ["start victim"] * 2, "the restart")
    assert world.told("victim")["lastExit"] == "signal: killed"


def test_a_reload_replaces_what_changed_and_leaves_the_rest(world: World) -> None:
    world.start(world.service("same"), world.service("changed"), world.service("gone"))
    until(lambda: keeper.is_settled(world.config) and len(world.happened()) == 3, "all to start")
    before = world.told("same")
    world.replace(world.service("same"), world.service("changed", "sleep 2000"), world.service("new"))
    until(lambda: "start new" in world.happened(), "the new one")
    assert world.told("same") == before
    assert world.happened()[3:5] == ["stop gone", "stop changed"]
    assert "gone" not in keeper.read_state(world.config)["services"]


def test_a_service_waits_for_what_must_answer_first(world: World) -> None:
    address = world.folder / "socket"
    world.start(world.service("late", after=(f"unix:{address}",)), world.service("early"))
    until(lambda: world.happened() == ["start early"], "the one that need not wait")
    assert not keeper.is_settled(world.config)
    listen = "import socket,time;s=socket.socket(1);s.bind('socket');s.listen();time.sleep(60)"
    listener = subprocess.Popen(["python3", "-c", listen], cwd=world.folder)
    try:
        until(lambda: "start late" in world.happened(), "the one that waited")
    finally:
        listener.kill()
        listener.wait()


def test_the_command_before_a_stop_runs_to_its_end_first_and_not_at_a_reload(world: World) -> None:
    farewell = ("/bin/sh", "-c", f"sleep 0.3; echo farewell >>{world.events}")
    world.start(world.service("polite", before_stop=farewell))
    until(lambda: len(world.happened()) == 1, "the start")
    world.replace(world.service("polite", "sleep 2000", before_stop=farewell))
    until(lambda: world.happened() == ["start polite", "stop polite", "start polite"], "the replacement")
    keeper.stop(world.config, 10)
    assert world.happened()[3:] == ["farewell", "stop polite"]


def test_who_ignores_the_request_to_end_is_killed_after_its_time(world: World) -> None:
    world.start(Service("deaf", ("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"), "", grace=1))
    until(lambda: keeper.is_settled(world.config), "the start")
    time.sleep(0.3)  # the shell needs a moment to become deaf
    began = time.monotonic()
    keeper.stop(world.config, 20)
    assert 0.9 < time.monotonic() - began < 10


def test_a_second_keeper_of_the_same_configuration_is_refused(world: World) -> None:
    world.start(world.service("one"))
    second = subprocess.run([world.program, world.config], capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 1
    assert "another keeper runs this configuration" in second.stderr


def test_a_keeper_is_known_by_program_and_configuration_not_by_number(world: World, tmp_path: Path) -> None:
    world.start(world.service("one"))
    assert keeper.find(world.config) is not None
    assert keeper.find(tmp_path / "other.json") is None
    impostor = subprocess.Popen(["/bin/sleep", "60", str(world.config)], stderr=subprocess.DEVNULL)
    try:
        found = keeper.find(world.config)
        assert found is not None
        assert found.pid != impostor.pid
    finally:
        impostor.kill()
        impostor.wait()


def test_a_configuration_that_cannot_be_read_is_not_taken_over(world: World) -> None:
    world.start(world.service("one"))
    until(lambda: keeper.is_settled(world.config), "the start")
    before = keeper.read_state(world.config)
    good = world.config.read_text()
    world.config.write_text("{")
    running = keeper.find(world.config)
    assert running is not None
    running.send(signal.SIGHUP)
    until(lambda: "keeping the old configuration" in (world.folder / "keeper.log").read_text(), "the complaint")
    assert keeper.read_state(world.config) == before
    world.config.write_text(good)


def test_a_log_never_grows_without_bound(world: World) -> None:
    chatty = world.service("chatty", "yes filling the log with many words | head -c 3000000; sleep 1000")
    told = json.loads(Config(services=(chatty,)).render())
    told["logLimit"] = 1_000_000
    world.config.write_text(json.dumps(told))
    log = Path(chatty.log)
    keeper.start(("env",), world.program, world.config, world.folder / "keeper.log")
    until(lambda: log.exists() and log.stat().st_size >= 3_000_000, "the log to grow")
    running = keeper.find(world.config)
    assert running is not None
    running.send(signal.SIGHUP)  # which looks at logs at once, and else every ten seconds
    until(lambda: log.stat().st_size < 1_000_000, "the log to be cut")
    assert Path(f"{log}.1").stat().st_size > 1_000_000
