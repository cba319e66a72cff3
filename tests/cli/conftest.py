"""Fixtures of the command line's tests."""

from pathlib import Path
from typing import Any

import pytest
from invoking import Invoke, build_invoke, write_kubeconfig

from libresh.cli import applying
from support.fakeapi import Server


def stand_in(kind: str, plural: str) -> dict[str, Any]:
    """A definition that lets the fake store a kind it does not know, without looking into it."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    group = "admissionregistration.k8s.io"
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    spec = {"group": group, "names": names, "scope": "Cluster", "versions": [version]}
    return {"kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.{group}"}, "spec": spec}


@pytest.fixture
def kubeconfig(tmp_path: Path, fake_api: Server) -> Path:
    """A kubeconfig that leads to the fake API server."""
    for kind, plural in zip(applying.CLUSTER_WIDE, applying.POLICY_PLURALS, strict=True):
        fake_api.api.install(stand_in(kind, plural))
    return write_kubeconfig(tmp_path / "kubeconfig", fake_api)


@pytest.fixture
def invoke(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """Runs commands against the fake, on a machine without a cluster of its own."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LIBRESH_STATE", str(tmp_path / "state"))
    return build_invoke(monkeypatch)
