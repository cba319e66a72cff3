"""One manifest of a ServiceClass: whether it is one, and all that is wrong with it by itself. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from libresh.api.claims import NAME_LIMIT
from libresh.api.meta import NAME_PATTERN
from libresh.api.services import DEFAULT_CLASS, ServiceClass, ServiceClassSpec
from libresh.cli.documents import Document
from libresh.cli.fitting import Fault, find_faults, shown, suggestion, unknown_field
from libresh.drivers import drivers, is_outside, names_for
from libresh.drivers.model import Driver
from libresh.plan.actions import Object
from libresh.plan.decision import Stalled
from libresh.reconcilers.serviceclass import unknown_driver
from libresh.reconcilers.serving import read_parameters

KIND = ServiceClass.KIND
TOP = ("apiVersion", "kind", "metadata", "spec", "status")
METADATA = (
    *("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences"),
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
    *("deletionGracePeriodSeconds", "managedFields", "selfLink"),
)
"""The fields of ObjectMeta (Kubernetes API reference 1.36, "ObjectMeta")."""


@dataclass(frozen=True)
class Manifest:
    """A document that means to be a ServiceClass."""

    document: Document
    content: Object
    faults: tuple[Fault, ...]

    @property
    def spec(self) -> Object:
        spec = self.content.get("spec")
        return spec if isinstance(spec, dict) else {}

    @property
    def metadata(self) -> Object:
        metadata = self.content.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def name(self) -> str:
        name = self.metadata.get("name")
        return name if isinstance(name, str) else ""

    @property
    def is_default(self) -> bool:
        annotations = self.metadata.get("annotations")
        return isinstance(annotations, dict) and annotations.get(DEFAULT_CLASS) == "true"

    @property
    def described(self) -> str:
        """How findings name it: by what it calls itself where it has a name."""
        return f"{self.document.place} (ServiceClass {shown(self.name)})" if self.name else self.document.place


def unusable(document: Document) -> Fault | None:
    """Why a document is no object of Kubernetes at all."""
    content = document.content
    if document.broken:
        return Fault("", document.broken, document.way_out)
    if not isinstance(content, dict):
        return Fault("", f"it is {shown(content)}, not an object", f"begin it with apiVersion: {KIND.api_version}")
    for key, wanted in (("apiVersion", KIND.api_version), ("kind", KIND.kind)):
        if not isinstance(content.get(key), str) or not content[key]:
            return Fault(key, "it is missing" if key not in content else "it is not text", f"a class has {wanted}")
    return None


def is_ours(content: Object) -> bool:
    """Whether a document is, or was meant to be, a class: of our group, or of that name and in nobody else's."""
    group = content["apiVersion"].rpartition("/")[0]
    named = content["kind"].lower() == KIND.kind.lower()
    return bool(group == KIND.group or (named and (not group or group.endswith("libre.sh"))))


def judge(content: Object) -> Iterator[Fault]:
    """All that is wrong with one manifest by itself."""
    if content["apiVersion"] != KIND.api_version:
        yield Fault("apiVersion", f"there is no {shown(content['apiVersion'])}", f"write {KIND.api_version}")
    if content["kind"] != KIND.kind:
        yield Fault("kind", f"there is no {shown(content['kind'])} in {KIND.group}", f"write {KIND.kind}")
    yield from (unknown_field(key, TOP, "") for key in content if key not in TOP)
    yield from judge_metadata(content.get("metadata"))
    yield from judge_spec(content)


def judge_metadata(metadata: Any) -> Iterator[Fault]:
    """The name, and the annotation that makes a class the default."""
    if not isinstance(metadata, dict):
        yield Fault("metadata.name", "it is missing", "name the class: claims choose it by that name")
        return
    yield from (unknown_field(key, METADATA, "metadata") for key in metadata if key not in METADATA)
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        yield Fault("metadata.name", "it is missing", "name the class: claims choose it by that name")
    elif len(name) > NAME_LIMIT or not re.fullmatch(NAME_PATTERN, name):
        rule = next(rule for rule in KIND.rules if rule.field == ".metadata.name")
        yield Fault("metadata.name", f"{shown(name)} does not fit", f"it {rule.message}")
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        for key, value in annotations.items():
            yield from judge_annotation(key, value)
    elif annotations is not None:
        yield Fault("metadata.annotations", f"it is {shown(annotations)}", f'a map, such as {DEFAULT_CLASS}: "true"')


def judge_annotation(key: Any, value: Any) -> Iterator[Fault]:
    """Annotations are text; and one that nearly makes a class the default does not."""
    path = f"metadata.annotations.{shown(key)}"
    if not isinstance(value, str):
        yield Fault(path, f"annotations are text, and {shown(value)} is not", f'put it in quotes: "{shown(value)}"')
    elif key == DEFAULT_CLASS and value not in ("true", "false"):
        yield Fault(path, f'only "true" makes a class the default, not {shown(value)}', 'write "true", or take it out')
    elif isinstance(key, str) and key != DEFAULT_CLASS and key.rpartition("/")[2].endswith("is-default-class"):
        yield Fault(path, "it does not make this class the default", f"write {DEFAULT_CLASS}, or take it out")


def judge_spec(content: Object) -> Iterator[Fault]:
    """The spec by its type; then the driver, and its parameters by the driver's type."""
    spec = content.get("spec")
    if not isinstance(spec, dict):
        why = "it is missing" if spec is None else f"it is {shown(spec)}, not a map"
        yield Fault("spec", why, "say claimKind and driver: who serves which kind of claim")
        return
    # The API server takes null for absent, but not inside the parameters, which it does not look into.
    said = {key: value for key, value in spec.items() if value is not None}
    faults = tuple(find_faults(said, ServiceClassSpec, "spec"))
    yield from faults
    wrong = {fault.field for fault in faults}
    if wrong & {"spec.claimKind", "spec.driver"}:
        return
    if is_outside(said["driver"]):
        return  # what its parameters mean is known to its own controller
    driver = drivers().get((said["claimKind"], said["driver"]))
    if driver is None:
        yield judge_driver(said)
    elif "spec.parameters" not in wrong:
        yield from judge_parameters(driver, content, said.get("parameters", {}))


def judge_driver(spec: Object) -> Fault:
    """A driver nobody installed: in the operator's own words."""
    kind, name = spec["claimKind"], spec["driver"]
    stalled = unknown_driver(ServiceClass(spec=ServiceClassSpec(claim_kind=kind, driver=name)))
    installed = names_for(kind)
    near = suggestion(name, installed)
    reason = stalled.message.removeprefix("spec.driver: ")
    return Fault(
        "spec.driver", reason, near or f"write one of: {', '.join(installed)}; or install that driver here too"
    )


def judge_parameters(driver: Driver, content: Object, parameters: Object) -> Iterator[Fault]:
    """All faults by their fields; the last word is the operator's own reading."""
    faults = tuple(find_faults(parameters, driver.parameters, "spec.parameters"))
    yield from faults
    read = read_parameters(driver, name_of(content), parameters)
    if isinstance(read, Stalled) and not faults:
        yield Fault("spec.parameters", read.message, "correct what the message names")


def name_of(content: Object) -> str:
    metadata = content.get("metadata")
    return shown(metadata.get("name")) if isinstance(metadata, dict) else ""
