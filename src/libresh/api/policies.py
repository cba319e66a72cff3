"""Admission policies: what the API server must refuse that a schema cannot say, as deleting what is in use."""

from typing import Any

from libresh.api import CLAIMS, KINDS
from libresh.api.apps import AppProfile
from libresh.api.meta import Kind
from libresh.api.services import ServiceClass

Object = dict[str, Any]

ALLOW_DELETE = "libre.sh/allow-delete"
"""The annotation that lets a definition be deleted in spite of the policy, when it is "true"."""


def policies(apps: tuple[Kind, ...]) -> tuple[Object, ...]:
    """Every policy, each followed by its binding. `apps` are the kinds of applications there are."""
    groups = sorted({type.KIND.group for type in KINDS} | {kind.group for kind in apps})
    return (*class_in_use(), *profile_in_use(apps), *definition_in_place(groups))


def class_in_use() -> tuple[Object, Object]:
    """A ServiceClass that serves claims cannot be deleted."""
    plurals = {type.KIND.kind: type.KIND.plural for type in CLAIMS}
    return denied_deletion(
        "serviceclass-in-use.libre.sh",
        ServiceClass.KIND,
        expression="!has(oldObject.status) || !has(oldObject.status.claims) || oldObject.status.claims == 0",
        message="this ServiceClass serves claims: delete them first",
        message_expression=(
            "'ServiceClass ' + oldObject.metadata.name + ' serves ' + string(oldObject.status.claims) + ' claim(s), "
            "which would be left without a driver. Find them with \"kubectl get ' + "
            f"{choose('oldObject.spec.claimKind', plurals)} + ' -A\" (column CLASS), move their data and delete them, "
            "then delete the class. To stop new claims from getting it, take its default annotation away'"
        ),
    )


def profile_in_use(apps: tuple[Kind, ...]) -> tuple[Object, Object]:
    """An AppProfile that gives instances their defaults cannot be deleted."""
    plurals = {kind.kind: kind.plural for kind in apps}
    return denied_deletion(
        "appprofile-in-use.libre.sh",
        AppProfile.KIND,
        expression="!has(oldObject.status) || !has(oldObject.status.instances) || oldObject.status.instances == 0",
        message="this AppProfile gives instances their defaults: take it off them first",
        message_expression=(
            "'AppProfile ' + oldObject.metadata.name + ' gives its defaults to ' + string(oldObject.status.instances) "
            "+ ' instance(s), which would all change at once. Find them with \"kubectl get ' + "
            f"{choose('oldObject.spec.appKind', plurals)} + ' -A\", give them another profile (spec.profile), then "
            "delete this one'"
        ),
    )


def definition_in_place(groups: list[str]) -> tuple[Object, Object]:
    """A CustomResourceDefinition of ours cannot be deleted by accident: every object of its kind goes with it."""
    kind = Kind(group="apiextensions.k8s.io", kind="CustomResourceDefinition", plural="customresourcedefinitions",
                version="v1")  # fmt: skip
    listed = ", ".join(f"'{group}'" for group in groups)
    return denied_deletion(
        "definition-in-place.libre.sh",
        kind,
        expression=(
            f"!(oldObject.spec.group in [{listed}]) || (has(oldObject.metadata.annotations) && "
            f"'{ALLOW_DELETE}' in oldObject.metadata.annotations && "
            f"oldObject.metadata.annotations['{ALLOW_DELETE}'] == 'true')"
        ),
        message="deleting this definition deletes every object of its kind",
        message_expression=(
            "'deleting this definition deletes every ' + oldObject.spec.names.kind + ' in the cluster. If that is what "
            "you want: \"kubectl annotate customresourcedefinition ' + oldObject.metadata.name + ' "
            f"{ALLOW_DELETE}=true\", then delete it'"
        ),
    )


def denied_deletion(
    name: str, kind: Kind, *, expression: str, message: str, message_expression: str
) -> tuple[Object, Object]:
    """A policy that refuses DELETE of a kind unless `expression` holds, and its binding."""
    labels = {"app.kubernetes.io/part-of": "libre.sh"}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [kind.group],
                        "apiVersions": [kind.version],
                        "operations": ["DELETE"],
                        "resources": [kind.plural],
                    }
                ]
            },
            "validations": [
                {
                    "expression": expression,
                    "message": message,
                    "messageExpression": message_expression,
                    "reason": "Forbidden",
                }
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": labels},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return policy, binding


def choose(key: str, values: dict[str, str]) -> str:
    """CEL for `values[key]`, or the key itself where it is none of them."""
    table = ", ".join(f"'{name}': '{value}'" for name, value in sorted(values.items()))
    return f"({key} in {{{table}}} ? {{{table}}}[{key}] : {key})"
