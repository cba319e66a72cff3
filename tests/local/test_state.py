"""Files that are old or new, never half; and clusters kept on disk."""

import stat
from pathlib import Path

import pytest

from libresh.errors import LibreshError
from libresh.local import state
from libresh.local.spec import Cluster


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIBRESH_STATE", str(tmp_path))
    return tmp_path


def test_writing_says_whether_something_changed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert state.write_file(path, "one")
    assert not state.write_file(path, "one")
    assert state.write_file(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_files_are_private_unless_told_otherwise(tmp_path: Path) -> None:
    state.write_file(tmp_path / "secret", "x")
    state.write_file(tmp_path / "open", "x", mode=0o644)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o644


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    state.write_file(path, "old")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        state.write_file(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_cluster_survives_being_saved(root: Path) -> None:
    cluster = Cluster("test", 3, root, nodes=2, suffix="example.org", unsafe_etcd=True, listen="0.0.0.0")
    state.save(cluster)
    assert state.load("test") == cluster
    assert state.load_all() == (cluster,)


def test_an_unknown_cluster_is_none(root: Path) -> None:
    assert state.load("test") is None
    assert state.load_all() == ()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"slot": 1}', '{"slot": "x", "nodes": 1, "suffix": "s"}'])
def test_a_broken_record_is_refused_and_not_replaced(root: Path, content: str) -> None:
    path = root / "clusters" / "test" / "cluster.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(LibreshError, match="cannot be understood"):
        state.load("test")
    assert path.read_text() == content


def test_two_commands_on_one_cluster_are_refused(root: Path) -> None:
    with (
        state.locked("test"),
        pytest.raises(LibreshError, match="another command is at work"),
        state.locked("test"),
    ):
        pass
    with state.locked("test"), state.locked("other"):
        pass
