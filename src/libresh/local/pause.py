"""The image every pod starts with: one static program that waits. Written by hand as an OCI archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

PAUSE_IMAGE = "libre.sh/pause:1"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "ppc64le": "ppc64le"}


def build_archive(program: bytes, architecture: str, name: str = PAUSE_IMAGE) -> bytes:
    """An OCI archive with one image of one layer of one file. The same program gives the same bytes."""
    layer = _tar({"main": (program, 0o755)})
    packed = gzip.compress(layer, mtime=0)
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/main"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", packed)],
        }
    )
    described = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    described["annotations"] = {"io.containerd.image.name": name}
    files = {
        "oci-layout": (_json({"imageLayoutVersion": "1.0.0"}), 0o644),
        "index.json": (_json({"schemaVersion": 2, "manifests": [described]}), 0o644),
    }
    for blob in (config, manifest, packed):
        files[f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}"] = (blob, 0o644)
    return _tar(files)


def own_architecture() -> str:
    """This machine's architecture as images name it."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def write_archive(program: Path, target: Path) -> Path:
    if not target.is_file() or target.stat().st_mtime < program.stat().st_mtime:
        temporary = target.with_suffix(".new")
        temporary.write_bytes(build_archive(program.read_bytes(), own_architecture()))
        temporary.rename(target)
    return target


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}
