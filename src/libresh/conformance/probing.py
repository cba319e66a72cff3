"""The pods of the probe, what it is asked, and what it answers."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources

from libresh.conformance.model import Failed
from libresh.conformance.profile import REDIRECT
from libresh.plan import objects
from libresh.plan.actions import Object

PROBE = "conformance-probe"
PROGRAM = ("python3", "/probe/probe.py")
BINDINGS = "/bindings"


def build_program(metadata: Object, authority: str) -> Object:
    """The program, and whom it shall trust."""
    program = resources.files("libresh.conformance").joinpath("probe.py").read_text()
    return objects.build_config_map(metadata, {"probe.py": program, "ca.crt": authority})


def build_pod(
    metadata: Object, image: str, command: tuple[str, ...], bindings: Mapping[str, str], steps: Sequence[Object] = ()
) -> Object:
    """A pod that has the program, and Secrets mounted as servicebinding.io has it."""
    mounts = tuple(objects.from_secret(f"b-{key}", f"{BINDINGS}/{key}", secret) for key, secret in bindings.items())
    container = objects.Container(
        name="probe",
        image=image,
        command=command,
        env={"STEPS": json.dumps(steps), "SERVICE_BINDING_ROOT": BINDINGS, "HOME": "/tmp"},
        mounts=(*mounts, objects.from_config("probe", "/probe", PROBE), objects.empty_dir("tmp", "/tmp")),
        resources=objects.Resources(cpu="10m", memory="48Mi", memory_limit="128Mi"),
    )
    spec = objects.Pod((container,), grace=0, restart="Never").build()
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def asked(steps: Sequence[Object]) -> list[Object]:
    """Steps with all that the probe wants to be told."""
    usual = {"binding": "main", "redirect": REDIRECT, "token": "none", "do": "read"}
    return [{**usual, **step} for step in steps]


def read_answer(code: int | None, said: str) -> list[tuple[str, str]]:
    """A word and the server's words for each step."""
    try:
        return [(word, words) for word, words in json.loads(said)]
    except ValueError:
        raise Failed(f"the probe ended with {code}: {said[:300]}") from None
