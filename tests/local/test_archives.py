"""OCI archives: the pause image, and reading what an archive holds."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from libresh.errors import LibreshError
from libresh.local import loading, pause

PROGRAM = b"\x7fELF pretend"


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {entry.name: opened.extractfile(entry).read() for entry in opened}  # type: ignore[union-attr]


def test_the_same_program_gives_the_same_bytes() -> None:
    assert pause.build_archive(PROGRAM, "arm64") == pause.build_archive(PROGRAM, "arm64")
    assert pause.build_archive(PROGRAM, "arm64") != pause.build_archive(PROGRAM, "amd64")


def test_every_blob_is_what_its_name_says_and_every_reference_leads_to_one() -> None:
    files = members(pause.build_archive(PROGRAM, "arm64"))
    blobs = {name.rpartition("/")[2]: content for name, content in files.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in blobs.items())

    def follow(descriptor: dict[str, object]) -> bytes:
        content = blobs[str(descriptor["digest"]).removeprefix("sha256:")]
        assert descriptor["size"] == len(content)
        return content

    manifest = json.loads(follow(json.loads(files["index.json"])["manifests"][0]))
    config = json.loads(follow(manifest["config"]))
    layer = gzip.decompress(follow(manifest["layers"][0]))
    assert config["architecture"] == "arm64"
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert members(layer) == {"main": PROGRAM}
    assert config["config"]["User"].split(":")[0] != "0"


def test_an_archive_tells_its_images(tmp_path: Path) -> None:
    path = tmp_path / "pause.tar"
    path.write_bytes(pause.build_archive(PROGRAM, "amd64"))
    (image,) = loading.read_images(path)
    assert image.name == pause.PAUSE_IMAGE
    assert image.digest.startswith("sha256:")


def write_index(path: Path, index: object) -> Path:
    raw = json.dumps(index).encode()
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("index.json")
        entry.size = len(raw)
        archive.addfile(entry, io.BytesIO(raw))
    return path


def test_several_images_may_share_an_archive(tmp_path: Path) -> None:
    manifests = [
        {"digest": "sha256:1", "annotations": {"io.containerd.image.name": "a/b:1"}},
        {"digest": "sha256:2", "annotations": {"org.opencontainers.image.ref.name": "a/c:1"}},
        {"digest": "sha256:3"},
    ]
    found = loading.read_images(write_index(tmp_path / "x.tar", {"manifests": manifests}))
    assert found == (loading.Image("a/b:1", "sha256:1"), loading.Image("a/c:1", "sha256:2"))


def test_what_is_no_archive_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_text("no tar")
    with pytest.raises(LibreshError, match=r"x\.tar is not an OCI archive"):
        loading.read_images(path)
    with pytest.raises(LibreshError, match="not an OCI archive"):
        loading.read_images(write_index(path, {}))
    with pytest.raises(LibreshError, match="names none of its images"):
        loading.read_images(write_index(path, {"manifests": []}))
