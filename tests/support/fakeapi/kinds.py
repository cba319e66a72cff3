"""The kinds the fake serves: Kubernetes' own from builtin.json, and those of CustomResourceDefinitions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .fieldset import FieldSet
from .schema import LIST, MAP, Node, Reader

DATA = Path(__file__).with_name("builtin.json")
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
RETURNS_DELETED = frozenset(
    {
        "Namespace",
        "Pod",
        "Service",
        "ServiceAccount",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "StorageClass",
        "ResourceQuota",
    }
)
"""Deleting one of these answers with the object; the others answer with a Status."""
CREATED_BY_PUT = frozenset({"Lease", "Event", "Endpoints", "Service", "LimitRange", "ResourceQuota"})


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind in one version, and how the server treats it."""

    group: str
    version: str
    kind: str
    plural: str
    node: Node
    namespaced: bool = True
    status: bool = False
    """Whether /status is a door of its own."""
    generation: bool = False
    orphans: bool = False
    """Whether a plain delete leaves the dependants alone (Job)."""
    custom: bool = False
    scale: Mapping[str, str] | None = None
    selectable: tuple[str, ...] = ()
    reset_status: FieldSet = field(default_factory=FieldSet)
    """Fields the /status door cannot change."""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def resource(self) -> tuple[str, str]:
        """Versions of a kind share one store; only one version of each is served here."""
        return self.group, self.plural


RESET_MAIN = FieldSet({"f:status"})
RESET_STATUS_CUSTOM = FieldSet({"f:spec", "f:metadata"})
RESET_STATUS_LABELS = FieldSet({"f:spec"}, {"f:metadata": FieldSet({"f:labels"})})
RESET_STATUS = FieldSet({"f:spec"})


@cache
def definitions() -> Reader:
    """The schemas of the built-in kinds."""
    return Reader(json.loads(DATA.read_text())["definitions"])


@cache
def builtin_kinds() -> tuple[Kind, ...]:
    """Every built-in kind."""
    reader = definitions()
    found = []
    for entry in json.loads(DATA.read_text())["kinds"]:
        traits = set(entry["traits"])
        labels_too = entry["kind"] in ("Deployment", "ReplicaSet")
        found.append(
            Kind(
                entry["group"],
                entry["version"],
                entry["kind"],
                entry["plural"],
                reader.named(entry["schema"]),
                namespaced="cluster" not in traits,
                status="status" in traits,
                generation="generation" in traits,
                orphans="orphan" in traits,
                reset_status=RESET_STATUS_LABELS if labels_too else RESET_STATUS,
            )
        )
    return tuple(found)


def custom_kinds(crd: Mapping[str, Any]) -> list[Kind]:
    """The served versions of a CustomResourceDefinition."""
    spec = crd["spec"]
    found = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        found.append(
            Kind(
                spec["group"],
                version["name"],
                spec["names"]["kind"],
                spec["names"]["plural"],
                root_node((version.get("schema") or {}).get("openAPIV3Schema") or {}),
                namespaced=spec["scope"] == "Namespaced",
                status="status" in subresources,
                generation=True,
                custom=True,
                scale=subresources.get("scale"),
                selectable=tuple(entry["jsonPath"] for entry in version.get("selectableFields", ())),
                reset_status=RESET_STATUS_CUSTOM,
            )
        )
    return found


def root_node(schema: Mapping[str, Any]) -> Node:
    """The node of a custom object: its schema, with apiVersion, kind and metadata as every object has them."""
    base = Reader({}).read({"type": "object", **schema})
    scalar = Node("scalar", raw={"type": "string"})
    fields = {**base.fields, "apiVersion": scalar, "kind": scalar, "metadata": definitions().named(OBJECT_META)}
    return Node(MAP, fields, base.element, False, (), base.raw, base.prune)


__all__ = ["CREATED_BY_PUT", "LIST", "RESET_MAIN", "RETURNS_DELETED", "Kind", "builtin_kinds", "custom_kinds"]
