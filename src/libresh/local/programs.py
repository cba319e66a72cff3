"""Which binary sets a cluster is made of, and building those that are missing."""

from __future__ import annotations

from pathlib import Path

from libresh.local import binaries
from libresh.local.control import Programs
from libresh.local.progress import Progress

# Sets in the order they are built, with the seconds that takes on two cores.
BUILD_TIMES = {"kubernetes": 390, "node": 85, "coredns": 60, "cluster": 90}


def build_programs(show: Progress) -> Programs:
    """Every set's folder, built now where it is missing."""

    def build(name: str) -> Path:
        if binaries.is_built(name):
            return binaries.build(name)
        binaries.check_room()
        with show.step(f"compiling {name}", BUILD_TIMES[name]):
            return binaries.build(name)

    built = {name: build(name) for name in BUILD_TIMES}
    return Programs(built["kubernetes"], built["node"], built["coredns"], built["cluster"])
