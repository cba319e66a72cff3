"""What people copy works: the founding text's object, every example, every object shown in the documentation."""

import re
from pathlib import Path

import pytest
import yaml
from realserver import ROOT, Object, Server

pytestmark = pytest.mark.apiserver

FOUNDING_TEXT = """
apiVersion: database.libre.sh/v1alpha1
kind: PostgreSQL
metadata:
  namespace: default
  name: my-db
spec:
  parameters:
    storage: 5G
  compositionRef:
    name: zalandopg
  writeConnectionSecretToRef:
    name: my-db-connection-details
"""

FENCED = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown(path: Path) -> list[str]:
    """The YAML streams of a file: the file itself, or what a page shows."""
    text = path.read_text()
    return [text] if path.suffix == ".yaml" else FENCED.findall(text)


def cases() -> dict[str, str]:
    """Every YAML stream with whole objects, by where it stands."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    files = [*sorted((ROOT / "examples").glob("**/*.yaml")), *(page for page in pages if page.exists())]
    found = {}
    for path in files:
        for number, text in enumerate(shown(path), 1):
            if re.search(r"^apiVersion:", text, re.MULTILINE):
                found[f"{path.relative_to(ROOT)} ({number})"] = text
    return found


@pytest.mark.parametrize("text", cases().values(), ids=cases())
def test_accepted(server: Server, text: str) -> None:
    objects = [each for each in yaml.safe_load_all(text) if each]
    for obj in objects:
        prepare_namespace(server, obj)
    server.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


REFERENCE = Path(__file__).resolve().parents[1] / "reconcilers" / "collaboraclaim.yaml"
"""The founding text's reference to another application."""


@pytest.mark.parametrize("text", [FOUNDING_TEXT, REFERENCE.read_text()], ids=["PostgreSQL", "CollaboraClaim"])
def test_the_founding_text_is_accepted_as_it_stands(server: Server, text: str) -> None:
    server.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)


def test_there_are_examples_of_every_kind(server: Server) -> None:
    kinds = {obj["kind"] for text in cases().values() for obj in yaml.safe_load_all(text) if obj}
    assert kinds >= {
        "PostgreSQL",
        "Redis",
        "Bucket",
        "SMTPAccount",
        "OIDCClient",
        "ServiceClass",
        "AppProfile",
        "CollaboraClaim",
        "Matrix",
    }


def prepare_namespace(server: Server, obj: Object) -> None:
    """The namespace an example speaks of; one that the example makes itself is needed for the dry run as well."""
    name = obj["metadata"].get("namespace")
    if name and server.call("GET", f"/api/v1/namespaces/{name}")[0] == 404:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        status, answer = server.call("POST", "/api/v1/namespaces", body)
        assert status == 201, answer
