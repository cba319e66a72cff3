"""The cache of finished layers, images, programs and archives. Only finished things ever appear in it.

Everything is made under work/ and renamed into place when it is whole; what a killed build left there is
removed by the next one, which knows it by the lock that nobody holds any more.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEFAULT = Path("/var/cache/libresh/images")


class Store:
    def __init__(self, root: Path | None = None) -> None:
        configured = os.environ.get("LIBRESH_CACHE")
        self.root = root or (Path(configured) / "images" if configured else DEFAULT)
        for name in ("layers", "images", "archives", "go", "cargo", "work", "locks", "logs", "shared"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def layer(self, key: str) -> Path:
        return self.root / "layers" / key

    def image(self, key: str) -> Path:
        return self.root / "images" / f"{key}.json"

    def archive(self, name: str) -> Path:
        return self.root / "archives" / f"{name}.tar"

    def go_binary(self, key: str) -> Path:
        return self.root / "go" / key

    def cargo_binary(self, key: str) -> Path:
        return self.root / "cargo" / key

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def shared(self, name: str) -> Path:
        """A folder for package managers' own caches; losing it costs time only."""
        path = self.root / "shared" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One builder at a time for one thing, across threads and processes."""
        with open(self.root / "locks" / name, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A folder that is gone afterwards, or after the next start if we are killed."""
        with self.locked("work"):
            path = Path(tempfile.mkdtemp(dir=self.root / "work"))
            lock = open(f"{path}.lock", "w")  # noqa: SIM115 - held for as long as the folder is in use
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            Path(f"{path}.lock").unlink(missing_ok=True)
            lock.close()

    def remove_leftovers(self) -> None:
        """Clear what killed builds left. Their mounts went with their mount namespaces; their folders are here."""
        with self.locked("work"):
            for path in sorted((self.root / "work").iterdir()):
                if path.suffix == ".lock":
                    _remove_unheld(path)
                elif not Path(f"{path}.lock").exists():
                    shutil.rmtree(path, ignore_errors=True)

    def write(self, path: Path, content: dict[str, Any]) -> None:
        with self.workspace() as work:
            draft = work / "draft"
            draft.write_text(json.dumps(content, indent=1, sort_keys=True))
            publish(draft, path)


def publish(draft: Path, path: Path) -> None:
    """Make a finished file or folder appear under its name, whole or not at all, even if the power fails now."""
    if path.is_dir():
        shutil.rmtree(path)
    subprocess.run(["sync", "--file-system", str(draft)], check=True)
    os.rename(draft, path)


def _remove_unheld(lock: Path) -> None:
    with open(lock) as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)
