"""The class a run is held against: somebody's own, or one made for the run, with what its driver needs around it.

A fixture is a stream of manifests, `fixtures/<driver>-<kind>.yaml` or, for every kind, `fixtures/<driver>.yaml`. The
last one is the class; what stands before it is applied and, where it is a claim, waited for. In it may stand

    $(run) $(class) $(namespace) $(system) $(kind) $(apiVersion) $(parameters) $(domain) $(image)

A driver without a fixture gets a class without parameters.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from libresh.api.database import PostgreSQL
from libresh.api.services import ServiceClass
from libresh.conformance.bench import RUN_LABEL, Surroundings, condition, make_space, told
from libresh.conformance.model import Failed
from libresh.conformance.profile import PROFILES, Profile
from libresh.errors import LibreshError
from libresh.kube.client import APPLY, Client
from libresh.plan import naming
from libresh.plan.actions import Object

NOTES = "conformance.libre.sh/"
"""Annotations of a class: `<case>: why it is not to be expected`, `stub: what is a contract stub`, `behind: pods`."""
PLACE = re.compile(r"\$\(([a-zA-Z]+)\)")
MANAGER = "libresh-conformance"
OPERATOR = "libresh-operator"
PYTHON_AND_PSQL = "postgresql"


async def read_surroundings(client: Client, image: str = "") -> Surroundings:
    """What the operator that runs here was told at start."""
    found = await client.list("Deployment", labels={naming.NAME_LABEL: OPERATOR})
    if not found:
        raise LibreshError("not-installed", "There is no operator in this cluster", "libresh install")
    (container, *_) = found[0]["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each.get("value", "") for each in container.get("env", ())}
    space, _, name = given.get("LIBRESH_CA_CONFIG_MAP", "").partition("/")
    bundle = await client.get("ConfigMap", name, space) if name else None
    default = PostgreSQL().spec.parameters.version
    return Surroundings(
        image=image or f"{given.get('LIBRESH_IMAGE_PREFIX', '')}/{PYTHON_AND_PSQL}:{default}",
        system=found[0]["metadata"]["namespace"],
        domain=given.get("LIBRESH_DOMAIN", Surroundings.domain),
        authority=((bundle or {}).get("data") or {}).get("ca.crt", ""),
    )


async def find_class(client: Client, driver: str, kind: str, name: str) -> Object:
    """A class that somebody made."""
    found = await client.get(ServiceClass.KIND.kind, name)
    if found is None:
        raise LibreshError("no-class", f"--class: there is no ServiceClass {name}", "libresh class list")
    spec = found["spec"]
    if (spec["driver"], spec["claimKind"]) != (driver, kind):
        raise LibreshError(
            "wrong-class",
            f"--class: ServiceClass {name} is of {spec['driver']} for {spec['claimKind']}, not of {driver} for {kind}",
            "name a class of that driver and kind",
        )
    return found


async def make_class(
    client: Client, driver: str, profile: Profile, run: str, surroundings: Surroundings, folder: Path | None
) -> Object:
    """A class for this run, and what its driver needs around it."""
    space = f"{run}-setup"
    places = {
        "run": run,
        "class": run,
        "namespace": space,
        "system": surroundings.system,
        "kind": profile.kind,
        "apiVersion": profile.type.KIND.api_version,
        "parameters": json.dumps(profile.parameters),
        "domain": surroundings.domain,
        "image": surroundings.image,
    }
    *around, cls = load_fixture(driver, profile.kind, places, folder)
    if around:
        await make_space(client, space, run)
    for obj in around:
        await put(client, obj, run)
        if obj["kind"] in PROFILES:
            await wait_ready(client, obj["kind"], obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
    return await put(client, cls, run)


def load_fixture(driver: str, kind: str, places: Mapping[str, str], folder: Path | None) -> list[Object]:
    """The manifests of a fixture; the last one is a class of the driver for the kind."""
    text = find_fixture(driver, kind, folder)
    if text is None:
        plain = {"claimKind": kind, "driver": driver}
        header = {"apiVersion": ServiceClass.KIND.api_version, "kind": "ServiceClass"}
        return [{**header, "metadata": {"name": places["class"]}, "spec": plain}]
    found = [each for each in yaml.safe_load_all(fill(text, places)) if each]
    spec = found[-1].get("spec", {}) if found else {}
    if not found or found[-1].get("kind") != "ServiceClass" or spec.get("claimKind") != kind:
        raise LibreshError(
            "bad-fixture",
            f"The fixture of {driver} for {kind} does not end in a class for it",
            "make that the last object",
        )
    return found


def find_fixture(driver: str, kind: str, folder: Path | None) -> str | None:
    """The text of a driver's fixture, the kind's own before the one for every kind; a person's folder before ours."""
    base = driver.replace("/", "_")
    places: list[Any] = [*([folder] if folder else []), resources.files("libresh.conformance").joinpath("fixtures")]
    for place in places:
        for name in (f"{base}-{kind.lower()}.yaml", f"{base}.yaml"):
            if (file := place.joinpath(name)).is_file():
                return str(file.read_text())
    return None


def fill(text: str, places: Mapping[str, str]) -> str:
    """The text with its places filled; one that nobody knows is a mistake, and said."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in places:
            raise LibreshError("bad-fixture", f"A fixture has the place $({found[1]})", f"one of: {', '.join(places)}")
        return places[found[1]]

    return PLACE.sub(value, text)


async def put(client: Client, obj: Object, run: str) -> Object:
    """Applies an object of a fixture, under the suite's own name, with the label of the run."""
    meta = obj["metadata"]
    labelled = {**obj, "metadata": {**meta, "labels": {**meta.get("labels", {}), RUN_LABEL: run}}}
    try:
        kind = client.kinds.name_of(obj["apiVersion"], obj["kind"])
    except LibreshError:
        kind = await client.discover(obj["apiVersion"], obj["kind"])
    path = client.kinds[kind].path(meta.get("namespace", ""), meta["name"])
    params = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
    body = json.dumps(labelled).encode()
    await client.send("PATCH", path, params=params, body=body, content=APPLY, what=f"apply {kind} {meta['name']}")
    return labelled


async def wait_ready(client: Client, kind: str, name: str, space: str = "", seconds: float = 180) -> Object:
    """An object that says Ready, or what it says instead."""
    deadline = time.monotonic() + seconds
    while True:
        found = await client.get(kind, name, space)
        if found and condition(found).get("status") == "True":
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{kind} {name}, which the fixture needs, is not ready: {told(found)}")
        await asyncio.sleep(0.5)


def notes_of(cls: Object) -> dict[str, str]:
    """What a class says of itself for this suite."""
    annotations = cls["metadata"].get("annotations") or {}
    return {key.removeprefix(NOTES): value for key, value in annotations.items() if key.startswith(NOTES)}
