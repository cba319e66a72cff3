"""Ending processes of pods the hard way. Containers run on this machine, so their processes are seen from here."""

import os
import signal
from pathlib import Path

from e2e.kubernetes import Object


def find(pod: Object, name: str = "") -> dict[int, str]:
    """The processes of a pod by number, the one that holds its network among them, or only those of a name."""
    uid = pod["metadata"]["uid"]
    marks = (f"pod{uid}/", f"pod{uid.replace('-', '_')}.slice/")
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            groups, command = (entry / "cgroup").read_text(), (entry / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(mark in groups for mark in marks) and name in ("", command):
            found[int(entry.name)] = command
    return found


def kill(pod: Object, name: str = "") -> dict[int, str]:
    """SIGKILL for each of them; which they were."""
    found = find(pod, name)
    assert found, f"pod {pod['metadata']['name']} has no process {name or 'of its own'}"
    for number in found:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return found
