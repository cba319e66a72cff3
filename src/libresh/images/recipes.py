"""Recipes: what an image is made of, read from build/images/<name>/recipe.toml and build/images/versions.toml."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libresh.errors import LibreshError

PLACEHOLDER = re.compile(r"\$\{([a-z0-9_]+)\}")
RECIPE_WORDS = {"version", "title", "licenses", "from", "layer", "config", "check", "internal", "image"}


@dataclass(frozen=True)
class Copy:
    """A file or folder that goes into a filesystem; `source` is absolute on the building machine."""

    source: Path
    to: str
    mode: int | None = None


@dataclass(frozen=True)
class Directory:
    path: str
    mode: int
    owner: int = 0


@dataclass(frozen=True)
class GoBinary:
    """A program from one of the Go modules under build/go, linked statically."""

    module: Path
    package: str
    to: str


@dataclass(frozen=True)
class CargoBinary:
    """A program of a published Rust crate, with the dependencies published with it, and just these features."""

    crate: str
    version: str
    features: tuple[str, ...]
    to: str


@dataclass(frozen=True)
class Stage:
    """Commands run in another image's filesystem, of which only `export` is kept: compilers stay outside."""

    builder: str
    inputs: tuple[Copy, ...]
    run: tuple[str, ...]
    export: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """One layer. The parts are carried out in the order of the fields."""

    stage: Stage | None = None
    apt: tuple[str, ...] = ()
    go: tuple[GoBinary, ...] = ()
    cargo: tuple[CargoBinary, ...] = ()
    copy: tuple[Copy, ...] = ()
    directories: tuple[Directory, ...] = ()
    run: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A command that must succeed in the finished image, as its user and on a read-only root."""

    run: tuple[str, ...]
    expect: str = ""
    writable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Config:
    user: str = "10001:10001"
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = "/"


@dataclass(frozen=True)
class Recipe:
    """An image. `parent` is the recipe whose layers come first; "debian" is the bootstrapped system, "" nothing."""

    name: str
    image: str
    """What it is published as: usually its own name, another's for an earlier version of the same image."""
    version: str
    title: str
    licenses: str
    parent: str
    layers: tuple[Layer, ...]
    config: Config
    checks: tuple[Check, ...]
    internal: bool
    """Not among the images of an installation; built when another needs it or somebody names it."""

    def builders(self) -> tuple[str, ...]:
        """The other recipes that must be built before this one."""
        stages = tuple(layer.stage.builder for layer in self.layers if layer.stage)
        parents = (self.parent,) if self.parent not in ("", "debian") else ()
        return tuple(dict.fromkeys(parents + stages))


@dataclass(frozen=True)
class Debian:
    suite: str
    refreshed: str
    """The day the packages were last chosen anew; a later day rebuilds everything with the packages of then."""


@dataclass(frozen=True)
class Catalog:
    debian: Debian
    recipes: Mapping[str, Recipe]

    def recipe(self, name: str) -> Recipe:
        if name not in self.recipes:
            known = ", ".join(self.published())
            raise LibreshError("unknown-image", f"There is no image recipe named {name!r}", f"known: {known}")
        return self.recipes[name]

    def published(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, recipe in self.recipes.items() if not recipe.internal))


def source_root() -> Path:
    """The repository with build/images: $LIBRESH_SOURCE, or the checkout that this file lies in."""
    configured = os.environ.get("LIBRESH_SOURCE")
    root = Path(configured) if configured else Path(__file__).resolve().parents[3]
    if not (root / "build" / "images" / "versions.toml").is_file():
        raise LibreshError(
            "no-image-recipes",
            f"No image recipes under {root}",
            "run from a checkout of libre.sh, or name one in LIBRESH_SOURCE",
        )
    return root


def load(root: Path) -> Catalog:
    """Every recipe of the repository at `root`, with the versions filled in."""
    folder = root / "build" / "images"
    versions = _read(folder / "versions.toml")
    names: dict[str, str] = versions["versions"]
    debian = Debian(suite=versions["debian"]["suite"], refreshed=str(versions["debian"]["refreshed"]))
    loaded = {path.parent.name: _Reader(path, root, names).recipe() for path in sorted(folder.glob("*/recipe.toml"))}
    for recipe in loaded.values():
        for needed in recipe.builders():
            if needed not in loaded:
                raise LibreshError("unknown-image", f"Image {recipe.name} builds on {needed!r}, which has no recipe")
    return Catalog(debian, loaded)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise LibreshError("bad-image-recipe", f"{path}: {error}") from error


class _Reader:
    """Turns one recipe file into values; every complaint names the file."""

    def __init__(self, path: Path, root: Path, versions: Mapping[str, str]) -> None:
        self.path = path
        self.root = root
        self.versions = versions

    def recipe(self) -> Recipe:
        data = self._filled(_read(self.path))
        unknown = sorted(set(data) - RECIPE_WORDS)
        if unknown:
            raise LibreshError("bad-image-recipe", f"{self.path}: unknown: {', '.join(unknown)}")
        try:
            return Recipe(
                name=self.path.parent.name,
                image=data.get("image", self.path.parent.name),
                version=data["version"],
                title=data["title"],
                licenses=data.get("licenses", "Apache-2.0"),
                parent=data["from"],
                layers=tuple(self._layer(layer) for layer in data.get("layer", [])),
                config=_config(data.get("config", {})),
                checks=tuple(_check(check) for check in data.get("check", [])),
                internal=data.get("internal", False),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise LibreshError("bad-image-recipe", f"{self.path}: {type(error).__name__}: {error}") from error

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return PLACEHOLDER.sub(self._version, value)
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, dict):
            return {key: self._filled(item) for key, item in value.items()}
        return value

    def _version(self, match: re.Match[str]) -> str:
        if match[1] not in self.versions:
            raise LibreshError(
                "bad-image-recipe", f"{self.path}: ${{{match[1]}}} is not in versions.toml under [versions]"
            )
        return self.versions[match[1]]

    def _layer(self, data: dict[str, Any]) -> Layer:
        stage = data.get("stage")
        return Layer(
            stage=self._stage(stage) if stage else None,
            apt=tuple(data.get("apt", ())),
            go=tuple(self._go(item) for item in data.get("go", ())),
            cargo=tuple(_cargo(item) for item in data.get("cargo", ())),
            copy=tuple(self._copy(item) for item in data.get("copy", ())),
            directories=tuple(_directory(item) for item in data.get("directories", ())),
            run=tuple(data.get("run", ())),
        )

    def _stage(self, data: dict[str, Any]) -> Stage:
        return Stage(
            builder=data["builder"],
            inputs=tuple(self._copy(item) for item in data.get("inputs", ())),
            run=tuple(data["run"]),
            export=tuple(data["export"]),
        )

    def _copy(self, data: dict[str, Any]) -> Copy:
        """A leading slash means the repository, anything else the recipe's own folder."""
        given = data["from"]
        source = self.root / given[1:] if given.startswith("/") else self.path.parent / given
        mode = int(data["mode"], 8) if "mode" in data else None
        return Copy(source, data["to"], mode)

    def _go(self, data: dict[str, Any]) -> GoBinary:
        return GoBinary(self.root / "build" / "go" / data["module"], data["package"], data["to"])


def _cargo(data: dict[str, Any]) -> CargoBinary:
    return CargoBinary(data["crate"], data["version"], tuple(data.get("features", ())), data["to"])


def _directory(data: dict[str, Any]) -> Directory:
    return Directory(data["path"], int(data.get("mode", "0755"), 8), int(data.get("owner", 0)))


def _check(data: dict[str, Any]) -> Check:
    return Check(tuple(data["run"]), data.get("expect", ""), tuple(data.get("writable", ())))


def _config(data: dict[str, Any]) -> Config:
    return Config(
        user=data.get("user", "10001:10001"),
        entrypoint=tuple(data.get("entrypoint", ())),
        command=tuple(data.get("command", ())),
        env=dict(data.get("env", {})),
        ports=tuple(data.get("ports", ())),
        volumes=tuple(data.get("volumes", ())),
        working_dir=data.get("working_dir", "/"),
    )
