"""What the README tells people to type is typed, and every example, of files and pages, is applied."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.documentation import Found, blocks, commands
from e2e.kubernetes import Kube, Object
from e2e.waiting import until
from e2e.world import ROOT, World
from libresh.cli.kubectl import find_kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("example")]

DEFAULT = "apps.libre.sh/is-default-profile"
COMMANDS = commands(ROOT / "README.md")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
OBJECTS = [block for page in PAGES for block in blocks(page, "yaml") if "libre.sh/" in block.text]
FILES = sorted((ROOT / "examples").glob("**/*.yaml"))
READY = 180


@pytest.fixture(scope="module")
def terminal(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A person's terminal: libresh and kubectl are there, and mean this cluster."""
    folder: Path = tmp_path_factory.mktemp("bin")
    for name, command in (("libresh", f"{sys.executable} -m libresh.cli"), ("kubectl", str(find_kubectl()))):
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    return {**world.environment, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_what_the_readme_says_works(command: Found, terminal: dict[str, str]) -> None:
    """Targets of make are looked at only: `make up` brought this cluster here, and `make test` runs this very test."""
    text = re.sub(r"^make ", "make --dry-run ", command.text)
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run(["bash", "-euc", text], cwd=ROOT, env=terminal, timeout=300, check=False, **quiet)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("block", OBJECTS, ids=str)
def test_an_object_in_a_page_is_accepted(block: Found, world: World) -> None:
    for space in {each["metadata"].get("namespace", "default") for each in yaml.safe_load_all(block.text)}:
        world.kubectl("apply", "-f", "-", given=f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {space}}}}}")
    world.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=block.text)


def documents(path: Path) -> list[Object]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


@pytest.fixture
def removed(world: World) -> Iterator[list[Path]]:
    """Files whose objects are deleted again afterwards."""
    applied: list[Path] = []
    yield applied
    for path in applied:
        world.kubectl("delete", "-f", str(path), "--ignore-not-found", "--timeout=100s", seconds=120)


UNSERVED = [path for path in FILES if path.name == "collaboraclaim.yaml"]
"""There is no such application yet."""
STATIC = [path for path in FILES if path.name.startswith(("static-", "relay"))]
OTHERS = ("composition-", "cloudnative-pg", "zalando", "crossplane-", "external-", "s3-", "keycloak", "registration")
ELSEWHERE = [path for path in FILES if path.name.startswith(OTHERS) or path.parent.name == "outside-driver"]
"""They need servers and operators that are not here: tests/api sees that a server accepts them, the laws that they
fit and what becomes of them."""
EMBEDDED = [path for path in FILES if path.parent.name == "claims" and path not in (*UNSERVED, *ELSEWHERE)]


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.stem)
async def test_an_example_of_a_claim_becomes_ready(path: Path, kube: Kube, world: World, removed: list[Path]) -> None:
    removed.append(path)
    world.kubectl("apply", "-f", str(path))
    for each in documents(path):
        await kube.ready(each["kind"], each["metadata"]["name"], each["metadata"]["namespace"], READY)


@pytest.mark.parametrize("path", UNSERVED, ids=lambda path: path.stem)
async def test_an_example_that_nothing_serves_yet_says_so(
    path: Path, kube: Kube, world: World, removed: list[Path]
) -> None:
    removed.append(path)
    world.kubectl("apply", "-f", str(path))
    for each in documents(path):
        await kube.says(each["kind"], each["metadata"]["name"], each["metadata"]["namespace"], "AppNotInstalled")


@pytest.mark.parametrize("path", STATIC, ids=lambda path: path.stem)
async def test_an_example_of_a_class_serves_claims(path: Path, kube: Kube, world: World, removed: list[Path]) -> None:
    removed.append(path)
    world.kubectl("apply", "-f", str(path))
    made = next(each for each in documents(path) if each["kind"] == "ServiceClass")
    name, kind = made["metadata"]["name"], made["spec"]["claimKind"]
    await kube.ready("ServiceClass", name, seconds=READY)
    claim = claim_of(kind, name)
    await kube.apply(claim)
    try:
        await kube.ready(kind, name, "default", READY)
    finally:
        await kube.delete(kind, name, "default")
        await kube.gone(kind, name, "default")
        await kube.gone("Secret", f"{name}-{kind.lower()}-connection", "default")

    async def is_free() -> bool:
        return (await kube.get("ServiceClass", name)).get("status", {}).get("claims", 0) == 0

    await until(is_free, f"ServiceClass {name} to serve nobody")


def claim_of(kind: str, class_name: str) -> dict[str, Any]:
    """The example of that kind of claim, of another class."""
    found = next(each for path in EMBEDDED for each in documents(path) if each["kind"] == kind)
    metadata = {"name": class_name, "namespace": "default"}
    return {**found, "metadata": metadata, "spec": {**found["spec"], "className": class_name}}


async def test_the_example_of_a_profile_is_accepted(kube: Kube) -> None:
    """Not as the default: that would change every Matrix of this cluster."""
    (profile,) = documents(ROOT / "examples" / "profiles" / "coop.yaml")
    assert profile["metadata"]["annotations"].pop(DEFAULT) == "true"
    await kube.apply(profile)
    try:
        await kube.ready("AppProfile", profile["metadata"]["name"])
    finally:
        await kube.delete("AppProfile", profile["metadata"]["name"])


def test_every_example_is_applied_by_some_test() -> None:
    elsewhere = {"matrix.yaml", "embedded.yaml", "coop.yaml", "embedded-postgresql-ha.yaml", "embedded-bucket-ha.yaml"}
    """By the fixtures, by `libresh up`, above, and (on three nodes) with the tests of failover."""
    applied = (*EMBEDDED, *UNSERVED, *STATIC, *ELSEWHERE)
    assert {path.name for path in FILES} == elsewhere | {path.name for path in applied}
