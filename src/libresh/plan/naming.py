"""Every label and derived name, in one place, so that a child can always be found from its parent and back."""

import hashlib
import re
from typing import Any

import msgspec

MANAGED_BY = "libresh"
FIELD_MANAGER = "libresh"
FINALIZER = "libre.sh/finalizer"
SYSTEM_NAMESPACE = "libresh-system"

MANAGED_LABEL = "app.kubernetes.io/managed-by"
NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
COMPONENT_LABEL = "app.kubernetes.io/component"
VERSION_LABEL = "app.kubernetes.io/version"
PART_OF_LABEL = "app.kubernetes.io/part-of"
OWNER_LABEL = "libre.sh/owner"
"""On everything, pods too: `<Kind>.<name>` of the object it was made for."""
OWNER_UID_LABEL = "libre.sh/owner-uid"
"""On children that cannot have an owner reference (in other namespaces, cluster-scoped): the owner's uid."""
KEPT_FOR_LABEL = "libre.sh/kept-for"
"""On data that outlives its owner: `<Kind>.<name>` of the object it is kept for."""
KEPT_IN_LABEL = "libre.sh/kept-in"
"""On what is kept as another operator's object, which may lie elsewhere: the namespace of the claim it is kept for."""

RIGHTS_LABEL = "libre.sh/aggregate-to-operator"
"""On ClusterRoles that add to what the operator may do: the rights to kinds that only classes know."""

SCHEMA_LABEL = "libre.sh/connection-schema"
"""On connection secrets: `<type>.<version>` of the published schema they follow."""

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label every namespace has: its name."""

CONTENT_ANNOTATION = "libre.sh/content"
"""On pods: a digest of the configuration they were started with, so that a change restarts just these."""
DONE_ANNOTATION = "libre.sh/done"
"""On the credentials of an account elsewhere: which of its keys the server was told of, and by which errand."""
BEGAN_ANNOTATION = "libre.sh/began-with"
"""On another operator's object that holds a claim's data: of which claim the data was at first, and of when."""
RENEW_ANNOTATION = "libre.sh/renew"
"""On credentials that end: when each edition of them should have a successor, as the errand that got them says."""
JOB_LABEL = "batch.kubernetes.io/job-name"
"""Kubernetes' own, on the pods of a Job."""
APPLIED_ANNOTATION = "libre.sh/applied"
VERSION = re.compile(r"v[0-9][a-z0-9]*")
"""The version of an API, as kinds that only classes know must have it."""


def labels_for(*, name: str, instance: str, component: str = "", version: str = "") -> dict[str, str]:
    """The recommended labels. `name` is what runs (postgresql), `instance` whose it is (chat-db)."""
    labels = {
        MANAGED_LABEL: MANAGED_BY,
        NAME_LABEL: name,
        INSTANCE_LABEL: instance,
        PART_OF_LABEL: "libre.sh",
    }
    if component:
        labels[COMPONENT_LABEL] = component
    if version:
        labels[VERSION_LABEL] = version
    return labels


def selector_for(*, name: str, instance: str, component: str = "") -> dict[str, str]:
    """The labels that select pods: the ones that never change."""
    labels = {NAME_LABEL: name, INSTANCE_LABEL: instance}
    if component:
        labels[COMPONENT_LABEL] = component
    return labels


def owner_value(kind: str, name: str) -> str:
    """The value of OWNER_LABEL and KEPT_FOR_LABEL."""
    return f"{kind}.{name}"


def composed_kind(api_version: str, kind: str) -> str:
    """How a Ref names a kind that is only known from classes: postgresql.v1.acid.zalan.do, as kubectl does."""
    group, _, version = api_version.rpartition("/")
    return f"{kind}.{version}.{group}"


def parse_composed_kind(name: str) -> tuple[str, str] | None:
    """The apiVersion and kind of such a name, or None if it is none."""
    kind, _, rest = name.partition(".")
    version, _, group = rest.partition(".")
    return (f"{group}/{version}", kind) if "." in group and VERSION.fullmatch(version) else None


def digest_of(*values: Any) -> str:
    """A short stable digest of JSON-like values, for names and annotations."""
    encoded = msgspec.json.encode(values, order="deterministic")
    return hashlib.blake2b(encoded, digest_size=8).hexdigest()
