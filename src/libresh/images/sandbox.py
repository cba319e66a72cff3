"""A filesystem made of layers, entered in mount and process namespaces of its own.

The mounts exist only in that mount namespace, and everything in it dies with us: a killed build leaves no mount.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from libresh.images.host import BUILD, Settings, env_script

DEVICES = ("null", "zero", "full", "random", "urandom")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_NAMES = ("/etc/resolv.conf", "/etc/hosts")
"""Files that a container runtime provides, and that we therefore show but never write."""


@dataclass(frozen=True)
class Tree:
    """What to mount: layers (lowest first), where changes go, and what else to show inside."""

    layers: Sequence[Path]
    upper: Path
    binds: Mapping[str, str] = field(default_factory=dict)
    writable: Mapping[str, str] = field(default_factory=dict)


def mount_script(tree: Tree, root: Path, work: Path) -> str:
    """Shell lines that build the tree under `root`, ready for chroot."""
    lowers = ":".join(str(path) for path in reversed(tree.layers))
    lines = ["set -eu", "mount --make-rprivate /"]
    options = f"lowerdir={lowers},upperdir={tree.upper},workdir={work},{OVERLAY_OPTIONS}"
    lines.append(f"mount -t overlay overlay -o {shlex.quote(options)} {root}")
    lines += _system_mounts(root)
    for source, inside in {**tree.binds, **tree.writable}.items():
        make = "mkdir -p $inside" if Path(source).is_dir() else "mkdir -p $(dirname $inside); : >> $inside"
        lines += [
            # Resolved inside: a link such as /var/run must not lead to this machine's own.
            f"inside=$(chroot {root} realpath -m {shlex.quote(inside)})",
            f'[ -e {root}$inside ] || chroot {root} /bin/sh -c "{make}"',
            f"target={root}$inside; mount --bind {shlex.quote(source)} $target",
        ]
        if source in tree.binds:
            lines.append("mount -o remount,bind,ro $target")
    return "\n".join(lines) + "\n"


OVERLAY_OPTIONS = "index=off,metacopy=off,redirect_dir=off,xino=off"
"""So that the upper folder holds plain files, whiteouts and opaque folders, and nothing only this mount understands."""


def _system_mounts(root: Path) -> list[str]:
    lines = [
        f"mount -t tmpfs -o mode=0755,size=2g tmpfs {root}/run",
        f"mount -t tmpfs -o mode=1777,size=4g tmpfs {root}/tmp",
        f"mount -t proc proc {root}/proc",
        f"mount -t tmpfs -o mode=0755,size=64k tmpfs {root}/dev",
        f"mkdir {root}/dev/shm && mount -t tmpfs -o mode=1777 tmpfs {root}/dev/shm",
        f"ln -s /proc/self/fd {root}/dev/fd",
        f"ln -s /proc/self/fd/0 {root}/dev/stdin",
        f"ln -s /proc/self/fd/1 {root}/dev/stdout",
        f"ln -s /proc/self/fd/2 {root}/dev/stderr",
    ]
    lines += [f": > {root}/dev/{name}; mount --bind /dev/{name} {root}/dev/{name}" for name in DEVICES]
    lines += [f"[ ! -e {root}{name} ] || mount --bind {name} {root}{name}" for name in HOST_NAMES]
    return lines


def build(tree: Tree, commands: Sequence[str], settings: Settings, work: Path, log: Path) -> int:
    """Run shell commands as root in the tree, with the machine's package settings; the exit status."""
    root, overlay = work / "root", work / "overlay"
    root.mkdir()
    overlay.mkdir()
    inside = f"{root}{BUILD}"
    lines = [f"mkdir -p {inside}/home {inside}/cache"]
    for name, content in settings.files.items():
        (work / name).write_text(content)
        lines.append(f"install -m 0600 {work / name} {inside}/{name}")
    fixed = {"PATH": PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "PYTHONHASHSEED": "0"}
    steps = "set -eu\numask 022\n" + env_script(fixed | settings.env) + "\n".join(commands) + "\n"
    (work / "steps").write_text(steps)
    lines.append(f"install -m 0600 {work / 'steps'} {inside}/steps")
    lines.append(f"exec chroot {root} /bin/sh {BUILD}/steps")
    whole = Tree(tree.layers, tree.upper, {**settings.binds, **tree.binds}, tree.writable)
    script = work / "script"
    script.write_text(mount_script(whole, root, overlay) + "\n".join(lines) + "\n")
    with open(log, "ab") as output:
        return subprocess.run(
            [*ISOLATION, "/bin/sh", str(script)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            env={"PATH": PATH},
        ).returncode


ISOLATION = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--pid",
    "--ipc",
    "--fork",
    "--kill-child",
)


@dataclass(frozen=True)
class Process:
    """What runs in a finished image, the way the cluster will run it."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    user: int = 10001
    working_dir: str = "/"


def start(
    layers: Sequence[Path], process: Process, work: Path, writable: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process without any privilege on a read-only root; killing it kills all it started.

    `writable` maps folders of this machine to where they are shown, as volumes are.
    """
    root, overlay, upper = work / "root", work / "overlay", work / "upper"
    for folder in (root, overlay, upper):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    upper.chmod(0o755)
    drop = (
        f"setpriv --reuid {process.user} --regid {process.user} --groups {process.user} --inh-caps=-all"
        f" --bounding-set=-all --no-new-privs --pdeathsig KILL"
    )
    command = " ".join(shlex.quote(word) for word in process.command)
    steps = f"cd {shlex.quote(process.working_dir)}\n{env_script({'PATH': PATH, **process.env})}exec {command}\n"
    (work / "steps").write_text(steps)
    lines = [
        f"install -m 0644 {work / 'steps'} {root}/run/.start",
        f"mount -o remount,ro {root}/run",
        f"mount -o remount,ro {root}",
        f"exec chroot {root} {drop} /bin/sh /run/.start",
    ]
    script = work / "script"
    script.write_text(mount_script(Tree(layers, upper, writable=writable or {}), root, overlay) + "\n".join(lines))
    return subprocess.Popen(
        [*ISOLATION, "/bin/sh", str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": PATH},
    )
