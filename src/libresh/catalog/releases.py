"""Release graphs: which versions of an application there are, what they are made of, and which may follow which.

A package's `releases.yaml`:

    releases:
      - version: 1.163.2
        images: {synapse: 1.163.2}   # image name → tag
        facts: {schema: "94"}        # what the package itself wants to know of it
        from: ["1"]                  # versions, or beginnings of them, that may be updated to this one
        withdrawn: why it must not be installed any more (optional)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from libresh.errors import LibreshError

NUMBER = re.compile(r"\d+|[A-Za-z]+")


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of an application."""

    version: str
    images: dict[str, str]
    facts: dict[str, str] = {}
    from_: list[str] = msgspec.field(name="from", default_factory=list)
    withdrawn: str = ""

    def follows(self, version: str) -> bool:
        """Whether an instance of `version` may be updated to this release in one step."""
        return version == self.version or any(is_prefix(each, version) for each in self.from_)


class File(msgspec.Struct, forbid_unknown_fields=True):
    """A releases.yaml."""

    releases: list[Release]


@dataclass(frozen=True)
class Releases:
    """The releases of one application, newest first."""

    known: tuple[Release, ...]

    def choose(self, wish: str | None) -> Release | None:
        """The newest release that `wish` (exact, or the beginning of a version; None: any) allows."""
        return next(
            (release for release in self.known if not release.withdrawn and is_prefix(wish or "", release.version)),
            None,
        )

    def get(self, version: str) -> Release | None:
        """Exactly this version, withdrawn or not."""
        return next((release for release in self.known if release.version == version), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The versions that can be asked for, newest first."""
        return tuple(release.version for release in self.known if not release.withdrawn)


def is_prefix(prefix: str, version: str) -> bool:
    """Whether `version` begins with `prefix`, in whole parts: 1.16 begins 1.16.2 but not 1.163.2."""
    wanted = re.split(r"[.+-]", prefix) if prefix else []
    return re.split(r"[.+-]", version)[: len(wanted)] == wanted


def sort_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders versions as people mean them; a pre-release (letters) comes before what it precedes."""
    parts = ((1, int(part), "") if part.isdigit() else (0, 0, part) for part in NUMBER.findall(version))
    return (*parts, (0, 1, ""))


def build_releases(releases: Iterable[Release], where: str = "releases") -> Releases:
    """A checked graph: unique versions, and every `from` means something."""
    known = sorted(releases, key=lambda release: sort_key(release.version), reverse=True)
    versions = [release.version for release in known]
    for version in versions:
        if versions.count(version) > 1:
            raise LibreshError("release-twice", f"{where}: the version {version} is there twice", "remove one of them")
    if not any(not release.withdrawn for release in known):
        raise LibreshError("no-release", f"{where}: no release that can be installed", "add one that is not withdrawn")
    return Releases(tuple(known))


def load_releases(path: Path) -> Releases:
    """Reads a package's releases.yaml."""
    import yaml  # only packages that keep their graph in a file need it

    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        file = msgspec.convert(found, File)
    except (yaml.YAMLError, msgspec.ValidationError, OSError) as error:
        raise LibreshError("bad-releases", f"{path}: {error}", "correct that file") from error
    return build_releases(file.releases, str(path))
