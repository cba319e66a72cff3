"""Runs images as the cluster will: read-only root, uid 10001, no capability; folders stand for volumes."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from libresh import images
from libresh.images import sandbox


class Running:
    """One container of an image. Its volumes are given as {path inside: content}, a dict being files to write."""

    def __init__(self, name: str, folder: Path) -> None:
        self.layers = images.image_tree(name)
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def volume(self, path: str, files: Mapping[str, str] | None = None) -> Path:
        place = self.folder / "volumes" / path.strip("/").replace("/", "_")
        place.mkdir(parents=True, exist_ok=True)
        for file, content in (files or {}).items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_text(content)
            os.chown(place / file, 10001, 10001)
        os.chown(place, 10001, 10001)
        return place

    def start(
        self, command: Sequence[str], volumes: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        work = Path(tempfile.mkdtemp(dir=self.folder))
        work.chmod(0o755)
        shown = {str(self.volume(path)): path for path in volumes}
        process = sandbox.start(self.layers, sandbox.Process(command, env or {}), work, shown)
        self.processes.append(process)
        return process

    def run(self, command: Sequence[str], volumes: Sequence[str] = (), env: Mapping[str, str] | None = None) -> str:
        process = self.start(command, volumes, env)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output.decode(errors="replace")
        return output.decode(errors="replace")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            if process.stdout and process.stdout.closed:
                continue
            process.communicate()  # to the end of its output, which all that it started share
        self.processes.clear()


def wait_for_port(port: int, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port} after {seconds} s"
            time.sleep(0.1)
