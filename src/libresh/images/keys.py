"""What a layer or image is named after: the hash of everything that decides its bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from libresh.errors import LibreshError
from libresh.images.recipes import CargoBinary, Catalog, Copy, GoBinary, Layer, Recipe

FORMAT = 2
"""Raise it when the builder itself changes what it makes from the same recipe."""

SKIPPED = {"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"}

ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def architecture() -> str:
    """The host's architecture, in the word that Debian, Go and OCI share."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise LibreshError("unknown-architecture", f"No images for the architecture {machine}")
    return ARCHITECTURES[machine]


def layer_keys(catalog: Catalog, recipe: Recipe) -> tuple[str, ...]:
    """The keys of all layers of an image, the lowest first."""
    above: tuple[str, ...] = ()
    if recipe.parent == "debian":
        above = (_hash({"debian": dataclasses.asdict(catalog.debian)}),)
    elif recipe.parent:
        above = layer_keys(catalog, catalog.recipe(recipe.parent))
    for layer in recipe.layers:
        parent = above[-1] if above else ""
        above = (*above, _hash({"parent": parent, "layer": _layer(catalog, layer)}))
    return above


def image_key(recipe: Recipe, layers: tuple[str, ...]) -> str:
    described = dataclasses.asdict(recipe) | {"layers": layers, "checks": None}
    return _hash(described)


def go_key(binary: GoBinary) -> str:
    return _hash(_go(binary))


def cargo_key(binary: CargoBinary) -> str:
    """A version of a crate never changes, and with it comes the list of all that it is made of."""
    return _hash(dataclasses.asdict(binary))


def files_below(path: Path) -> Iterator[Path]:
    """The files of a folder in a fixed order, without what tools leave behind in a checkout."""
    if not path.is_dir() or path.is_symlink():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.name not in SKIPPED and not entry.name.endswith(".egg-info"):
            yield from files_below(entry)


def _layer(catalog: Catalog, layer: Layer) -> dict[str, Any]:
    described = dataclasses.asdict(dataclasses.replace(layer, copy=(), go=(), stage=None))
    described["copy"] = [_copy(item) for item in layer.copy]
    described["go"] = [_go(item) for item in layer.go]
    if not layer.cargo:
        del described["cargo"]  # as layers were named before there was Rust
    if layer.stage:
        described["stage"] = {
            "builder": layer_keys(catalog, catalog.recipe(layer.stage.builder)),
            "inputs": [_copy(item) for item in layer.stage.inputs],
            "run": layer.stage.run,
            "export": layer.stage.export,
        }
    return described


def _copy(item: Copy) -> dict[str, Any]:
    if not item.source.exists():
        raise LibreshError("bad-image-recipe", f"{item.source} is named in an image recipe but is not there")
    files = {str(path.relative_to(item.source)): _file(path) for path in files_below(item.source)}
    return {"to": item.to, "mode": item.mode, "files": files}


def _file(path: Path) -> str:
    if path.is_symlink():
        return "-> " + os.readlink(path)
    executable = "x" if path.stat().st_mode & stat.S_IXUSR else "-"
    return executable + hashlib.sha256(path.read_bytes()).hexdigest()


def _go(binary: GoBinary) -> dict[str, Any]:
    sources = [path for path in files_below(binary.module) if path.suffix in (".go", ".mod", ".sum")]
    if not sources:
        raise LibreshError("bad-image-recipe", f"No Go module in {binary.module}")
    files = {str(path.relative_to(binary.module)): _file(path) for path in sources}
    return {"package": binary.package, "to": binary.to, "files": files}


def _hash(value: Mapping[str, Any]) -> str:
    described = {"format": FORMAT, "architecture": architecture(), **value}
    text = json.dumps(described, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
