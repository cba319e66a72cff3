"""The classes a fresh cluster gets, so that a claim that names none is served. Pure."""

from collections.abc import Iterable
from typing import Any, get_args

from libresh.api.services import DEFAULT_CLASS, ClaimKind, ServiceClass
from libresh.cli.manifests.operator import labels
from libresh.drivers import names_for
from libresh.plan.actions import Object

DRIVER = "embedded"


def build_all(served: Iterable[str] = (), parameters: dict[str, dict[str, Any]] | None = None) -> list[Object]:
    """A default class of the embedded driver for each kind of claim that no class serves yet.

    `served` are the kinds of claims that have a class; `parameters` are the classes' parameters by kind of claim.
    """
    wanted = [kind for kind in get_args(ClaimKind) if kind not in set(served) and DRIVER in names_for(kind)]
    return [build_class(kind, (parameters or {}).get(kind, {})) for kind in wanted]


def build_class(claim_kind: str, parameters: dict[str, Any]) -> Object:
    """The default class of one kind of claim."""
    spec: Object = {"claimKind": claim_kind, "driver": DRIVER}
    if parameters:
        spec["parameters"] = parameters
    return {
        "apiVersion": ServiceClass.KIND.api_version,
        "kind": ServiceClass.KIND.kind,
        "metadata": {
            "name": f"{DRIVER}-{claim_kind.lower()}",
            "labels": labels(),
            "annotations": {DEFAULT_CLASS: "true"},
        },
        "spec": spec,
    }
