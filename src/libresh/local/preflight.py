"""Is this machine able to carry a cluster? Every refusal says what is missing and how to get it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from libresh.errors import LibreshError
from libresh.local import binaries, cgroups, network, state
from libresh.local.spec import Cluster, find_overlap

LEAST_DISK = 6 * 2**30
LEAST_MEMORY = 2 * 2**30

# command or file that shows it is there → Debian package
TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "gcc": "gcc",
    "pkg-config": "pkg-config",
    "modprobe": "kmod",
    "ss": "iproute2",
}
HEADERS = {"/usr/include/seccomp.h": "libseccomp-dev", "/usr/include/stdio.h": "libc6-dev"}


def check_machine() -> None:
    """What can be told before anything is touched."""
    if sys.platform != "linux":
        raise LibreshError("not-linux", "a local cluster needs Linux", "use a virtual machine, or an existing cluster")
    check_root()
    cgroups.check()
    for folder in {state.root(), binaries.cache()}:
        _check_disk(folder)
    if (memory := machine_memory()) < LEAST_MEMORY:
        raise LibreshError(
            "memory-short",
            f"the machine has {memory / 2**30:.1f} GiB of memory; a cluster alone needs {LEAST_MEMORY // 2**30}",
            "give the machine 4 GiB or more",
        )


def check_root() -> None:
    if os.geteuid() != 0:
        raise LibreshError(
            "not-root", "a local cluster makes namespaces, mounts and routes, which takes root", "repeat it with sudo"
        )


def _check_disk(folder: Path) -> None:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < LEAST_DISK:
        raise LibreshError(
            "disk-short",
            f"{folder} has {free / 2**30:.1f} GiB free, {LEAST_DISK / 2**30:.0f} are needed",
            "make room, or put the data elsewhere with LIBRESH_STATE and LIBRESH_CACHE",
        )


def missing_packages() -> tuple[str, ...]:
    """Debian packages whose commands or headers are not there."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {package for tool, package in TOOLS.items() if shutil.which(tool, path=path) is None}
    # Multi-arch headers lie one folder deeper.
    for header, package in HEADERS.items():
        if not Path(header).exists() and not list(Path("/usr/include").glob(f"*/{Path(header).name}")):
            missing.add(package)
    return tuple(sorted(missing))


def install_packages(say: Callable[[str], None]) -> None:
    """Install what is missing where apt can; elsewhere say what is missing."""
    missing = missing_packages()
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise LibreshError(
            "packages-missing",
            f"these packages (Debian's names) are missing: {', '.join(missing)}",
            "install them with your distribution's package manager",
        )
    say(f"installing the Debian packages {', '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:]
        raise LibreshError(
            "packages-not-installed",
            f"apt-get could not install {', '.join(missing)}: {' '.join(last)}",
            f"try it by hand: apt-get install {' '.join(missing)}",
        )


def check_ranges(cluster: Cluster) -> None:
    """Refuse address ranges that a route not of our own already covers."""
    routes = network.list_routes(without=frozenset({cluster.bridge}))
    if clash := find_overlap(cluster.slot, routes):
        raise LibreshError(
            "address-range-taken",
            f"the cluster's range {clash[0]} overlaps this machine's route to {clash[1]}",
            "take down the network (a VPN, another cluster) that uses it",
        )


def check_ports(ports: tuple[tuple[str, int], ...]) -> None:
    """Refuse when somebody else listens where the control plane must."""
    taken = [f"{address}:{port}{_holder(address, port)}" for address, port in ports if not _is_free(address, port)]
    if taken:
        raise LibreshError("ports-taken", f"already in use: {', '.join(taken)}", "stop what uses them, then repeat")


def _is_free(address: str, port: int) -> bool:
    """An address that does not exist yet is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRNOTAVAIL
    return True


def _holder(address: str, port: int) -> str:
    """Who listens there, or everywhere, as far as can be told."""
    listed = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True, check=False).stdout
    places = {f"{where}:{port}" for where in (address, "0.0.0.0", "*", "[::]")}
    for line in listed.splitlines():
        if places & set(line.split()[:4]) and 'users:(("' in line:
            return f" (by {line.split('users:((')[1].split(chr(34))[1]})"
    return ""


def machine_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
