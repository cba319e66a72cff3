"""What `libresh install` puts into a cluster, as plain objects. Pure: no cluster is asked and no clock.

The order is the order they are applied in: first what others stand on.
"""

from typing import Any

import yaml

from libresh.api.crds import crd_for
from libresh.api.policies import policies
from libresh.cli.manifests import classes, discovery, operator, rbac
from libresh.cli.manifests.operator import Installation
from libresh.errors import LibreshError
from libresh.plan.actions import Object

__all__ = ["Installation", "build_all", "build_classes", "build_crds", "build_policies", "dump", "kinds", "types"]

types = discovery.types
kinds = discovery.kinds
build_classes = classes.build_all


def build_crds() -> list[Object]:
    """The definitions of all kinds."""
    made = [crd_for(type) for type in types()]
    return sorted(made, key=lambda crd: str(crd["metadata"]["name"]))


def build_policies() -> list[Object]:
    """The admission policies, which say what no schema can."""
    return list(policies(tuple(type.KIND for type in discovery.app_types())))


def build_rbac(installation: Installation) -> list[Object]:
    """Who may do what: the operator, and people through the standard roles."""
    reconcilers = discovery.reconcilers(installation.settings)
    return [
        *operator.build_identity(installation, reconcilers, kinds()),
        *rbac.build_people_roles(types(), operator.labels()),
    ]


def build_all(installation: Installation) -> list[Object]:
    """Everything but the classes, which are for the cluster's operator to keep or change."""
    if installation.replicas < 1:
        raise LibreshError(
            "replicas", f"{installation.replicas} replicas were asked for", "ask for 1, or 2 for failover"
        )
    return [
        operator.build_namespace(installation),
        *build_crds(),
        *build_policies(),
        *build_rbac(installation),
        *operator.build_workload(installation),
    ]


class Dumper(yaml.SafeDumper):
    """YAML for people: no anchors, lists indented, long text in blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, represent_text)


def dump(documents: list[Object]) -> str:
    """Objects as one YAML stream."""
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, width=110, explicit_start=True, allow_unicode=True)
