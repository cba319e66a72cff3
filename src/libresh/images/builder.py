"""Building images: find what is missing, make it in order of need, two at a time where nothing stands between."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from libresh.errors import LibreshError
from libresh.images import keys, layers, oci, recipes, sandbox
from libresh.images.layers import BuiltLayer
from libresh.images.recipes import Catalog, Check, Layer, Recipe
from libresh.images.store import Store, publish

HOST_PACKAGES = ("debian-archive-keyring", "mmdebstrap", "util-linux", "zstd")
"""The Debian packages that building needs on the machine, besides Python and Go."""

TOOLS = ("chroot", "mmdebstrap", "mount", "setpriv", "unshare", "zstd")

DEFAULT_PREFIX = "registry.libre.sh"
PARALLEL = 2
CHECK_SECONDS = 300


@dataclass(frozen=True)
class BuiltImage:
    """An image in the cache. `archive` is for `ctr -n k8s.io images import`."""

    ref: str
    digest: str
    archive: Path
    size: int


@dataclass(frozen=True)
class Progress:
    image: str
    step: str
    seconds: float


OnProgress = Callable[[Progress], None]


def build(
    names: Sequence[str] = (),
    *,
    prefix: str = DEFAULT_PREFIX,
    on_progress: OnProgress | None = None,
    source: Path | None = None,
    cache: Path | None = None,
) -> dict[str, BuiltImage]:
    """Build the named images, or all; what did not change since it was last built is taken from the cache."""
    builder = _Builder(source, cache, on_progress)
    wanted = tuple(names) or builder.catalog.published()
    assembled = builder.assemble(wanted)
    return {name: builder.archived(name, prefix, assembled[name]) for name in wanted}


def write_archive(
    names: Sequence[str],
    path: Path,
    *,
    prefix: str = DEFAULT_PREFIX,
    on_progress: OnProgress | None = None,
    source: Path | None = None,
    cache: Path | None = None,
) -> dict[str, BuiltImage]:
    """Build images into one archive in which shared layers lie once; each result's `archive` is `path`."""
    builder = _Builder(source, cache, on_progress)
    wanted = tuple(names) or builder.catalog.published()
    assembled = builder.assemble(wanted)
    references = {name: reference(builder.catalog.recipe(name), prefix) for name in wanted}
    draft = path.with_name(path.name + ".part")
    oci.write_archive([(references[name], assembled[name]) for name in wanted], draft)
    publish(draft, path)
    return {
        name: BuiltImage(references[name], image.digest, path, image.size)
        for name, image in assembled.items()
        if name in references
    }


def reference(recipe: Recipe, prefix: str) -> str:
    return f"{prefix}/{recipe.image}:{recipe.version}"


def references(prefix: str = DEFAULT_PREFIX, source: Path | None = None) -> dict[str, str]:
    """What every published image is called, without building anything."""
    catalog = recipes.load(source or recipes.source_root())
    return {name: reference(catalog.recipe(name), prefix) for name in catalog.published()}


def prune(source: Path | None = None, cache: Path | None = None) -> int:
    """Remove finished layers, images and archives that today's recipes do not lead to; how many it removed."""
    builder = _Builder(source, cache, None)
    wanted = {key for recipe in builder.catalog.recipes.values() for key in keys.layer_keys(builder.catalog, recipe)}
    unused = [path for path in (builder.store.root / "layers").iterdir() if path.name not in wanted]
    unused += [path for path in (builder.store.root / "archives").iterdir()]
    for path in unused:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return len(unused)


def image_tree(name: str, source: Path | None = None, cache: Path | None = None) -> tuple[Path, ...]:
    """The folders of a built image's layers, lowest first, for running it without a container engine."""
    builder = _Builder(source, cache, None)
    image = builder.assemble([name])[name]
    return tuple(layer.tree for layer in image.layers)


def require_tools() -> None:
    """Refuse at once what would fail half-way."""
    missing = sorted(tool for tool in TOOLS if shutil.which(tool, path=sandbox.PATH) is None)
    if missing:
        raise LibreshError(
            "packages-missing",
            f"Building images needs {', '.join(missing)}",
            f"apt-get install {' '.join(HOST_PACKAGES)}",
        )
    if os.geteuid() != 0:
        raise LibreshError("root-needed", "Building images mounts filesystems", "run it as root, or with sudo -E")


class _Builder:
    def __init__(self, source: Path | None, cache: Path | None, on_progress: OnProgress | None) -> None:
        self.catalog: Catalog = recipes.load(source or recipes.source_root())
        self.store = Store(cache)
        self.on_progress = on_progress
        self.store.remove_leftovers()

    def assemble(self, names: Sequence[str]) -> dict[str, oci.Assembled]:
        """Every named recipe and those it builds on, in an order that the needs allow."""
        waiting = self._with_builders(names)
        built: dict[str, oci.Assembled] = {}
        running: dict[Future[oci.Assembled], str] = {}
        with ThreadPoolExecutor(PARALLEL) as pool:
            while waiting or running:
                for name in [name for name, needs in waiting.items() if needs <= built.keys()]:
                    del waiting[name]
                    running[pool.submit(self._image, self.catalog.recipe(name))] = name
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    built[running.pop(future)] = future.result()
        return built

    def archived(self, name: str, prefix: str, image: oci.Assembled) -> BuiltImage:
        ref = reference(self.catalog.recipe(name), prefix)
        family = f"{name}-{hashlib.sha256(ref.encode()).hexdigest()[:8]}"
        path = self.store.archive(f"{family}-{image.digest[7:19]}")
        with self.store.locked(family):
            if not path.exists():
                with self.store.workspace() as work:
                    oci.write_archive([(ref, image)], work / "draft")
                    publish(work / "draft", path)
                self._forget_archives(family, path)
        return BuiltImage(ref, image.digest, path, image.size)

    def _forget_archives(self, family: str, kept: Path) -> None:
        """Earlier archives of the same reference; those of the last hour may still be being imported."""
        recent = kept.stat().st_mtime - 3600
        for path in kept.parent.glob(f"{family}-*.tar"):
            if path != kept and path.stat().st_mtime < recent:
                path.unlink(missing_ok=True)

    def _with_builders(self, names: Sequence[str]) -> dict[str, set[str]]:
        needs: dict[str, set[str]] = {}
        pending = list(names)
        while pending:
            name = pending.pop()
            if name not in needs:
                needs[name] = set(self.catalog.recipe(name).builders())
                pending += needs[name]
        return needs

    def _image(self, recipe: Recipe) -> oci.Assembled:
        started = time.monotonic()
        wanted = keys.layer_keys(self.catalog, recipe)
        made = self._layers(recipe, wanted)
        created = datetime.fromtimestamp(layers.source_date(self.catalog.debian), UTC)
        image = oci.assemble(recipe, made, created.strftime("%Y-%m-%dT%H:%M:%SZ"))
        record = self.store.image(keys.image_key(recipe, wanted))
        checked = _fingerprint(recipe.checks)
        if not record.exists() or checked not in record.read_text():
            self._check(recipe, made)
            described = {
                "name": recipe.name,
                "version": recipe.version,
                "digest": image.digest,
                "size": image.size,
                "layers": list(wanted),
                "checked": checked,
            }
            self.store.write(record, described)
            self._report(recipe.name, "built", started)
        return image

    def _layers(self, recipe: Recipe, wanted: Sequence[str]) -> list[BuiltLayer]:
        steps = self._steps(recipe)
        made: list[BuiltLayer] = []
        for key, step in zip(wanted, steps, strict=True):
            with self.store.locked(key):
                made.append(self._found(key) or self._made(recipe, key, step, made))
        return made

    def _steps(self, recipe: Recipe) -> list[Layer | None]:
        """The layers of an image, lowest first; None is the bootstrapped Debian."""
        if recipe.parent == "debian":
            return [None, *recipe.layers]
        below = self._steps(self.catalog.recipe(recipe.parent)) if recipe.parent else []
        return [*below, *recipe.layers]

    def _found(self, key: str) -> BuiltLayer | None:
        """A finished layer from the cache."""
        folder = self.store.layer(key)
        if not folder.exists():
            return None
        digest, diff_id, size = (folder / "layer.txt").read_text().split()
        return BuiltLayer(key, folder, digest, diff_id, int(size))

    def _made(self, recipe: Recipe, key: str, step: Layer | None, below: list[BuiltLayer]) -> BuiltLayer:
        require_tools()
        started = time.monotonic()
        debian = self.catalog.debian
        log = self.store.log(key)
        log.write_bytes(b"")
        self._report(recipe.name, f"making layer {key}", started)
        with self.store.workspace() as work:
            draft = work / "draft"
            (draft / "tree").mkdir(parents=True)
            (draft / "tree").chmod(0o755)
            if step is None:
                layers.bootstrap(self.store, debian, draft / "tree", log)
            elif step.apt or any("apt-get" in command for command in step.run):
                with self.store.locked("apt"):
                    layers.apply(self.store, step, below, self._stage(step), log, draft / "tree", debian)
            else:
                layers.apply(self.store, step, below, self._stage(step), log, draft / "tree", debian)
            layer = layers.pack(key, draft, layers.source_date(debian))
            (draft / "layer.txt").write_text(f"{layer.digest} {layer.diff_id} {layer.size}\n")
            publish(draft, self.store.layer(key))
        self._report(recipe.name, f"made layer {key}", started)
        return BuiltLayer(key, self.store.layer(key), layer.digest, layer.diff_id, layer.size)

    def _stage(self, step: Layer) -> list[BuiltLayer]:
        if step.stage is None:
            return []
        builder = self.catalog.recipe(step.stage.builder)
        return self._layers(builder, keys.layer_keys(self.catalog, builder))

    def _check(self, recipe: Recipe, made: Sequence[BuiltLayer]) -> None:
        for check in recipe.checks:
            started = time.monotonic()
            output = self._checked(recipe, made, check)
            if check.expect not in output:
                raise LibreshError(
                    "image-check-failed",
                    f"Image {recipe.name}: {' '.join(check.run)} did not say {check.expect!r}: {output[-2000:]}",
                )
            self._report(recipe.name, f"checked {check.run[0]}", started)

    def _checked(self, recipe: Recipe, made: Sequence[BuiltLayer], check: Check) -> str:
        with self.store.workspace() as work:
            work.chmod(0o755)
            writable = {}
            for number, path in enumerate(check.writable):
                folder = work / f"writable{number}"
                folder.mkdir()
                shutil.chown(folder, 10001, 10001)
                writable[str(folder)] = path
            process = sandbox.Process(check.run, recipe.config.env)
            running = sandbox.start([layer.tree for layer in made], process, work, writable)
            try:
                output, _ = running.communicate(timeout=CHECK_SECONDS)
            except subprocess.TimeoutExpired:
                running.kill()
                output, _ = running.communicate()
                output += b"\n(still running after %d seconds)" % CHECK_SECONDS
        text = output.decode(errors="replace")
        if running.returncode != 0:
            raise LibreshError(
                "image-check-failed",
                f"Image {recipe.name}: {' '.join(check.run)} ended with {running.returncode}: {text[-2000:]}",
            )
        return text

    def _report(self, image: str, step: str, started: float) -> None:
        if self.on_progress:
            self.on_progress(Progress(image, step, time.monotonic() - started))


def _fingerprint(checks: Sequence[Check]) -> str:
    return hashlib.sha256(repr(checks).encode()).hexdigest()[:16]
