"""The OCI image format: configuration, manifest, and an archive that container engines import."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libresh.images import keys
from libresh.images.layers import MEDIA_TYPE, BuiltLayer
from libresh.images.recipes import Recipe

SOURCE = "https://libre.sh"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Assembled:
    """An image without a name: its two documents and its layers."""

    config: bytes
    manifest: bytes
    layers: Sequence[BuiltLayer]

    @property
    def digest(self) -> str:
        return _digest(self.manifest)

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers) + len(self.config) + len(self.manifest)


def assemble(recipe: Recipe, layers: Sequence[BuiltLayer], created: str) -> Assembled:
    config = _document(_config(recipe, layers, created))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": _digest(config), "size": len(config)},
        "layers": [{"mediaType": MEDIA_TYPE, "digest": layer.digest, "size": layer.size} for layer in layers],
    }
    return Assembled(config, _document(manifest), layers)


def _config(recipe: Recipe, layers: Sequence[BuiltLayer], created: str) -> dict[str, Any]:
    config = recipe.config
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env = {"PATH": path, "LANG": "C.UTF-8", **config.env}
    inner = {
        "User": config.user,
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "Env": [f"{name}={value}" for name, value in env.items()],
        "ExposedPorts": {f"{port}/tcp": {} for port in config.ports},
        "WorkingDir": config.working_dir,
        "Labels": {
            "org.opencontainers.image.title": recipe.title,
            "org.opencontainers.image.version": recipe.version,
            "org.opencontainers.image.source": SOURCE,
            "org.opencontainers.image.licenses": recipe.licenses,
        },
    }
    return {
        "created": created,
        "architecture": keys.architecture(),
        "os": "linux",
        "config": {name: value for name, value in inner.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": created, "created_by": f"libresh {layer.key}"} for layer in layers],
    }


def write_archive(images: Sequence[tuple[str, Assembled]], path: Path) -> None:
    """An OCI archive of named images; a layer that several of them share is in it once."""
    entries = [_index_entry(reference, image) for reference, image in images]
    index = _document({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries})
    documents = {_digest(text): text for _, image in images for text in (image.config, image.manifest)}
    blobs = {layer.digest: layer.blob for _, image in images for layer in image.layers}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", _document({"imageLayoutVersion": "1.0.0"}))
        _add(archive, "index.json", index)
        for digest in sorted(documents.keys() | blobs.keys()):
            name = "blobs/" + digest.replace(":", "/")
            if digest in documents:
                _add(archive, name, documents[digest])
            else:
                member = tarfile.TarInfo(name)
                member.size = blobs[digest].stat().st_size
                with open(blobs[digest], "rb") as content:
                    archive.addfile(member, content)


def _index_entry(reference: str, image: Assembled) -> dict[str, Any]:
    return {
        "mediaType": MANIFEST_TYPE,
        "digest": image.digest,
        "size": len(image.manifest),
        "platform": {"architecture": keys.architecture(), "os": "linux"},
        "annotations": {
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
        },
    }


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _document(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
