"""What a resource of a composition is made of, and which of its fields decide where it is and who it belongs to.

A resource is another operator's object, or that object in the wrapper `Object` of Crossplane's provider-kubernetes. The
wrapper is understood and never made: what is in `spec.forProvider.manifest` is applied itself, and
`status.atProvider.manifest` is that object as it is now. (github.com/crossplane-contrib/provider-kubernetes, Object
v1alpha1 and v1alpha2.)
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from libresh.drivers.composition import paths
from libresh.drivers.composition.gotext import NotFitting
from libresh.drivers.composition.model import Patch, Resource
from libresh.drivers.composition.paths import BadPath, Path
from libresh.plan.actions import Object

WRAPPERS = ("kubernetes.crossplane.io/v1alpha1", "kubernetes.crossplane.io/v1alpha2")
MANIFEST: Path = ("spec", "forProvider", "manifest")
LIVE: Path = ("status", "atProvider", "manifest")
DETAILS: Path = ("spec", "connectionDetails")
SECRET_REF: Path = ("spec", "writeConnectionSecretToRef")

CLAIM_NAME = "crossplane.io/claim-name"
CLAIM_NAMESPACE = "crossplane.io/claim-namespace"
COMPOSITE = "crossplane.io/composite"
IDENTITY: frozenset[Path] = frozenset(
    (
        ("metadata", "name"),
        ("metadata", "namespace"),
        ("metadata", "uid"),
        *(("metadata", "labels", label) for label in (CLAIM_NAME, CLAIM_NAMESPACE, COMPOSITE)),
        ("spec", "claimRef", "name"),
        ("spec", "claimRef", "namespace"),
    )
)
"""What of a claim its author cannot change later. Only from these may come what an object is called, where it is, and
which Secret its connection is read from."""

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Unfit(ValueError):
    """Something in a composition cannot be used: where it stands, and why."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message

    def below(self, path: str) -> "Unfit":
        """The same, seen from further up."""
        inner = self.path if self.path.startswith("[") or not self.path else f".{self.path}"
        return Unfit(f"{path}{inner}", self.message)


@contextmanager
def within(path: str) -> Iterator[None]:
    """Says of whatever turns out to be unfit where it stands."""
    try:
        yield
    except (BadPath, NotFitting) as error:
        raise Unfit(path, str(error)) from None
    except Unfit as error:
        raise error.below(path) from None


def is_wrapper(base: Object) -> bool:
    return (base.get("apiVersion"), base.get("kind")) in [(version, "Object") for version in WRAPPERS]


def manifest_path(base: Object) -> Path:
    """Where in a resource the object is that is applied."""
    return MANIFEST if is_wrapper(base) else ()


def manifest_of(composed: Object) -> Object:
    """The object that is applied."""
    found = paths.find(composed, manifest_path(composed)) if is_wrapper(composed) else composed
    return found if isinstance(found, dict) else {}


def secrets_of(composed: Object) -> list[Object]:
    """The references to Secrets that a resource's own connection is read from."""
    found = paths.find(composed, DETAILS if is_wrapper(composed) else SECRET_REF)
    references = found if isinstance(found, list) else [found]
    return [each for each in references if isinstance(each, dict)]


def observed(composed: Object, live: Object) -> Object:
    """A resource as patches and checks see it once the object is there."""
    if not is_wrapper(composed):
        return live
    spec = {**composed["spec"], "forProvider": {**composed["spec"]["forProvider"], "manifest": live}}
    return {**composed, "spec": spec, "status": {"atProvider": {"manifest": live}}}


def is_identity(patch: Patch) -> bool:
    """Whether a patch says only what its claim's author cannot change."""
    return all(paths.parse(source) in IDENTITY for source in patch.sources)


def label_of(resource: Resource, at: int) -> str:
    """How a resource is called in messages."""
    return resource.name or f"resources[{at}]"


def text_map(value: Any) -> bool:
    """Whether a value can be labels or annotations."""
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
