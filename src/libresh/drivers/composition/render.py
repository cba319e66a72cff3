"""From a claim and a composition to objects: the composite that patches read, and what they make of the bases. Pure."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from libresh.api.claims import Claim
from libresh.catalog.profile import everything
from libresh.drivers.composition import gotext, known, paths, shape, transforms
from libresh.drivers.composition.connection import Made
from libresh.drivers.composition.gotext import NotFitting
from libresh.drivers.composition.model import Composition, Patch, Resource
from libresh.drivers.composition.paths import BadPath, NotThere
from libresh.drivers.composition.shape import Unfit
from libresh.plan.actions import Object

MERGES = {
    "MergeObjects": (True, False),
    "MergeObject": (True, False),
    "MergeObjectsAppendArrays": (True, True),
    "ForceMergeObjects": (False, False),
    "ForceMergeObjectsAppendArrays": (False, True),
    "AppendArray": (False, True),
}
"""How a value joins what is there: whether what is there is kept, and whether lists are joined."""


class Awaited(Exception):
    """A patch needs a field that another resource has yet to give."""


def composite_of(claim: Claim) -> Object:
    """The composite resource that Crossplane would have made from the claim, as patches see it.

    Its labels are the claim's, and Crossplane's own in any case as the claim really is.
    """
    meta = claim.metadata
    own = {shape.CLAIM_NAME: meta.name, shape.CLAIM_NAMESPACE: meta.namespace, shape.COMPOSITE: meta.name}
    reference = {
        "apiVersion": claim.KIND.api_version,
        "kind": claim.KIND.kind,
        "name": meta.name,
        "namespace": meta.namespace,
    }
    return {
        "apiVersion": claim.KIND.api_version,
        "kind": claim.KIND.kind,
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "labels": {**meta.labels, **own},
            "annotations": dict(meta.annotations),
        },
        "spec": {**everything(claim.spec), "claimRef": reference},
        "status": {},
    }


# --- which objects -------------------------------------------------------------------------------------------------


def identify(composition: Composition, composite: Object, spaces: Sequence[str]) -> list[Made]:
    """The objects of a claim: what they are, how they are called and where. Nothing of this follows its parameters.

    `spaces` are the namespaces a patch may put an object into.
    """
    made = []
    for at, resource in enumerate(composition.resources):
        with shape.within(f"resources[{at}]"):
            made.append(identify_one(composition, at, composite, spaces))
        places = [(each.manifest.get("kind"), each.namespace, each.name) for each in made]
        if len(set(places)) < len(places):
            raise Unfit(f"resources[{at}]", f"another resource is called {made[-1].name}, too: {resource.name}")
    return made


def identify_one(composition: Composition, at: int, composite: Object, spaces: Sequence[str]) -> Made:
    resource = composition.resources[at]
    skeleton = deepcopy(resource.base)
    for patch in composition.patches_of(resource):
        if patch.to_composed and shape.is_identity(patch):
            carry(patch, composite, skeleton)
    manifest = shape.manifest_of(skeleton)
    metadata = manifest.get("metadata") or {}
    own = composite["metadata"]
    several = len(composition.resources) > 1
    name = metadata.get("name") or (f"{own['name']}-{resource.name}" if several else own["name"])
    namespace = metadata.get("namespace") or own["namespace"]
    if not isinstance(name, str) or not shape.NAME.fullmatch(name):
        raise Unfit("", "its name must be lower-case letters, digits, hyphens and dots, 253 at most")
    if not isinstance(namespace, str) or not shape.LABEL.fullmatch(namespace):
        raise Unfit("", "its namespace must be lower-case letters, digits and hyphens, 63 at most")
    declared = (shape.manifest_of(resource.base).get("metadata") or {}).get("namespace")
    check_space("it would be", namespace, declared, spaces)
    meant = [reference.get("namespace") for reference in shape.secrets_of(resource.base)]
    for reference in shape.secrets_of(skeleton):
        if (space := reference.get("namespace")) is not None and space not in meant:
            check_space("a Secret would be read", space, None, spaces)
    ways = known.find(manifest, composite["kind"])
    if ways and len(name) > ways.longest_name:
        raise Unfit(
            "", f"it would be called {name}, and {ways.operator} takes names of {ways.longest_name} characters at most"
        )
    return Made(resource, shape.label_of(resource, at), skeleton, name, namespace, ways)


def check_space(what: str, namespace: Any, declared: Any, spaces: Sequence[str]) -> None:
    """Whether a namespace is one that the class's author wrote down or allowed."""
    if namespace not in (*spaces, declared):
        raise Unfit(
            "",
            f"{what} in the namespace {namespace}; allowed are {', '.join(sorted(set(spaces)))}: add it to the class's "
            "parameter namespaces if that is meant",
        )


# --- what they say -------------------------------------------------------------------------------------------------


def observe(composition: Composition, resource: Resource, view: Object, composite: Object) -> None:
    """Carries what a resource says to the composite's status, where other resources find it."""
    for at, patch in enumerate(composition.patches_of(resource)):
        if not patch.to_composed:
            try:
                carry(patch, view, composite)
            except (Unfit, BadPath, NotFitting) as error:
                raise Unfit(f"patches[{at}]", str(error)) from None


def compose(composition: Composition, made: Made, composite: Object) -> Object:
    """The resource with all its patches. Awaited where it needs what another resource has not said yet."""
    composed = deepcopy(made.resource.base)
    for at, patch in enumerate(composition.patches_of(made.resource)):
        if patch.to_composed:
            with shape.within(f"patches[{at}]"):
                carry(patch, composite, composed)
    manifest = shape.manifest_of(composed)
    metadata = manifest.setdefault("metadata", {})
    metadata.setdefault("name", made.name)
    metadata.setdefault("namespace", made.namespace)
    check_composed(manifest, made)
    return composed


def check_composed(manifest: Object, made: Made) -> None:
    """Whatever the patches did, it must be the object that the class's author meant."""
    metadata, wanted = manifest["metadata"], made.manifest
    same = (manifest.get("apiVersion"), manifest.get("kind")) == (wanted["apiVersion"], wanted["kind"])
    if not same or (metadata["name"], metadata["namespace"]) != (made.name, made.namespace):
        raise Unfit("", "a patch would change which object this is")
    if not set(metadata) <= {"name", "namespace", "labels", "annotations"} or "status" in manifest:
        raise Unfit("", "a patch would change more of its metadata than labels and annotations")
    for field in ("labels", "annotations"):
        if not shape.text_map(metadata.get(field) or {}):
            raise Unfit("", f"its {field} must be texts: convert them with a transform")


def carry(patch: Patch, source: Object, target: Object) -> None:
    """Performs one patch."""
    try:
        value = read(patch, source)
    except NotThere as error:
        if patch.policy.from_field_path == "Optional":
            return
        if str(error).startswith("status"):
            raise Awaited(str(error)) from None
        raise Unfit("fromFieldPath", f"{error} is not set, and the class requires it") from None
    value = transforms.resolve(patch.transforms, value)
    path = paths.parse(patch.target)
    places = paths.expand(target, path)
    if not places:
        raise Unfit("toFieldPath", f"{patch.target}: there is nothing that [*] could stand for")
    for place in places:
        paths.put(target, place, joined(patch, paths.find(target, place), value))


def read(patch: Patch, source: Object) -> Any:
    """The value a patch carries."""
    values = [paths.get(source, paths.parse(path)) for path in patch.sources]
    return gotext.sprintf(patch.combine.string.fmt, *values) if patch.combine is not None else values[0]


def joined(patch: Patch, old: Any, value: Any) -> Any:
    """The value as it is written over what is there."""
    options = patch.policy.merge_options
    if options is not None:
        keep, append = options.keep_map_values, options.append_slice
    elif patch.policy.to_field_path in MERGES:
        keep, append = MERGES[patch.policy.to_field_path]
    else:
        return value
    return value if old is None else paths.merge(old, value, keep=keep, append=append)
