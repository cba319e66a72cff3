"""The builder: what is named after what, the same bytes twice, layers shared, nothing half-made taken for good."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from libresh import images
from libresh.errors import LibreshError
from libresh.images import builder, keys, recipes
from libresh.images.store import Store

VERSIONS = '[debian]\nsuite = "trixie"\nrefreshed = "2026-01-02"\n[versions]\none = "1.0"\n'
RECIPE = 'title = "{name}"\nversion = "${{one}}"\nfrom = "{parent}"\n{rest}'
COPY = '[[layer]]\ncopy = [{from = "data", to = "/data"}]\n'


def write_recipe(root: Path, name: str, parent: str = "", rest: str = COPY, data: str = "content") -> Path:
    folder = root / "build" / "images" / name
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(RECIPE.format(name=name, parent=parent, rest=rest))
    (folder / "data" / "file").write_text(data)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    write_recipe(root, "one")
    (root / "build" / "images" / "versions.toml").write_text(VERSIONS)
    return root


def build(source: Path, cache: Path, *names: str, prefix: str = "test.example") -> dict[str, images.BuiltImage]:
    return images.build(names, prefix=prefix, source=source, cache=cache)


def key_of(source: Path, name: str = "one") -> tuple[str, ...]:
    catalog = recipes.load(source)
    return keys.layer_keys(catalog, catalog.recipe(name))


def documents(archive: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    with tarfile.open(archive) as tar:
        blobs = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    for name, content in blobs.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(content).hexdigest() == name.removeprefix("blobs/sha256/")
    return json.loads(blobs["index.json"]), blobs


needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed")


@needs_zstd
def test_an_archive_is_an_oci_layout_with_the_image_under_its_name(source: Path, tmp_path: Path) -> None:
    built = build(source, tmp_path / "cache", "one")["one"]
    assert built.ref == "test.example/one:1.0"
    index, blobs = documents(built.archive)
    (entry,) = index["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == built.ref
    assert entry["digest"] == built.digest
    manifest = json.loads(blobs["blobs/" + built.digest.replace(":", "/")])
    config = json.loads(blobs["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    assert config["config"]["User"] == "10001:10001"
    assert config["config"]["Labels"]["org.opencontainers.image.version"] == "1.0"
    packed = blobs["blobs/" + manifest["layers"][0]["digest"].replace(":", "/")]
    plain = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(plain).hexdigest()]


@needs_zstd
def test_the_same_inputs_give_the_same_bytes_elsewhere_and_later(source: Path, tmp_path: Path) -> None:
    one = build(source, tmp_path / "a", "one")["one"]
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(source, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    two = build(elsewhere, tmp_path / "b", "one")["one"]
    assert one.archive.read_bytes() == two.archive.read_bytes()


@needs_zstd
def test_what_did_not_change_is_not_built_again(source: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    images.build(["one"], source=source, cache=tmp_path / "c", on_progress=lambda step: steps.append(step.step))
    assert steps
    steps.clear()
    images.build(["one"], source=source, cache=tmp_path / "c", on_progress=lambda step: steps.append(step.step))
    assert steps == []


def edit_data(source: Path) -> None:
    (source / "build/images/one/data/file").write_text("other")


def edit_mode(source: Path) -> None:
    (source / "build/images/one/data/file").chmod(0o755)


def add_file(source: Path) -> None:
    (source / "build/images/one/data/more").write_text("")


def edit_date(source: Path) -> None:
    versions = source / "build/images/versions.toml"
    versions.write_text(versions.read_text().replace("2026-01-02", "2026-01-03"))


def edit_title(source: Path) -> None:
    write_recipe(source, "one", rest=COPY.replace("/data", "/elsewhere"))


def leave_traces(source: Path) -> None:
    (source / "build/images/one/data/__pycache__").mkdir()
    (source / "build/images/one/data/__pycache__/x.pyc").write_text("compiled")


@pytest.mark.parametrize(
    ("edit", "changes"),
    [(edit_data, True), (edit_mode, True), (add_file, True), (edit_title, True), (leave_traces, False)],
)
def test_a_layer_is_named_after_its_inputs(source: Path, edit: Any, changes: bool) -> None:
    before = key_of(source)
    edit(source)
    assert (key_of(source) != before) is changes


def test_a_later_day_renews_what_stands_on_debian(source: Path) -> None:
    write_recipe(source, "two", parent="debian")
    before = key_of(source, "two")
    edit_date(source)
    assert not set(before) & set(key_of(source, "two"))


@needs_zstd
def test_images_in_one_archive_share_their_layers(source: Path, tmp_path: Path) -> None:
    write_recipe(source, "two", parent="one", data="more")
    path = tmp_path / "both.tar"
    built = images.write_archive(["one", "two"], path, prefix="p", source=source, cache=tmp_path / "cache")
    index, blobs = documents(path)
    names = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert names == ["p/one:1.0", "p/two:1.0"]
    assert len([name for name in blobs if name.startswith("blobs/")]) == 2 + 2 + 2
    assert built["two"].size > built["one"].size


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("[[layer]]\ncopy = [{from = 'absent', to = '/x'}]", "absent"),
        ("colour = 'red'", "colour"),
        ("[[layer]]\nrun = ['echo ${two}']", "two"),
        ("[[layer]]\nstage = {builder = 'none', run = [], export = []}", "none"),
        ("[[layer]", "recipe.toml"),
    ],
)
def test_a_bad_recipe_is_refused_with_its_place(source: Path, tmp_path: Path, rest: str, said: str) -> None:
    write_recipe(source, "one", rest=rest)
    with pytest.raises(LibreshError, match=said):
        build(source, tmp_path / "cache", "one")


def test_an_unknown_image_is_refused_with_those_that_exist(source: Path, tmp_path: Path) -> None:
    with pytest.raises(LibreshError, match="known: one"):
        build(source, tmp_path / "cache", "tow")


def test_leftovers_of_a_killed_build_are_cleared_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dead = tmp_path / "work" / "dead"
    dead.mkdir()
    (dead / "half").write_text("made")
    (tmp_path / "work" / "dead.lock").write_text("")
    with store.workspace() as alive:
        (alive / "half").write_text("being made")
        Store(tmp_path).remove_leftovers()
        assert (alive / "half").exists()
        assert not dead.exists()
    assert list((tmp_path / "work").iterdir()) == []


@needs_zstd
def test_pruning_keeps_what_recipes_lead_to(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path / "cache", "one")
    before = key_of(source)
    edit_data(source)
    build(source, tmp_path / "cache", "one")
    builder.prune(source, tmp_path / "cache")
    left = {path.name for path in (tmp_path / "cache" / "layers").iterdir()}
    assert left == set(key_of(source))
    assert not left & set(before)


@needs_zstd
def test_old_archives_of_a_reference_go_and_young_ones_stay(source: Path, tmp_path: Path) -> None:
    old = build(source, tmp_path / "cache", "one")["one"].archive
    other = build(source, tmp_path / "cache", "one", prefix="other")["one"].archive
    for path in (old, other):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    edit_data(source)
    young = build(source, tmp_path / "cache", "one")["one"].archive
    (source / "build/images/one/data/file").write_text("third")
    newest = build(source, tmp_path / "cache", "one")["one"].archive
    assert {path.name for path in newest.parent.iterdir()} == {young.name, newest.name, other.name}


def test_a_missing_tool_is_named_with_the_way_to_get_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "TOOLS", ("no-such-tool",))
    with pytest.raises(LibreshError, match=r"no-such-tool.*apt-get install .*mmdebstrap"):
        build(source, tmp_path / "cache", "one")


SLOW = """
[[layer]]
run = ["echo half > /half; sleep 300", "echo whole > /whole"]
"""


@pytest.mark.e2e
def test_a_build_killed_half_way_leaves_no_mount_process_or_layer(tmp_path: Path) -> None:
    """Real: a step over the base image is killed with its builder, then a second build succeeds."""
    if os.geteuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("building images needs root and " + ", ".join(images.HOST_PACKAGES))
    root, cache = tmp_path / "source", Path("/var/tmp") / f"libresh-test-{os.getpid()}"
    folder = recipes.source_root() / "build" / "images"
    shutil.copytree(folder / "base", root / "build" / "images" / "base")
    shutil.copy(folder / "versions.toml", root / "build" / "images" / "versions.toml")
    write_recipe(root, "one", parent="base", rest=SLOW.replace("${", "$${"))
    recipe = root / "build/images/one/recipe.toml"
    recipe.write_text(recipe.read_text().replace("${one}", "1"))
    try:
        seed(cache)
        victim = subprocess.Popen(
            [sys.executable, "-c", "import sys; from libresh.images.__main__ import main; main(['build', 'one'])"],
            env=os.environ
            | {
                "LIBRESH_SOURCE": str(root),
                "LIBRESH_CACHE": str(cache.parent / cache.name),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
        )
        half = wait_for(lambda: next(iter((cache / "images" / "work").glob("*/draft/tree/half")), None))
        assert half
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        wait_for(lambda: not processes_in(cache))
        assert str(cache) not in Path("/proc/self/mountinfo").read_text()
        assert half.exists()

        recipe.write_text(recipe.read_text().replace("sleep 300", "true"))
        tree = builder.image_tree("one", root, cache / "images")
        assert (tree[-1] / "whole").read_text() == "whole\n"
        assert not half.exists()
        assert len(list((cache / "images" / "layers").iterdir())) == len(tree)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def seed(cache: Path) -> None:
    """The base image's layers, from the common cache: the bootstrap is not what is tested here."""
    for layer in images.image_tree("base"):
        target = cache / "images" / "layers" / layer.parent.name
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(layer.parent), str(target)], check=True)


def wait_for(found: Any, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return value


def processes_in(cache: Path) -> list[str]:
    """Processes that still see a mount of this cache."""
    found = []
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if str(cache) in path.read_text():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


CARGO = """#!/bin/sh
echo "$@" >> "$0.log"
case " $* " in *" --locked "*) ;; *) exit 1 ;; esac
for word; do case "$word" in --root=*) root="${word#--root=}" ;; esac; done
mkdir -p "$CARGO_TARGET_DIR" "$root/bin"
echo work >> "$CARGO_TARGET_DIR/done"
[ ! -e "$0.fails" ] || exit 1
wc -l < "$CARGO_TARGET_DIR/done" > "$root/bin/tool"
"""
CRATE = '[[layer]]\ncargo = [{crate = "tool", version = "1.2.3", features = ["a", "b"], to = "/usr/bin/tool"}]\n'


@pytest.fixture
def cargo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake of cargo, which notes how it was called."""
    path = tmp_path / "bin" / "cargo"
    path.parent.mkdir()
    path.write_text(CARGO)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


@needs_zstd
def test_a_crate_is_compiled_once_with_what_was_published_with_it(source: Path, tmp_path: Path, cargo: Path) -> None:
    write_recipe(source, "rust", rest=CRATE)
    for _ in range(2):
        build(source, tmp_path / "cache", "rust")
    words = cargo.with_name("cargo.log").read_text()
    assert words.startswith("install tool --version==1.2.3 --locked --no-default-features --features=a,b --root=")
    assert words.count("install") == 1
    (tree,) = images.image_tree("rust", source, tmp_path / "cache")
    assert os.access(tree / "usr/bin/tool", os.X_OK)
    assert not list((tmp_path / "cache" / "shared").glob("cargo-*"))


@needs_zstd
def test_what_a_failed_build_compiled_is_used_by_the_next(source: Path, tmp_path: Path, cargo: Path) -> None:
    write_recipe(source, "rust", rest=CRATE)
    cargo.with_name("cargo.fails").touch()
    with pytest.raises(LibreshError, match=r"the crate tool 1\.2\.3"):
        build(source, tmp_path / "cache", "rust")
    cargo.with_name("cargo.fails").unlink()
    build(source, tmp_path / "cache", "rust")
    (tree,) = images.image_tree("rust", source, tmp_path / "cache")
    assert (tree / "usr/bin/tool").read_text().strip() == "2"


def test_a_crates_version_and_features_name_its_layer_and_no_other(source: Path) -> None:
    write_recipe(source, "rust", rest=CRATE)
    before, other = key_of(source, "rust"), key_of(source)
    for old, new in (("1.2.3", "1.2.4"), ('"b"', '"c"')):
        write_recipe(source, "rust", rest=CRATE.replace(old, new))
        assert key_of(source, "rust") != before
    assert key_of(source) == other


def test_what_is_missing_to_compile_a_crate_is_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(source, "rust", rest=CRATE)
    monkeypatch.setattr(builder, "require_tools", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda tool, path=None: None)
    with pytest.raises(LibreshError, match="cargo, gcc, make") as caught:
        build(source, tmp_path / "cache", "rust")
    assert "cargo-web" in str(caught.value.hint)
