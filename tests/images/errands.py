"""The errand's program in its image, run as a Job would run it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from containers import Running

ROOT = "of-the-administrator"
SECRETS, WORDS = "/etc/libresh/errand", "/tmp/words"
ENV = {"PATH": "/opt/errand/bin:/usr/bin:/bin", "PYTHONPATH": "/opt/libresh", "LIBRESH_LAST_WORDS": f"{WORDS}/log"}
PYTHON = "/opt/errand/bin/python"


class Errands:
    """The program, run as a Job would run it."""

    def __init__(self, running: Running, program: str, **order: Any) -> None:
        self.running = running
        self.program = program
        self.env: dict[str, str] = {}
        self.volumes = [SECRETS, WORDS]
        self.order = {"host": "127.0.0.1", "tls": "disable", "class": "outside", "passwords": ["password"], **order}
        running.volume(WORDS)

    def begin(self, task: str, secrets: dict[str, str], **order: Any) -> subprocess.Popen[bytes]:
        admin = {"admin-username": "root", "admin-password": ROOT}
        folder = self.running.volume(SECRETS)
        for path in folder.iterdir():
            path.unlink()
        self.running.volume(SECRETS, admin | secrets)
        (self.running.volume(WORDS) / "log").unlink(missing_ok=True)
        env = ENV | self.env | {"LIBRESH_ORDER": json.dumps(self.order | order)}
        command = [PYTHON, "-m", "libresh_errand", self.program, task]
        return self.running.start(command, self.volumes, env)

    def do(self, task: str, password: str = "first", *, secrets: dict[str, str] | None = None, **order: Any) -> int:
        process = self.begin(task, {"password": password, **(secrets or {})}, **order)
        output = process.communicate(timeout=120)[0].decode()
        assert "Traceback" not in output
        assert password not in output
        assert ROOT not in output
        return process.returncode

    @property
    def words(self) -> str:
        path: Path = self.running.volume(WORDS) / "log"
        return path.read_text() if path.exists() else ""
