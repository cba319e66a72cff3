"""What is installed: restricted, complete, and as committed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from libresh.catalog.settings import Settings
from libresh.cli import manifests
from libresh.cli.manifests import Installation, operator
from libresh.errors import LibreshError

ROOT = Path(__file__).resolve().parents[2]


def find(kind: str, installation: Installation | None = None) -> list[dict[str, Any]]:
    return [obj for obj in manifests.build_all(installation or Installation()) if obj["kind"] == kind]


def test_the_operator_is_restricted() -> None:
    pod = find("Deployment")[0]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["resources"] == {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    labels = find("Namespace")[0]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_settings_reach_the_operator() -> None:
    settings = Settings(image_prefix="registry.example/x", domain="example.org", ca_config_map="kube-public/ca")
    container = find("Deployment", Installation(settings))[0]["spec"]["template"]["spec"]["containers"][0]
    env = {item["name"]: item.get("value") for item in container["env"]}
    assert container["image"].startswith("registry.example/x/libresh:")
    assert env["LIBRESH_IMAGE_PREFIX"] == "registry.example/x"
    assert env["LIBRESH_DOMAIN"] == "example.org"
    assert env["LIBRESH_CA_CONFIG_MAP"] == "kube-public/ca"


def test_one_replica_needs_no_budget_and_two_have_one() -> None:
    assert find("PodDisruptionBudget") == []
    two = Installation(replicas=2)
    assert len(find("PodDisruptionBudget", two)) == 1
    assert "topologySpreadConstraints" in find("Deployment", two)[0]["spec"]["template"]["spec"]


def test_a_rebuilt_image_restarts_the_operator() -> None:
    def content(digest: str) -> str:
        deployment = find("Deployment", Installation(image_digest=digest))[0]
        return str(deployment["spec"]["template"]["metadata"]["annotations"])

    assert content("sha256:a") != content("sha256:b")
    assert content("sha256:a") == content("sha256:a")


def test_no_replicas_is_refused() -> None:
    with pytest.raises(LibreshError, match="0 replicas"):
        manifests.build_all(Installation(replicas=0))


def test_what_a_cluster_serves_already_gets_no_class() -> None:
    served = manifests.build_classes({"PostgreSQL", "Bucket"})
    assert {cls["spec"]["claimKind"] for cls in served} == {"Redis", "SMTPAccount", "OIDCClient"}
    assert all(cls["metadata"]["annotations"] for cls in served)


def test_everything_says_who_made_it() -> None:
    for obj in manifests.build_all(Installation()):
        if obj["kind"] not in ("CustomResourceDefinition",) and "Policy" not in obj["kind"]:
            assert obj["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "libresh-cli", obj["metadata"]["name"]


def test_the_operator_does_not_take_its_own_objects_for_managed_ones() -> None:
    assert operator.labels()["app.kubernetes.io/managed-by"] != "libresh"


def test_committed_manifests_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "manifests.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
