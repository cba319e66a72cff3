"""`libresh class import`: a Crossplane Composition becomes a class, or is refused by its path."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from invoking import Invoke

from libresh.drivers.composition import importing
from libresh.errors import LibreshError
from support.contracts.zalando import CRD
from support.fakeapi import Server

FILE = Path(__file__).resolve().parents[1] / "drivers" / "composition" / "zalandopg.yaml"
FOUNDING: dict[str, Any] = yaml.safe_load(FILE.read_text())
FUNCTION = {"apiVersion": "pt.fn.crossplane.io/v1beta1", "kind": "Resources"}


def changed(**spec: Any) -> dict[str, Any]:
    made = deepcopy(FOUNDING)
    made["spec"] = {key: value for key, value in {**made["spec"], **spec}.items() if value is not None}
    return made


def pipeline(*steps: Any, **more: Any) -> dict[str, Any]:
    first = {"step": "p", "input": {**FUNCTION, "resources": FOUNDING["spec"]["resources"], **more}}
    return changed(resources=None, mode="Pipeline", pipeline=[first, *steps])


def test_the_founding_text_is_taken_over_as_it_stands() -> None:
    assert importing.build_class(FOUNDING) == {
        "apiVersion": "services.libre.sh/v1alpha1",
        "kind": "ServiceClass",
        "metadata": {"name": "zalandopg"},
        "spec": {
            "claimKind": "PostgreSQL",
            "driver": "composition",
            "parameters": {"resources": FOUNDING["spec"]["resources"]},
        },
    }


def test_a_pipeline_of_that_function_is_the_same() -> None:
    assert importing.build_class(pipeline()) == importing.build_class(FOUNDING)


def test_name_and_kind_can_be_chosen() -> None:
    other = changed(compositeTypeRef={"apiVersion": "example.org/v1", "kind": "XDatabase"})
    made = importing.build_class(other, name="mine", claim_kind="PostgreSQL")
    assert (made["metadata"]["name"], made["spec"]["claimKind"]) == ("mine", "PostgreSQL")


def first(**fields: Any) -> list[dict[str, Any]]:
    return [{**FOUNDING["spec"]["resources"][0], **fields}]


REFUSED: dict[str, tuple[Any, str]] = {
    "no composition": ({"kind": "Pod"}, "apiVersion: "),
    "a list": ([], "apiVersion: "),
    "no spec": ({**FOUNDING, "spec": None}, "spec: "),
    "an environment": (changed(environment={}), "spec.environment: "),
    "functions": (changed(functions=[]), "spec.functions: "),
    "no resources": (changed(resources=None), "spec.resources: "),
    "resources of another shape": (changed(resources={"a": 1}), "spec.resources: "),
    "an unknown field": (changed(resources=first(weight=3)), "spec.resources[0]: "),
    "a kind that cannot be composed": (
        changed(resources=first(base={"apiVersion": "v1", "kind": "Pod"})),
        "spec.resources[0].base.apiVersion: ",
    ),
    "an environment's patch": (
        changed(resources=first(patches=[{"type": "FromEnvironmentFieldPath", "fromFieldPath": "a"}])),
        "spec.resources[0].patches[0].type: ",
    ),
    "a kind of claim that is not ours": (
        changed(compositeTypeRef={"apiVersion": "example.org/v1", "kind": "XDatabase"}),
        "spec.compositeTypeRef.apiVersion: ",
    ),
    "a name that no class can have": ({**FOUNDING, "metadata": {"name": "A.b"}}, "metadata.name: "),
    "a second function": (pipeline({"step": "more"}), "spec.pipeline: "),
    "another function": (
        changed(mode="Pipeline", resources=None, pipeline=[{"step": "a", "input": {"kind": "X"}}]),
        "spec.pipeline[0].input: ",
    ),
    "more than that function takes": (pipeline(environment={}), "spec.pipeline[0].input.environment: "),
    "something wrong in a pipeline": (
        pipeline(resources=first(base={"apiVersion": "v1", "kind": "Pod"})),
        "spec.pipeline[0].input.resources[0].base.apiVersion: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_its_path(case: str) -> None:
    document, path = REFUSED[case]
    with pytest.raises(LibreshError) as error:
        importing.build_class(document)
    assert error.value.message.startswith(path), error.value.message
    assert error.value.hint


async def test_a_dry_run_prints_class_and_rights(invoke: Invoke) -> None:
    result = await invoke("class", "import", str(FILE), "--dry-run")
    assert result.exit_code == 0, result.output
    cls, role = yaml.safe_load_all(result.stdout)
    assert cls == importing.build_class(FOUNDING)
    assert role["metadata"]["labels"]["libre.sh/aggregate-to-operator"] == "true"
    assert role["rules"] == [
        {
            "apiGroups": ["acid.zalan.do"],
            "resources": ["postgresqls"],
            "verbs": ["get", "list", "watch", "create", "patch", "delete"],
        }
    ]


async def test_an_import_applies_both(invoke: Invoke, fake_api: Server) -> None:
    fake_api.api.install(CRD)
    for _ in range(2):
        result = await invoke("class", "import", str(FILE), "--name", "mine")
        assert result.exit_code == 0, result.output
    assert "ServiceClass mine serves PostgreSQL" in result.stdout
    cls = fake_api.api.get("ServiceClass", "mine")
    assert cls is not None
    assert cls["spec"]["parameters"] == {"resources": FOUNDING["spec"]["resources"]}
    role = fake_api.api.get("ClusterRole", "libresh-operator-composed-mine")
    assert role is not None
    assert role["rules"][0]["resources"] == ["postgresqls"]


async def test_rights_that_cannot_be_given_yet_are_told(invoke: Invoke, fake_api: Server, tmp_path: Path) -> None:
    resource = {
        "base": {"apiVersion": "caches.example.org/v1", "kind": "Cache"},
        "connectionDetails": [{"name": key, "value": "x"} for key in ("host", "port", "username")],
    }
    resource["base"]["spec"] = {"writeConnectionSecretToRef": {"name": "its"}}
    resource["connectionDetails"].append({"fromConnectionSecretKey": "password"})
    path = tmp_path / "composition.json"
    path.write_text(json.dumps(changed(resources=[resource])))
    result = await invoke("class", "import", str(path), "--claim-kind", "Redis")
    assert result.exit_code == 0, result.output
    assert "The rights to Cache of caches.example.org/v1 are still to be given" in result.stderr
    assert fake_api.api.get("ServiceClass", "zalandopg") is not None


async def test_a_refusal_is_one_message(invoke: Invoke, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(changed(environment={})))
    result = await invoke("class", "import", str(path), "--dry-run")
    assert result.exit_code == 1
    assert "spec.environment: is not supported" in capsys.readouterr().err
    path.write_text("a: [")
    assert (await invoke("class", "import", str(path), "--dry-run")).exit_code == 1
