"""What a cluster keeps on disk: where, and how it is written so that a kill leaves the old or the new, never half."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from libresh.errors import LibreshError
from libresh.local.spec import Cluster

LOCK_PATIENCE = 2.0


def root() -> Path:
    return Path(os.environ.get("LIBRESH_STATE") or "/var/lib/libresh").absolute()


def write_file(path: Path, content: str | bytes, *, mode: int = 0o600) -> bool:
    """Replace a file at once and durably; False when it already read so. Secrets never exist with a wider mode."""
    raw = content.encode() if isinstance(content, str) else content
    try:
        if path.read_bytes() == raw:
            return False
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def write_json(path: Path, value: Any, *, mode: int = 0o600) -> bool:
    return write_file(path, json.dumps(value, indent=1) + "\n", mode=mode)


def save(cluster: Cluster) -> None:
    kept = {
        "slot": cluster.slot,
        "nodes": cluster.nodes,
        "suffix": cluster.suffix,
        "unsafeEtcd": cluster.unsafe_etcd,
        "listen": cluster.listen,
    }
    write_json(cluster.folder / "cluster.json", kept)


def load(name: str) -> Cluster | None:
    """The cluster of that name, or None if it was never made."""
    path = root() / "clusters" / name / "cluster.json"
    try:
        kept = json.loads(path.read_text())
        return Cluster(
            name=name,
            slot=int(kept["slot"]),
            state=root(),
            nodes=int(kept["nodes"]),
            suffix=str(kept["suffix"]),
            unsafe_etcd=bool(kept.get("unsafeEtcd")),
            listen=str(kept.get("listen", "")),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise LibreshError(
            "cluster-state-unreadable",
            f"{path} cannot be understood: {error}",
            "restore it from a copy, or give up the cluster's data with: libresh local purge",
        ) from error


def load_all() -> tuple[Cluster, ...]:
    folder = root() / "clusters"
    names = sorted(path.parent.name for path in folder.glob("*/cluster.json"))
    return tuple(cluster for name in names if (cluster := load(name)))


@contextlib.contextmanager
def locked_machine() -> Iterator[None]:
    """For the moment in which a new cluster takes its place among the others."""
    path = root() / "clusters" / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One command at a time per cluster. The lock lies beside the folder, so that a purge can hold it too."""
    path = root() / "clusters" / f".{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        # A command that was killed may leave a child between fork and exec, which holds the lock an instant longer.
        deadline = time.monotonic() + LOCK_PATIENCE
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise LibreshError(
                    "cluster-busy",
                    f"another command is at work on the cluster {name!r}",
                    f"wait for it to end; it holds {path}",
                )
            time.sleep(0.05)
        yield
