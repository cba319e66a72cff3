"""Law: the examples fit the code that will read them, beyond what the schemas can say."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from libresh import apps
from libresh.api.apps import AppProfile
from libresh.catalog import profile
from libresh.drivers import drivers, is_outside
from libresh.drivers.connection import missing_keys

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
Object = dict[str, Any]


def objects(kind: str) -> list[Any]:
    """The objects of a kind in the examples, each with the others of its file."""
    found = []
    for path in sorted(EXAMPLES.glob("**/*.yaml")):
        together = [each for each in yaml.safe_load_all(path.read_text()) if each]
        for obj in together:
            if obj["kind"] == kind:
                name = f"{path.relative_to(EXAMPLES)} {obj['metadata']['name']}"
                found.append(pytest.param(obj, together, id=name))
    return found


@pytest.mark.parametrize(("cls", "_"), objects("ServiceClass"))
def test_the_driver_takes_the_parameters_of_a_class(cls: Object, _: list[Object]) -> None:
    if is_outside(cls["spec"]["driver"]):
        return
    driver = drivers()[cls["spec"]["claimKind"], cls["spec"]["driver"]]
    msgspec.convert(cls["spec"].get("parameters", {}), driver.parameters)


@pytest.mark.parametrize(("cls", "together"), objects("ServiceClass"))
def test_a_static_class_has_a_complete_secret(cls: Object, together: list[Object]) -> None:
    if cls["spec"]["driver"] != "static":
        return
    wanted = cls["spec"]["parameters"]["secretRef"]
    (secret,) = [each for each in together if each["kind"] == "Secret" and each["metadata"] == wanted]
    given = frozenset({"type", "provider", *secret["stringData"]})
    assert missing_keys(cls["spec"]["claimKind"], given) == ()


@pytest.mark.parametrize(("obj", "_"), objects("AppProfile"))
def test_a_profile_fits_its_kind(obj: Object, _: list[Object]) -> None:
    package = apps.packages()[obj["spec"]["appKind"]]
    written = msgspec.convert(obj, AppProfile)
    assert profile.check_profile(package, written) is None


def test_every_kind_of_class_has_an_example() -> None:
    served = {(p.values[0]["spec"]["claimKind"], p.values[0]["spec"]["driver"]) for p in objects("ServiceClass")}
    assert {each for each in served if not is_outside(each[1])} == set(drivers())
    assert any(is_outside(driver) for _, driver in served)
