"""What is wrong with a composition is said where it is read, by its path."""

from copy import deepcopy
from typing import Any

import msgspec
import pytest

from libresh.drivers import drivers
from libresh.drivers.composition import checks
from libresh.drivers.composition.model import Composition
from libresh.drivers.composition.shape import Unfit

Json = dict[str, Any]

GOOD: Json = {
    "resources": [
        {
            "name": "db",
            "base": {
                "apiVersion": "example.org/v1",
                "kind": "Database",
                "metadata": {"labels": {"tier": "small"}},
                "spec": {"writeConnectionSecretToRef": {"name": "patched"}, "items": [{}]},
            },
            "patches": [
                {
                    "fromFieldPath": "metadata.name",
                    "toFieldPath": "spec.writeConnectionSecretToRef.name",
                },
                {"fromFieldPath": "spec.parameters.storage", "toFieldPath": "spec.size"},
                {"type": "PatchSet", "patchSetName": "common"},
            ],
            "connectionDetails": [
                {"fromConnectionSecretKey": "username"},
                {"fromConnectionSecretKey": "password"},
                {"name": "host", "fromFieldPath": "status.address"},
                {"name": "port", "value": "5432"},
                {"name": "database", "type": "FromValue", "value": "app"},
            ],
        }
    ],
    "patchSets": [{"name": "common", "patches": [{"fromFieldPath": "metadata.name", "toFieldPath": "metadata.name"}]}],
}
WRAPPER: Json = {
    "apiVersion": "kubernetes.crossplane.io/v1alpha2",
    "kind": "Object",
    "spec": {
        "providerConfigRef": {"name": "any"},
        "forProvider": {"manifest": {"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "spec": {}}},
    },
}


def check(value: Json, claim_kind: str = "PostgreSQL") -> None:
    checks.check(msgspec.convert(value, Composition), claim_kind)


def changed(path: str, value: Any, within: Json = GOOD) -> Json:
    """The composition with one thing put somewhere, or taken away (...)."""
    made = deepcopy(within)
    here: Any = made
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        here = here[step]
    if value is ...:
        del here[last]
    elif isinstance(here, list) and last == len(here):
        here.append(value)
    else:
        here[last] = value
    return made


def patched(patch: Json) -> Json:
    return changed("resources/0/patches/3", patch)


def wrapped(**more: Any) -> Json:
    made = deepcopy(WRAPPER)
    made["spec"].update(more)
    return {"resources": [{"base": made}]}


def to(path: str, source: str = "spec.parameters.storage", **more: Any) -> Json:
    return {"type": "FromCompositeFieldPath", "fromFieldPath": source, "toFieldPath": path, **more}


def test_a_good_one_is_taken() -> None:
    check(GOOD)
    check(wrapped())
    check(wrapped(readiness={"policy": "AllTrue"}))


P, B = "resources[0].patches[3]", "resources[0].base"
UNFIT: dict[str, tuple[Json, str]] = {
    "no resource": ({"resources": []}, "resources"),
    "two of one name": (changed("resources/1", GOOD["resources"][0]), "resources"),
    "a name that objects cannot have": (changed("resources/0/name", "A b"), "resources[0].name"),
    "an environment": (patched({"type": "FromEnvironmentFieldPath", "fromFieldPath": "a"}), f"{P}.type"),
    "an unknown patch": (patched({"type": "FromMoon", "fromFieldPath": "a"}), f"{P}.type"),
    "an unknown patch set": (patched({"type": "PatchSet", "patchSetName": "x"}), f"{P}.patchSetName"),
    "no source": (patched({"toFieldPath": "spec.a"}), f"{P}.fromFieldPath"),
    "a bad source": (patched(to("spec.a", "spec..a")), f"{P}.fromFieldPath"),
    "a wildcard in the source": (patched(to("spec.a", "spec.a[*]")), f"{P}.fromFieldPath"),
    "a bad target": (patched(to("spec[")), f"{P}.toFieldPath"),
    "a format with too few places": (
        patched(
            {
                "type": "CombineFromComposite",
                "toFieldPath": "spec.a",
                "combine": {
                    "strategy": "string",
                    "string": {"fmt": "%s"},
                    "variables": [{"fromFieldPath": "metadata.name"}, {"fromFieldPath": "metadata.uid"}],
                },
            }
        ),
        f"{P}.combine.string.fmt",
    ),
    "a combination without one": (patched({"type": "CombineFromComposite", "toFieldPath": "a"}), f"{P}.combine"),
    "a bad transform": (
        patched(to("spec.a", transforms=[{"type": "string", "string": {"fmt": "%e"}}])),
        f"{P}.transforms[0].string.fmt",
    ),
    "writing to the claim's spec": (
        patched({"type": "ToCompositeFieldPath", "fromFieldPath": "status.a", "toFieldPath": "spec.parameters.a"}),
        f"{P}.toFieldPath",
    ),
    "patching the kind": (patched(to("kind", "metadata.name")), f"{P}.toFieldPath"),
    "patching the apiVersion": (patched(to("apiVersion", "metadata.name")), f"{P}.toFieldPath"),
    "patching the status": (patched(to("status.phase")), f"{P}.toFieldPath"),
    "patching the whole metadata": (patched(to("metadata", "metadata")), f"{P}.toFieldPath"),
    "patching owners": (patched(to("metadata.ownerReferences[0].uid")), f"{P}.toFieldPath"),
    "patching finalizers": (patched(to("metadata.finalizers[0]")), f"{P}.toFieldPath"),
    "a name by a parameter": (patched(to("metadata.name")), f"{P}.fromFieldPath"),
    "a namespace by a parameter": (patched(to("metadata.namespace")), f"{P}.fromFieldPath"),
    "a namespace by a label that people set": (
        patched(to("metadata.namespace", 'metadata.labels["team"]')),
        f"{P}.fromFieldPath",
    ),
    "a Secret by a parameter": (patched(to("spec.writeConnectionSecretToRef.name")), f"{P}.fromFieldPath"),
    "all labels at once": (patched(to("metadata.labels", "metadata.labels")), f"{P}.toFieldPath"),
    "our label": (patched(to('metadata.labels["libre.sh/kept-for"]')), f"{P}.toFieldPath"),
    "the label of who manages": (patched(to('metadata.labels["app.kubernetes.io/managed-by"]')), f"{P}.toFieldPath"),
    "a detail without a source": (
        changed("resources/0/base/spec/writeConnectionSecretToRef", ...),
        "resources[0].connectionDetails[0].fromConnectionSecretKey",
    ),
    "a password in the class": (
        changed("resources/0/connectionDetails/1", {"name": "password", "value": "secret"}),
        "resources[0].connectionDetails[1].value",
    ),
    "a password in a field": (
        changed("resources/0/connectionDetails/1", {"name": "password", "fromFieldPath": "status.password"}),
        "resources[0].connectionDetails[1].fromFieldPath",
    ),
    "a detail without a name": (
        changed("resources/0/connectionDetails/2/name", ...),
        "resources[0].connectionDetails[2].name",
    ),
    "a connection that lacks something": (changed("resources/0/connectionDetails/2", ...), "resources"),
    "a check without its field": (
        changed("resources/0/readinessChecks", [{"type": "MatchString", "matchString": "x"}]),
        "resources[0].readinessChecks[0].fieldPath",
    ),
    "a check without its value": (
        changed("resources/0/readinessChecks", [{"type": "MatchInteger", "fieldPath": "status.a"}]),
        "resources[0].readinessChecks[0].matchInteger",
    ),
    "a Secret": (changed("resources/0/base/apiVersion", "v1"), f"{B}.apiVersion"),
    "a Deployment": (changed("resources/0/base/apiVersion", "apps/v1"), f"{B}.apiVersion"),
    "a Role": (changed("resources/0/base/apiVersion", "rbac.authorization.k8s.io/v1"), f"{B}.apiVersion"),
    "a claim": (changed("resources/0/base/apiVersion", "database.libre.sh/v1alpha1"), f"{B}.apiVersion"),
    "a path for a version": (changed("resources/0/base/apiVersion", "example.org/v1/../../x"), f"{B}.apiVersion"),
    "no kind": (changed("resources/0/base/kind", ...), f"{B}.kind"),
    "a path for a kind": (changed("resources/0/base/kind", "a/b"), f"{B}.kind"),
    "finalizers in the base": (changed("resources/0/base/metadata/finalizers", ["x"]), f"{B}.metadata"),
    "our label in the base": (
        changed("resources/0/base/metadata/labels", {"libre.sh/owner": "x"}),
        f"{B}.metadata.labels",
    ),
    "a status in the base": (changed("resources/0/base/status", {}), f"{B}.status"),
    "a wrapper without a manifest": (wrapped(forProvider={}), f"{B}.spec.forProvider.manifest"),
    "a wrapper that only looks": (wrapped(managementPolicies=["Observe"]), f"{B}.spec.managementPolicies"),
    "an unknown policy": (wrapped(readiness={"policy": "DeriveFromCelQuery"}), f"{B}.spec.readiness.policy"),
    "a wrapped Secret": (
        wrapped(forProvider={"manifest": {"apiVersion": "v1", "kind": "Secret"}}),
        f"{B}.spec.forProvider.manifest.apiVersion",
    ),
    "a detail of no Secret": (
        wrapped(connectionDetails=[{"apiVersion": "v1", "kind": "ConfigMap", "fieldPath": "data.a"}]),
        f"{B}.spec.connectionDetails[0]",
    ),
    "a detail of all of a Secret": (
        wrapped(connectionDetails=[{"apiVersion": "v1", "kind": "Secret", "fieldPath": "data"}]),
        f"{B}.spec.connectionDetails[0].fieldPath",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_cannot_be_used_is_refused_by_its_path(case: str) -> None:
    value, path = UNFIT[case]
    with pytest.raises(Unfit) as error:
        check(value)
    assert error.value.path == path, error.value


def test_a_bad_patch_of_a_set_is_found_where_it_is_used() -> None:
    with pytest.raises(Unfit, match="patch set"):
        check(changed("patchSets/0/patches/0/toFieldPath", "kind"))


def test_a_field_of_a_wrapped_object_that_nobody_sees_is_refused() -> None:
    made = wrapped()
    made["resources"][0]["readinessChecks"] = [{"type": "NonEmpty", "fieldPath": "status.conditions"}]
    with pytest.raises(Unfit) as error:
        check(made)
    assert error.value.path == "resources[0].readinessChecks[0].fieldPath"


def test_what_is_not_known_is_refused_with_its_path() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"environment.*resources\[0\]"):
        msgspec.convert(changed("resources/0/environment", {}), Composition)


def test_a_class_is_checked_as_its_parameters_are_read() -> None:
    parameters = drivers()["Redis", "composition"].parameters
    with pytest.raises(msgspec.ValidationError, match="every Redis needs them"):
        msgspec.convert(wrapped(), parameters)
