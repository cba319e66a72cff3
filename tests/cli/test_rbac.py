"""Rights come from what reconcilers declare, and are never wider."""

from dataclasses import dataclass
from typing import Any

import pytest

from libresh.api import PostgreSQL, ServiceClass
from libresh.cli.manifests import discovery, rbac
from libresh.cli.manifests.rbac import Right
from libresh.kube.kinds import Kinds
from libresh.ports import COMPOSED, Watched

KINDS = Kinds((PostgreSQL, ServiceClass))


@dataclass
class Some:
    """A reconciler as far as rights go."""

    type: Any = PostgreSQL
    watches: tuple[Watched, ...] = ()
    finalizer: bool = True


def rights(*watches: Watched, type: Any = PostgreSQL) -> set[str]:
    made = rbac.rights_for([Some(type, watches)], KINDS)  # type: ignore[list-item]
    return {f"{right.verb} {right.resource}" for right in made}


OWN = {
    "get postgresqls",
    "list postgresqls",
    "watch postgresqls",
    "patch postgresqls",
    "patch postgresqls/status",
    "update postgresqls/finalizers",
}

CASES: dict[str, tuple[tuple[Watched, ...], set[str]]] = {
    "its own kind is read, patched and given a status, never made or deleted": ((), OWN),
    "watching its own kind adds nothing": ((Watched("PostgreSQL", writes=True),), OWN),
    "reading is get, list and watch": ((Watched("Pod"),), OWN | {"get pods", "list pods", "watch pods"}),
    "writing adds create, patch and delete, not update": (
        (Watched("Service", writes=True),),
        OWN | {f"{verb} services" for verb in ("get", "list", "watch", "create", "patch", "delete")},
    ),
    "more verbs are as declared": (
        (Watched("Pod", verbs=("update",)),),
        OWN | {"get pods", "list pods", "watch pods", "update pods"},
    ),
    "to kinds that only classes know the cluster's operator gives the rights": ((Watched(COMPOSED, writes=True),), OWN),
    "another kind of ours that is written is made and deleted": (
        (Watched("ServiceClass", writes=True),),
        OWN | {f"{verb} serviceclasses" for verb in ("get", "list", "watch", "create", "patch", "delete")},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_rights(case: str) -> None:
    watches, wanted = CASES[case]
    assert rights(*watches) == wanted


def test_rules_are_few_and_sorted() -> None:
    pods = {Right("", "pods", verb) for verb in ("watch", "list", "get")}
    secrets = {Right("", "secrets", verb) for verb in ("get", "list", "watch")}
    jobs = {Right("batch", "jobs", "delete"), Right("batch", "jobs", "get")}
    assert rbac.rules_for(jobs | pods | secrets) == [
        {"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "delete"]},
    ]


def test_nothing_is_a_wildcard_and_nobody_escalates() -> None:
    from libresh.catalog.settings import Settings

    made = rbac.rights_for(discovery.reconcilers(Settings()), discovery.kinds())
    assert not [right for right in made if "*" in (right.group, right.resource, right.verb)]
    assert not [right for right in made if right.verb in ("escalate", "bind", "impersonate")]
    assert not [right for right in made if right.resource in ("nodes", "pods/exec", "clusterroles")]
    of_namespaces = {right.verb for right in made if right.resource == "namespaces"}
    assert of_namespaces == {"get", "list", "watch"}, "their labels are read for grants"


def test_people_edit_what_is_theirs_and_only_see_what_is_everybodys() -> None:
    roles = {role["metadata"]["name"]: role for role in rbac.build_people_roles(discovery.types(), {})}
    edit = {resource for rule in roles["libresh-edit"]["rules"] for resource in rule["resources"]}
    assert "postgresqls" in edit
    assert not {"serviceclasses", "appprofiles"} & edit
    assert "aggregate-to-admin" in str(roles["libresh-edit"]["metadata"]["labels"])
    assert "aggregate" not in str(roles["libresh-cluster-view"]["metadata"]["labels"])
