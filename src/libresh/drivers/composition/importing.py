"""From a Crossplane Composition to the class that does the same: nothing is left out in silence. Pure."""

from typing import Any, cast

import msgspec

from libresh.api import CLAIMS
from libresh.api.services import ServiceClass
from libresh.drivers import drivers
from libresh.drivers.composition import shape
from libresh.drivers.composition.driver import ByComposition
from libresh.errors import LibreshError
from libresh.plan.actions import Object

COMPOSITION = ("apiextensions.crossplane.io/v1", "Composition")
FUNCTION = ("pt.fn.crossplane.io/v1beta1", "Resources")
PLAIN = ("compositeTypeRef", "mode", "resources", "patchSets", "pipeline", "writeConnectionSecretsToNamespace")
"""Fields of a Composition's spec that can be there. Where connection secrets are written the claim says."""
TAKEN = ("resources", "patchSets")


def build_class(document: Any, *, name: str = "", claim_kind: str = "") -> Object:
    """The class of a composition. What cannot be taken over is refused by its path."""
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != COMPOSITION:
        raise refusal("apiVersion", f"it is no {COMPOSITION[1]} of {COMPOSITION[0]}")
    spec = document.get("spec")
    if not isinstance(spec, dict):
        raise refusal("spec", "is missing")
    for field in spec:
        if field not in PLAIN:
            raise refusal(f"spec.{field}", f"is not supported; supported are {', '.join(PLAIN)}")
    where, source = resources_of(spec)
    claim_kind = claim_kind or claim_kind_of(spec)
    if not isinstance(source.get("resources"), list):
        raise refusal(f"{where}.resources", "is missing, or no list")
    parameters = {field: source[field] for field in TAKEN if source.get(field)}
    driver = drivers()[claim_kind, ByComposition.name]
    try:
        msgspec.convert(parameters, driver.parameters)
    except msgspec.ValidationError as error:
        raise refusal(*split(where, str(error))) from None
    metadata = document.get("metadata")
    name = name or (metadata.get("name", "") if isinstance(metadata, dict) else "")
    if not isinstance(name, str) or not shape.LABEL.fullmatch(name) or not name[0].isalpha() or len(name) > 46:
        raise refusal(
            "metadata.name", "a class is named by 46 lower-case letters, digits and hyphens at most: choose with --name"
        )
    return {
        "apiVersion": ServiceClass.KIND.api_version,
        "kind": ServiceClass.KIND.kind,
        "metadata": {"name": name},
        "spec": {"claimKind": claim_kind, "driver": ByComposition.name, "parameters": parameters},
    }


def resources_of(spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where the resources stand: in the composition itself, or in the input of the function that does the same."""
    if spec.get("mode", "Resources") == "Resources":
        if "pipeline" in spec:
            raise refusal("spec.pipeline", "is only read where spec.mode is Pipeline")
        return "spec", spec
    steps = spec.get("pipeline")
    if spec["mode"] != "Pipeline" or not isinstance(steps, list) or len(steps) != 1 or not isinstance(steps[0], dict):
        raise refusal("spec.pipeline", "there must be one step, that of function-patch-and-transform")
    found = steps[0].get("input")
    if not isinstance(found, dict) or (found.get("apiVersion"), found.get("kind")) != FUNCTION:
        raise refusal("spec.pipeline[0].input", f"must be {FUNCTION[1]} of {FUNCTION[0]}; no other function is run")
    for field in found:
        if field not in ("apiVersion", "kind", "metadata", *TAKEN):
            raise refusal(f"spec.pipeline[0].input.{field}", "is not supported")
    return "spec.pipeline[0].input", found


def claim_kind_of(spec: dict[str, Any]) -> str:
    """The kind of claim, by the API group of the composite."""
    reference = spec.get("compositeTypeRef")
    given = reference.get("apiVersion", "") if isinstance(reference, dict) else ""
    group = given.rpartition("/")[0] if isinstance(given, str) else ""
    found = {kind.KIND.group: kind.KIND.kind for kind in CLAIMS}
    if group not in found:
        raise refusal("spec.compositeTypeRef.apiVersion", "names none of the kinds of claim: choose with --claim-kind")
    return found[group]


def split(where: str, message: str) -> tuple[str, str]:
    """Path and words of a complaint: msgspec puts the path last, our own checks put it first."""
    text, _, place = message.partition(" - at `$")
    place = place.rstrip("`")
    if place:
        return f"{where}{place}", text
    path, separator, rest = text.partition(": ")
    return (f"{where}.{path}", rest) if separator and " " not in path else (where, text)


def refusal(path: str, message: str) -> LibreshError:
    return LibreshError("composition-unsupported", f"{path}: {message}", "docs/composition.md lists what is supported")


def composed_kinds(cls: Object) -> list[tuple[str, str]]:
    """The apiVersions and kinds a class makes objects of, sorted."""
    bases = [cast("Object", each["base"]) for each in cls["spec"]["parameters"]["resources"]]
    return sorted({(str(m["apiVersion"]), str(m["kind"])) for m in map(shape.manifest_of, bases)})
