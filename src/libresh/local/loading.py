"""Images into nodes: an OCI archive goes into every node's containerd, unless it is there already."""

from __future__ import annotations

import json
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from libresh.errors import LibreshError
from libresh.local import keeper, node
from libresh.local.spec import Cluster, Node

NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


@dataclass(frozen=True)
class Image:
    """An image of an archive."""

    name: str
    digest: str


def read_images(archive: Path) -> tuple[Image, ...]:
    """What an OCI archive says it holds."""
    try:
        with tarfile.open(archive) as opened:
            index = opened.extractfile("index.json")
            if index is None:
                raise KeyError("index.json")
            manifests = json.load(index)["manifests"]
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise LibreshError(
            "archive-unreadable", f"{archive} is not an OCI archive: {error}", "make it with: libresh images build"
        ) from error
    images = []
    for manifest in manifests:
        names = [manifest.get("annotations", {}).get(key) for key in NAME_ANNOTATIONS]
        if name := next(filter(None, names), None):
            images.append(Image(name, manifest["digest"]))
    if not images:
        raise LibreshError(
            "archive-nameless",
            f"{archive} names none of its images",
            f"give its manifests the annotation {NAME_ANNOTATIONS[0]} in index.json",
        )
    return tuple(images)


def load(cluster: Cluster, archive: Path, programs: Path) -> tuple[Node, ...]:
    """Import an archive into every running node; returns the nodes that lacked it."""
    read_images(archive)  # refuse a bad archive before asking any node
    running = [member for member in cluster.members if keeper.find(member.keeper_config)]
    if not running:
        raise LibreshError("no-node-runs", f"no node of the cluster {cluster.name!r} runs", "start it: libresh up")
    with ThreadPoolExecutor(max_workers=2) as pool:
        imported = list(pool.map(lambda member: load_into(member, archive, programs), running))
    return tuple(member for member, done in zip(running, imported, strict=True) if done)


def list_images(member: Node, programs: Path) -> frozenset[Image]:
    """What a node has."""
    images = set()
    for line in _ctr(member, programs, "images", "ls").splitlines()[1:]:
        name, _, digest, *_ = line.split()
        images.add(Image(name, digest))
    return frozenset(images)


def load_into(member: Node, archive: Path, programs: Path) -> bool:
    """Import an archive into one node; whether it lacked it."""
    if set(read_images(archive)) <= list_images(member, programs):
        return False
    _ctr(member, programs, "images", "import", "--local", str(archive))
    return True


def is_reachable(member: Node, programs: Path) -> bool:
    try:
        list_images(member, programs)
    except LibreshError:
        return False
    return True


def _ctr(member: Node, programs: Path, *arguments: str) -> str:
    running = keeper.find(member.keeper_config)
    if running is None:
        raise LibreshError(
            "node-stopped",
            f"{member.name} does not run",
            f"start it: libresh local node start {member.number} --name {member.cluster.name}",
        )
    # The node's own /run is reached through its first process; no need to enter its namespaces.
    socket = f"/proc/{running.pid}/root{node.SOCKET}"
    command = [str(programs / "ctr"), "--address", socket, "--namespace", "k8s.io", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LibreshError(
            "containerd-refused",
            f"`ctr {' '.join(arguments)}` failed on {member.name}: {done.stderr.strip()}",
            f"read {member.cluster.logs}/{member.name}-containerd.log",
        )
    return done.stdout
