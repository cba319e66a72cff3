"""Which cgroups a machine has, read from its mounts; and what is made of them, in folders that stand in for them."""

from pathlib import Path

import pytest

from libresh.errors import LibreshError
from libresh.local import cgroups

V1 = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
cgroup /other/place/memory cgroup rw,memory 0 0
"""
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"


def test_a_hybrid_machine_counts_as_v1() -> None:
    assert not cgroups.is_unified(V1)
    assert cgroups.is_unified(V2)


def test_hierarchies_are_those_in_the_usual_place() -> None:
    root = Path("/sys/fs/cgroup")
    assert cgroups.find_hierarchies(V1) == (root / "cpu,cpuacct", root / "memory")
    assert root / "unified" in cgroups.find_hierarchies(V1, ("cgroup", "cgroup2"))
    assert cgroups.find_hierarchies(V2) == ()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for /sys/fs/cgroup on a machine with v2."""
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    monkeypatch.setattr(cgroups, "_mounts", lambda: f"cgroup2 {tmp_path} cgroup2 rw 0 0\n")
    return tmp_path


def write_controllers(tree: Path, text: str) -> None:
    for folder in (tree, *(tree / part for part in ("libresh", "libresh/c", "libresh/c/node-1"))):
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.controllers").write_text(text)


def test_v2_hands_every_controller_down_and_keeps_daemons_in_a_leaf(tree: Path) -> None:
    write_controllers(tree, "cpu memory\n")
    assert cgroups.create("libresh/c/node-1") == (str(tree / "libresh/c/node-1/system"),)
    for folder in (tree, tree / "libresh", tree / "libresh/c", tree / "libresh/c/node-1"):
        assert (folder / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert not (tree / "libresh/c/node-1/system/cgroup.subtree_control").exists()


def test_a_missing_controller_is_refused_with_a_way_out(tree: Path) -> None:
    write_controllers(tree, "cpu cpuset pids\n")
    with pytest.raises(LibreshError, match="controllers memory are not available") as caught:
        cgroups.check()
    assert "cgroup_enable=memory" in caught.value.hint
    write_controllers(tree, "cpu cpuset pids memory io\n")
    cgroups.check()


def test_removing_one_node_leaves_the_others(tree: Path) -> None:
    for name in ("node-1/system", "node-1/kubepods/pod1", "node-2/system"):
        (tree / "libresh/c" / name).mkdir(parents=True)
    cgroups.remove("libresh/c/node-1")
    assert [path.name for path in (tree / "libresh/c").iterdir()] == ["node-2"]
    cgroups.remove("libresh/c/node-1")
    cgroups.remove("libresh/c/node-2")
    assert list(tree.iterdir()) == []
