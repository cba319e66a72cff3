"""Where a cluster's processes are counted and limited: a folder per node, and one for the control plane.

With cgroup v1 each controller has a hierarchy of its own. With cgroup v2 there is one, and a folder with children may
hold no processes; so daemons live in `system` below their node's folder, and the node's pods beside that. On machines
run by systemd the same folders are made at the root of the tree: systemd leaves alone what it did not make.
The v2 path was written from the documentation; no such machine was at hand to try it.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path

from libresh.errors import LibreshError

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("cpu", "cpuset", "memory", "pids")
CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
# At the root of a v1 hierarchy every process outside of cgroups weighs 1024, and so would all of ours together.
TOP_SHARES = 8192


def is_unified(mounts: str) -> bool:
    """Whether the machine runs cgroup v2 alone. A hybrid machine counts as v1: its controllers are there."""
    return any(line.split()[1:3] == [str(ROOT), "cgroup2"] for line in mounts.splitlines())


def find_hierarchies(mounts: str, kinds: tuple[str, ...] = ("cgroup",)) -> tuple[Path, ...]:
    """Every cgroup v1 hierarchy that is mounted where everybody expects it."""
    found = []
    for line in mounts.splitlines():
        _, target, kind, *_ = line.split()
        if kind in kinds and Path(target).parent == ROOT:
            found.append(Path(target))
    return tuple(sorted(set(found)))


def check() -> None:
    """Refuse a machine whose cgroups cannot carry a node."""
    mounts = _mounts()
    if is_unified(mounts):
        present = set((ROOT / "cgroup.controllers").read_text().split())
    else:
        present = {name for path in find_hierarchies(mounts) for name in path.name.split(",")}
    if missing := [name for name in NEEDED if name not in present]:
        raise LibreshError(
            "cgroups-missing",
            f"the cgroup controllers {', '.join(missing)} are not available below {ROOT}",
            "mount them (in a container: run it with its own cgroup namespace, privileged; on small boards: add "
            "cgroup_enable=memory to the kernel's command line)",
        )


def mount_missing() -> None:
    """cgroup v1 only: a container runtime expects the huge page hierarchy where the kernel has it."""
    mounts = _mounts()
    target = ROOT / "hugetlb"
    if is_unified(mounts) or target in find_hierarchies(mounts):
        return
    listed = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()]
    if not any(line[0] == "hugetlb" and line[3] == "1" for line in listed if not line[0].startswith("#")):
        return
    target.mkdir(exist_ok=True)
    command = ["mount", "-t", "cgroup", "-o", "hugetlb", "libresh", str(target)]
    subprocess.run(command, check=True, capture_output=True)


def unmount_own() -> None:
    """Take back what `mount_missing` mounted; it bears our name as its source."""
    for line in _mounts().splitlines():
        source, target, kind, *_ = line.split()
        if (source, kind) == ("libresh", "cgroup"):
            subprocess.run(["umount", target], check=False, capture_output=True)


def create(cgroup: str) -> tuple[str, ...]:
    """Make a folder in every hierarchy; returns those below it that daemons live in."""
    mounts = _mounts()
    if is_unified(mounts):
        return (str(_create_unified(cgroup)),)
    return tuple(str(_create_in(hierarchy, cgroup)) for hierarchy in find_hierarchies(mounts))


def _create_in(hierarchy: Path, cgroup: str) -> Path:
    levels = _levels(hierarchy, cgroup)
    for folder in levels:
        folder.mkdir(exist_ok=True)
        if (folder / CPUSET_FILES[0]).exists():
            # A fresh cpuset is empty, and nothing may run in an empty one.
            for name in CPUSET_FILES:
                (folder / name).write_text((folder.parent / name).read_text())
    if (levels[0] / "cpu.shares").exists():
        (levels[0] / "cpu.shares").write_text(str(TOP_SHARES))
    return levels[-1]


def _create_unified(cgroup: str) -> Path:
    levels = _levels(ROOT, cgroup)
    for folder in levels:
        folder.mkdir(exist_ok=True)
    for folder in (ROOT, *levels[:-1]):
        wanted = (folder / "cgroup.controllers").read_text().split()
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    return levels[-1]


def _levels(hierarchy: Path, cgroup: str) -> list[Path]:
    folders, current = [], hierarchy
    for part in (*cgroup.split("/"), "system"):
        current = current / part
        folders.append(current)
    return folders


def remove(cgroup: str) -> None:
    """Remove a folder whose processes are dead, and those above it that hold nothing else."""
    mounts = _mounts()
    # On a hybrid machine the container runtime makes folders in the v2 tree too, though it controls nothing there.
    for hierarchy in (ROOT,) if is_unified(mounts) else find_hierarchies(mounts, ("cgroup", "cgroup2")):
        top = hierarchy / cgroup
        for folder, _, _ in os.walk(top, topdown=False):
            _remove_folder(Path(folder))
        for parent in (top.parent, top.parent.parent):
            _remove_if_empty(parent)


def _remove_folder(folder: Path) -> None:
    # The kernel needs a moment after the last process died.
    for _ in range(100):
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(0.05)
    pids = (folder / "cgroup.procs").read_text().split()
    raise LibreshError(
        "cgroup-busy",
        f"{folder} still holds the processes {', '.join(pids) or 'of a folder below'}",
        "stop them, then repeat the command",
    )


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        # Another node or cluster lives there.
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise


def _mounts() -> str:
    return Path("/proc/mounts").read_text()
