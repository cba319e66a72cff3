"""What `libresh up` is made of: machine, programs, images, cluster, operator and a first Matrix, as steps.

machine ──> programs ──> cluster ──> kinds ──────────┐
    └─────> images ────────┴───────> loading ──> operator ──> matrix
"""

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from libresh import images
from libresh.catalog.settings import Settings
from libresh.cli import access, applying, install, overview, probe
from libresh.cli.access import Target
from libresh.cli.board import Show
from libresh.cli.manifests import Installation, discovery
from libresh.cli.steps import Step
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.local import binaries, cluster, preflight, programs, spec, state
from libresh.plan.actions import Object

PREFIX = "local.libre.sh"
"""What the local cluster's own images begin with: nothing is ever fetched from there."""
CA_CONFIG_MAP = "kube-public/local-ca"
NOT_RUN = frozenset({"base", "python"})
"""Images that others stand on, or that a cluster brings itself."""
MATRIX_PATIENCE = 900.0
ANSWER_PATIENCE = 180.0
TELL_EVERY = 4.0
"""Seconds between two words on what is waited for: it changes faster than people read."""

USUAL = {"machine": 20, "programs": 660, "images": 330, "cluster": 15, "kinds": 6, "loading": 30, "operator": 10}
USUAL |= {"matrix": 60}
"""Seconds on two cores, from nothing."""


@dataclass
class Wish:
    """What a person asked for."""

    name: str = spec.DEFAULT_NAME
    nodes: int | None = None
    suffix: str | None = None
    listen: str | None = None
    unsafe_etcd: bool | None = None
    images: tuple[str, ...] = ()
    """What it shall run besides: images that no cluster needs by itself."""
    example: Path | None = None
    """The objects to apply at the end; None for none."""


@dataclass
class Result:
    """What the steps came to, for those after them and for the closing words."""

    made: spec.Cluster | None = None
    built: dict[str, images.BuiltImage] = field(default_factory=dict)
    apps: list[Object] = field(default_factory=list)

    @property
    def cluster(self) -> spec.Cluster:
        assert self.made is not None
        return self.made

    @property
    def target(self) -> Target:
        return Target(kubeconfig=str(self.cluster.kubeconfig))

    @property
    def installation(self) -> Installation:
        settings = Settings(image_prefix=PREFIX, domain=self.cluster.suffix, ca_config_map=CA_CONFIG_MAP)
        return Installation(settings=settings, image_digest=self.built["libresh"].digest)


def plan(wish: Wish) -> tuple[list[Step], Result]:
    """The steps of bringing it all up, and where their results will be."""
    result = Result()
    steps = [
        Step("machine", "look at this machine", check_machine),
        Step("programs", "compile the cluster's programs", compile_programs, ("machine",)),
        Step("images", "build the images", lambda show: build_images(wish, result, show), ("machine",)),
        Step("cluster", "start the cluster", lambda show: start_cluster(wish, result, show), ("programs",)),
        Step("kinds", "teach it libre.sh's kinds", lambda show: install_kinds(result, show), ("cluster",)),
        Step("loading", "load the images", lambda show: load_images(result, show), ("cluster", "images")),
        Step("operator", "start the operator", lambda show: start_operator(result, show), ("kinds", "loading")),
    ]
    if wish.example is not None:
        run = start_apps(wish, result)
        steps.append(Step("matrix", f"apply {wish.example.name}, wait until ready", run, ("operator",)))
    return steps, result


def check_machine(show: Show) -> None:
    """All that can be refused before anything is touched; then Debian's packages."""
    preflight.check_machine()
    binaries.find_go()
    install_packages(show)
    check_toolchain()


def check_toolchain() -> None:
    """Whether this Go, or the one it fetches for itself, can build what is asked of it."""
    folder = binaries.sources() / "kubernetes"
    said = subprocess.run([binaries.find_go(), "list", "-m"], cwd=folder, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        lines = (folder / "go.mod").read_text().splitlines()
        wanted = next((line for line in lines if line.startswith("go ")), "a newer go")
        raise LibreshError(
            "go-toolchain",
            f"The sources ask for {wanted}, and this Go cannot get it: {said.stderr.strip()}",
            "install that version or a newer one, or let Go fetch it: GOTOOLCHAIN=auto and a way to its module proxy",
        )


def install_packages(show: Show) -> None:
    """Debian packages for the cluster and for building images, in one go."""
    missing = sorted({*preflight.missing_packages(), *missing_builders()})
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise LibreshError(
            "packages-missing",
            f"These packages (Debian's names) are missing: {', '.join(missing)}",
            "install them with your distribution's package manager, then repeat",
        )
    log = binaries.cache() / "log" / "apt.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install_command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    with show.step(f"installing {len(missing)} Debian packages"), log.open("wb") as file:
        show.say(f"installing {' '.join(missing)}")
        for command in (["apt-get", "update"], install_command):
            done = subprocess.run(command, env=environment, stdout=file, stderr=file, check=False)
    if done.returncode != 0:
        raise LibreshError(
            "packages-not-installed", f"apt-get could not install {', '.join(missing)}", f"read {log}; try by hand"
        )


def missing_builders() -> tuple[str, ...]:
    """The packages for building images that are not installed."""
    if shutil.which("dpkg-query") is None:
        return ()
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *images.HOST_PACKAGES]
    said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    there = {line.split()[0] for line in said.splitlines() if line.endswith(" installed")}
    return tuple(package for package in images.HOST_PACKAGES if package not in there)


def compile_programs(show: Show) -> None:
    programs.build_programs(show)


def build_images(wish: Wish, result: Result, show: Show) -> None:
    """All images a cluster runs, and those asked for; what did not change comes from the cache."""
    names = sorted({name for name in images.references(PREFIX) if name not in NOT_RUN} | {*wish.images})

    def progress(step: images.Progress) -> None:
        show.say(f"{step.image}: {step.step}")

    result.built.update(images.build(names, prefix=PREFIX, on_progress=progress))


def start_cluster(wish: Wish, result: Result, show: Show) -> None:
    asked = cluster.Wish(
        name=wish.name, nodes=wish.nodes, suffix=wish.suffix, unsafe_etcd=wish.unsafe_etcd, listen=wish.listen
    )
    result.made = cluster.up(asked, show)


def install_kinds(result: Result, show: Show) -> None:
    """Kinds, policies and default classes."""

    async def work(client: Client) -> None:
        applying.learn_kinds(client)
        await install.install_definitions(client, Installation(), show.say)
        await install.install_classes(client)

    access.run(work, result.target)


def load_images(result: Result, show: Show) -> None:
    """Every image into every node, two at a time, the operator's first."""

    def load(name: str, archive: Path) -> None:
        with show.step(name):
            cluster.load(result.cluster.name, archive)

    ordered = sorted(result.built.items(), key=lambda item: item[0] != "libresh")
    with ThreadPoolExecutor(max_workers=2) as pool:
        for done in [pool.submit(load, name, image.archive) for name, image in ordered]:
            done.result()


def start_operator(result: Result, show: Show) -> None:
    async def work(client: Client) -> None:
        applying.learn_kinds(client)
        await install.install_operator(client, result.installation, show.say)
        await install.wait_for_operator(client, result.installation.namespace, show.say)

    access.run(work, result.target)


def start_apps(wish: Wish, result: Result) -> Any:
    """Apply the example and wait for every application in it."""

    def run(show: Show) -> None:
        assert wish.example is not None
        documents = read_example(wish.example, result.cluster.suffix)
        apps = {type.KIND.kind for type in discovery.app_types()}
        result.apps = [obj for obj in documents if obj["kind"] in apps]
        access.run(lambda client: apply_and_wait(client, documents, result.apps, show), result.target)
        for app in result.apps:
            wait_for_answer(app, result.cluster, show)

    return run


def wait_for_answer(app: Object, made: spec.Cluster, show: Show) -> None:
    """Until it answers through the edge: just after a restart a status may still tell of the time before."""
    host, deadline = app["spec"]["host"], time.monotonic() + ANSWER_PATIENCE
    while trouble := probe.trouble_at(host, (str(made.edge_address), 443), made.folder / "ca" / "root.crt"):
        if time.monotonic() > deadline:
            look = f"libresh status; libresh logs {app['kind'].lower()}/{app['metadata']['name']}"
            raise LibreshError("no-answer", trouble, f"{look}; the edge's log is {made.logs}/cluster.log")
        show.say(trouble)
        time.sleep(1)


def read_example(path: Path, suffix: str) -> list[Object]:
    """The example's objects, with host names that end as this cluster's do."""
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    for document in documents:
        spec_part = document.get("spec") or {}
        if str(spec_part.get("host", "")).endswith(f".{spec.DEFAULT_SUFFIX}"):
            spec_part["host"] = spec_part["host"].removesuffix(spec.DEFAULT_SUFFIX) + suffix
    return documents


async def apply_and_wait(client: Client, documents: list[Object], apps: list[Object], show: Show) -> None:
    for document in documents:
        await applying.apply(client, document)
    for app in apps:
        await wait_for_app(client, app, show)


async def wait_for_app(client: Client, app: Object, show: Show) -> None:
    """Until the application is ready; what it waits for is shown, and a refusal ends the waiting."""
    kind, name, namespace = app["kind"], app["metadata"]["name"], app["metadata"].get("namespace", "")
    type = next(type for type in discovery.app_types() if type.KIND.kind == kind)
    told_at = float("-inf")

    async def look() -> str:
        nonlocal told_at
        found = await client.get(kind, name, namespace)
        if found is None:
            return f"{kind} {namespace}/{name} does not exist any more"
        standing = overview.stand(type, found)
        current = found.get("status", {}).get("observedGeneration") == found["metadata"].get("generation")
        if standing.state == overview.STALLED and current:
            way_out = f"kubectl -n {namespace} edit {standing.handle}; what is there already stays"
            raise LibreshError("app-stalled", f"{standing.handle} cannot go on: {standing.message}", way_out)
        if standing.state == overview.READY and current:
            return ""
        waiting = standing.message or "the operator has not looked at it yet"
        if time.monotonic() - told_at > TELL_EVERY:
            told_at = time.monotonic()
            show.say(waiting)
        return waiting

    hint = f"libresh status; libresh logs {kind.lower()}/{name} -n {namespace}"
    await applying.wait_until(look, MATRIX_PATIENCE, f"{kind} {namespace}/{name} is not ready", hint)


def find_example() -> Path:
    """examples/matrix.yaml of this checkout."""
    return binaries.sources().parents[1] / "examples" / "matrix.yaml"


def timings_path() -> Path:
    return state.root() / "timings.json"
