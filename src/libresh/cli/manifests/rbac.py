"""Rights: the least that what the reconcilers declare to read and write comes to. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from libresh.api.meta import Resource
from libresh.kube.kinds import Kinds
from libresh.plan import naming
from libresh.plan.actions import Object
from libresh.ports import COMPOSED, Reconciler, Watched

READ = ("get", "list", "watch")
WRITE = ("create", "delete", "patch")
ORDER = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")

VIEW_VERBS = READ
EDIT_VERBS = ("create", "delete", "deletecollection", "patch", "update")


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource of one group."""

    group: str
    resource: str
    verb: str


def rights_for(reconcilers: Iterable[Reconciler[Any]], kinds: Kinds) -> frozenset[Right]:
    """What the operator needs to run these reconcilers.

    A reconciler's own kind is only patched (the finaliser) and given its status: people make and delete it. Another
    reconciler that writes that kind adds the rest.
    """
    found: set[Right] = set()
    for reconciler in reconcilers:
        own = reconciler.type.KIND.kind
        found |= own_rights(own, kinds)
        for watched in reconciler.watches:
            found |= watched_rights(watched, kinds, own=watched.kind == own)
    return frozenset(found)


def own_rights(kind: str, kinds: Kinds) -> set[Right]:
    """What reconciling a kind takes: its finaliser and its status, and being the owner of children."""
    info = kinds[kind]
    return {
        *(Right(info.group, info.plural, verb) for verb in (*READ, "patch")),
        Right(info.group, f"{info.plural}/status", "patch"),
        # Where OwnerReferencesPermissionEnforcement is on, blockOwnerDeletion needs this.
        Right(info.group, f"{info.plural}/finalizers", "update"),
    }


def watched_rights(watched: Watched, kinds: Kinds, *, own: bool) -> set[Right]:
    """What reading, and perhaps writing, one kind takes."""
    if watched.kind == COMPOSED:
        return set()  # kinds that only classes know: see build_composed_role
    info = kinds[watched.kind]
    writing = WRITE if watched.writes and not own else ()
    return {Right(info.group, info.plural, verb) for verb in (*READ, *writing, *watched.verbs)}


def rules_for(rights: Iterable[Right]) -> list[Object]:
    """RBAC rules, few and sorted: resources of a group that take the same verbs share a rule."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for right in rights:
        verbs.setdefault((right.group, right.resource), set()).add(right.verb)
    shared: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), found in verbs.items():
        shared.setdefault((group, sort_verbs(found)), []).append(resource)
    return [
        {"apiGroups": [group], "resources": sorted(resources), "verbs": list(wanted)}
        for (group, wanted), resources in sorted(shared.items())
    ]


def sort_verbs(verbs: Iterable[str]) -> tuple[str, ...]:
    """Reading first, as people write them; a verb nobody knows comes last."""
    return tuple(sorted(verbs, key=lambda verb: (ORDER.index(verb) if verb in ORDER else len(ORDER), verb)))


def build_people_roles(types: Sequence[type[Resource]], labels: dict[str, str]) -> list[Object]:
    """Roles for people. `libresh-view` and `libresh-edit` join the standard roles view, edit and admin by aggregation.

    What is cluster-wide (classes, profiles) belongs to whoever runs the cluster: `libresh-cluster-view` shows it, and
    is for the cluster's operator to bind.
    """
    spaced = [type.KIND for type in types if type.KIND.namespaced]
    wide = [type.KIND for type in types if not type.KIND.namespaced]
    view = {Right(k.group, k.plural, verb) for k in spaced for verb in VIEW_VERBS}
    edit = {Right(k.group, k.plural, verb) for k in spaced for verb in EDIT_VERBS}
    show = {Right(k.group, k.plural, verb) for k in wide for verb in VIEW_VERBS}
    return [
        build_cluster_role("libresh-view", view, labels, joins=("view", "edit", "admin")),
        build_cluster_role("libresh-edit", edit, labels, joins=("edit", "admin")),
        build_cluster_role("libresh-cluster-view", show, labels),
    ]


def build_composed_role(name: str, labels: dict[str, str]) -> Object:
    """The operator's rights to kinds that only classes know: all ClusterRoles with a label, which the cluster's
    operator makes. Whose rules these are is Kubernetes' to fill in."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {naming.RIGHTS_LABEL: "true"}}]},
    }


def composed_rights(group: str, plural: str) -> set[Right]:
    """What composing a kind takes."""
    return {Right(group, plural, verb) for verb in (*READ, *WRITE)}


def build_cluster_role(
    name: str, rights: Iterable[Right], labels: dict[str, str], *, joins: tuple[str, ...] = ()
) -> Object:
    """A ClusterRole; `joins` are the standard roles it becomes a part of."""
    joined = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in joins}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {**labels, **joined}},
        "rules": rules_for(rights),
    }
