"""The class a run is held against: somebody's own, or one made for the run, with what its driver needs around it.

A fixture is a stream of manifests: `<driver>.yaml` for every kind of claim, `<driver>-<kind>.yaml` for one, and
`<driver>-<kind>-<variant>.yaml` for another way in which a class of that driver can serve it. The last manifest is the
class; what stands before it is applied in turn, and waited for where it becomes ready. In it may stand

    $(run) $(class) $(namespace) $(system) $(kind) $(apiVersion) $(parameters) $(domain) $(image) $(images) $(secret)

and, in the annotation `behind`, `$(name)` for the name of a claim. A driver without a fixture gets a class without
parameters.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from libresh.api.database import PostgreSQL
from libresh.api.services import ServiceClass
from libresh.conformance.bench import RUN_LABEL, TICK, Surroundings, is_ready, make_space, told
from libresh.conformance.model import Failed
from libresh.conformance.profile import PROFILES
from libresh.drivers import drivers
from libresh.errors import LibreshError
from libresh.kube.client import APPLY, Client
from libresh.plan import naming, observed
from libresh.plan.actions import Object

NOTES = "conformance.libre.sh/"
"""Annotations of a class: `<case>: why it is not to be expected`, `stub: what is a contract stub`, `about: what else
must be known`, `behind: pods`, `nodes: how many it takes`."""
PLACE = re.compile(r"\$\(([a-zA-Z]+)\)")
MANAGER = "libresh-conformance"
OPERATOR = "libresh-operator"
PYTHON_AND_PSQL = "postgresql"
OURS = resources.files("libresh.conformance").joinpath("fixtures")
AROUND_READY: dict[str, Callable[[Object], bool]] = {
    **dict.fromkeys((*PROFILES, "ServiceClass"), is_ready),
    "Job": lambda found: observed.job_result(found) is True,
    **dict.fromkeys(("Deployment", "StatefulSet"), observed.is_rolled_out),
}
"""How it is seen of what stands around a class that it can be used."""


@dataclass(frozen=True, order=True)
class Trial:
    """What one run tries: a kind of claim, by a driver, in one of the ways that fixtures know."""

    driver: str
    kind: str
    variant: str = ""

    @property
    def stem(self) -> str:
        """What its fixture and its reports are called."""
        named = (self.driver.replace("/", "_"), self.kind.lower(), self.variant)
        return "-".join(each for each in named if each)


def setup_space(run: str) -> str:
    """The namespace of what stands around the class of a run."""
    return f"{run}-setup"


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
        images=given.get("LIBRESH_IMAGE_PREFIX", ""),
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
    client: Client, trial: Trial, run: str, surroundings: Surroundings, folders: Sequence[Path]
) -> Object:
    """A class for this run, and what its driver needs around it."""
    space = setup_space(run)
    profile = PROFILES[trial.kind]
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
        "images": surroundings.images,
        "secret": secrets.token_hex(16),
        "name": "$(name)",
    }
    *around, cls = load_fixture(trial, places, folders)
    if around:
        await make_space(client, space, run)
    for obj in around:
        await put(client, obj, run)
        await wait_around(client, obj)
    return await put(client, cls, run)


# --- fixtures --------------------------------------------------------------------------------------------------------


def trials(folders: Sequence[Path] = ()) -> list[Trial]:
    """Everything there is a fixture for, of the drivers that are installed here."""
    names = {file.name for place in places_of(folders) for file in place.iterdir()}
    found = set()
    for kind, driver in drivers():
        plain = Trial(driver, kind)
        if names & {f"{driver}.yaml", f"{plain.stem}.yaml"}:
            found.add(plain)
        variants = (re.fullmatch(rf"{re.escape(plain.stem)}-([a-z0-9]+)\.yaml", name) for name in names)
        found |= {Trial(driver, kind, each[1]) for each in variants if each}
    return sorted(found)


def load_fixture(trial: Trial, places: Mapping[str, str], folders: Sequence[Path]) -> list[Object]:
    """The manifests of a fixture; the last one is a class of the driver for the kind."""
    text = find_fixture(trial, folders)
    if text is None:
        plain = {"claimKind": trial.kind, "driver": trial.driver}
        header = {"apiVersion": ServiceClass.KIND.api_version, "kind": "ServiceClass"}
        return [{**header, "metadata": {"name": places["class"]}, "spec": plain}]
    found = [each for each in yaml.safe_load_all(fill(text, places)) if each]
    spec = found[-1].get("spec", {}) if found else {}
    if not found or found[-1].get("kind") != "ServiceClass" or spec.get("claimKind") != trial.kind:
        raise LibreshError(
            "bad-fixture",
            f"The fixture of {trial.driver} for {trial.kind} does not end in a class for it",
            "make that the last object",
        )
    return found


def find_fixture(trial: Trial, folders: Sequence[Path]) -> str | None:
    """The text of a fixture, the kind's own before the one for every kind; a person's folders before ours."""
    general = (f"{trial.driver.replace('/', '_')}.yaml",) if not trial.variant else ()
    for place in places_of(folders):
        for name in (f"{trial.stem}.yaml", *general):
            if (file := place.joinpath(name)).is_file():
                return str(file.read_text())
    if trial.variant:
        raise LibreshError("no-fixture", f"--variant: there is no fixture {trial.stem}.yaml", "--fixtures DIR")
    return None


def places_of(folders: Sequence[Path]) -> list[Any]:
    return [*folders, OURS]


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
    what, hidden = f"apply {kind} {meta['name']}", kind == "Secret"
    await client.send("PATCH", path, params=params, body=body, content=APPLY, what=what, secret=hidden)
    return labelled


async def wait_around(client: Client, obj: Object, seconds: float = 180) -> None:
    """Until an object of a fixture can be used, if it is one that says so."""
    kind, meta = obj["kind"], obj["metadata"]
    usable = AROUND_READY.get(kind)
    if usable is None:
        return
    deadline = time.monotonic() + seconds
    while not ((found := await client.get(kind, meta["name"], meta.get("namespace", ""))) and usable(found)):
        if time.monotonic() > deadline:
            raise Failed(f"{kind} {meta['name']}, which the fixture needs, is not ready: {told(found)}")
        await asyncio.sleep(TICK)


def notes_of(cls: Object) -> dict[str, str]:
    """What a class says of itself for this suite."""
    annotations = cls["metadata"].get("annotations") or {}
    return {key.removeprefix(NOTES): value for key, value in annotations.items() if key.startswith(NOTES)}
