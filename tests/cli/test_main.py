"""The command line as a whole: help, errors, exit codes, which cluster is meant."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from libresh.cli import main, output
from libresh.cli.access import Target
from libresh.errors import LibreshError, Unavailable


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a whole command line in this process."""

    def call(*arguments: str, **environment: str) -> Done:
        with monkeypatch.context() as patch:
            patch.setattr("sys.argv", ["libresh", *arguments])
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main.main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return call


def test_it_is_a_program() -> None:
    command = [sys.executable, "-m", "libresh.cli", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("libresh ")


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_loads_and_explains_itself(command: str) -> None:
    group = main.libresh
    found = group.get_command(None, command)  # type: ignore[arg-type]
    assert found is not None
    assert found.help


def test_help_lists_all_commands(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in main.COMMANDS:
        assert f"  {command} " in done.stdout


def test_wrong_usage_ends_with_2(run: Run) -> None:
    assert run("nonsense").returncode == 2
    assert run("status", "--nonsense").returncode == 2
    assert run("status", "-A", "-n", "x").returncode == 2


def test_an_error_says_what_and_the_way_out_without_a_trace(run: Run, tmp_path: Path) -> None:
    done = run("status", KUBECONFIG=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "There is no kubeconfig" in done.stderr
    assert "way out:" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_error_for_programs_is_json(run: Run, tmp_path: Path) -> None:
    import json

    done = run("status", "-o", "json", KUBECONFIG=str(tmp_path / "none"))
    assert json.loads(done.stderr)["error"]["reference"] == "no-kubeconfig"


def test_a_trace_only_where_it_was_asked_for(run: Run, tmp_path: Path) -> None:
    assert "Traceback" in run("--debug", "status", KUBECONFIG=str(tmp_path / "none")).stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LibreshError("a", "b"), 1),
        (Unavailable("a", "b"), 3),
        (ValueError("a mistake of ours"), 1),
    ],
)
def test_exit_codes(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.report(error) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    main.report(ValueError("a mistake of ours"))
    told = capsys.readouterr().err
    assert "this should not happen: ValueError: a mistake of ours" in told
    assert "--debug" in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Run, shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_LIBRESH_COMPLETE" in done.stdout


def test_completion_answers(run: Run) -> None:
    done = run(_LIBRESH_COMPLETE="bash_complete", COMP_WORDS="libresh ins", COMP_CWORD="1")
    assert "install" in done.stdout
    assert "status" not in done.stdout


@pytest.mark.parametrize("command", [("down",), ("purge", "--yes")])
def test_where_there_is_no_cluster_nothing_is_to_be_done(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    done = run(*command, LIBRESH_STATE=str(tmp_path))
    assert done.returncode == 0
    assert "nothing to" in done.stdout


class TestTarget:
    """Which kubeconfig is meant."""

    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("LIBRESH_STATE", str(tmp_path / "state"))
        for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
            monkeypatch.delenv(name, raising=False)
        return tmp_path

    def make(self, path: Path) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        return str(path)

    def test_nothing_known_names_both_ways_out(self, home: Path) -> None:
        with pytest.raises(LibreshError, match="libresh up"):
            Target().access()

    def test_the_local_cluster_is_the_last_choice(self, home: Path) -> None:
        local = self.make(home / "state/clusters/libresh/admin.kubeconfig")
        assert Target().path == local
        self.make(home / ".kube/config")
        assert Target().path is None  # kubectl's own default
        assert Target(local=True).path == local

    def test_the_environment_goes_before_the_home_folder(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.make(home / ".kube/config")
        monkeypatch.setenv("KUBECONFIG", "/from/environment")
        assert Target().path == "/from/environment"

    def test_what_was_named_goes_before_all(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBECONFIG", "/from/environment")
        named = self.make(home / "mine")
        assert Target(kubeconfig=named).path == named

    def test_a_named_one_that_is_not_there_is_refused(self, home: Path) -> None:
        with pytest.raises(LibreshError, match="/none"):
            _ = Target(kubeconfig="/none").path


def test_tables_line_up_whatever_the_colours() -> None:
    lines = output.build_table(("A", "B"), [(output.paint("x", "red"), "long"), ("yyyy", "z")])
    from click import unstyle

    assert [unstyle(line) for line in lines] == ["A     B", "x     long", "yyyy  z"]
