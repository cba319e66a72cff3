"""From our kinds to CustomResourceDefinitions."""

from typing import Any, Literal, get_type_hints

from libresh.api.apps import App
from libresh.api.meta import Column, Kind, Resource
from libresh.api.schema import Place, Schema, docstring, schema_for, validation

Object = dict[str, Any]


def crd_for(type: type[Resource]) -> Object:
    """The CustomResourceDefinition of a kind."""
    kind = type.KIND
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{kind.group}",
            "labels": {"app.kubernetes.io/part-of": "libre.sh"},
        },
        "spec": {
            "group": kind.group,
            "names": names_for(kind),
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version_for(type)],
        },
    }


def names_for(kind: Kind) -> Object:
    """What the kind is called, in full and in short."""
    names: Object = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
    }
    if kind.short:
        names["shortNames"] = list(kind.short)
    if kind.categories:
        names["categories"] = list(kind.categories)
    return names


def version_for(type: type[Resource]) -> Object:
    """The one version there is: stored, served, with its schema, subresources and columns."""
    kind = type.KIND
    subresources: Object = {"status": {}}
    if kind.scale:
        spec, status, selector = kind.scale
        subresources["scale"] = {
            "specReplicasPath": spec,
            "statusReplicasPath": status,
            "labelSelectorPath": selector,
        }
    return {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": object_schema(type)},
        "subresources": subresources,
        "additionalPrinterColumns": [column_for(column) for column in kind.columns],
    }


def object_schema(type: type[Resource]) -> Schema:
    """The schema of the whole object.

    An application's spec carries no defaults: a value the API server filled in could not be told from one a
    person set, and would hide what the profile says.
    """
    kind, hints = type.KIND.kind, get_type_hints(type, include_extras=True)
    defaults: Literal["told", "filled in"] = "told" if issubclass(type, App) else "filled in"
    spec = schema_for(hints["spec"], Place(f"{kind}.spec", defaults=defaults))
    status = schema_for(hints["status"], Place(f"{kind}.status", defaults="left out", bounded=False))
    schema: Schema = {
        "type": "object",
        "description": docstring(type, Place(kind)),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"Always {type.KIND.api_version}.", "type": "string"},
            "kind": {"description": f"Always {type.KIND.kind}.", "type": "string"},
            # The name stands here only so that rules can point at it.
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": spec,
            "status": status,
        },
    }
    if type.KIND.rules:
        schema["x-kubernetes-validations"] = [validation(rule) for rule in type.KIND.rules]
    return schema


def column_for(column: Column) -> Object:
    """A column of `kubectl get`."""
    shown: Object = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.description:
        shown["description"] = column.description
    if column.priority:
        shown["priority"] = column.priority
    return shown
