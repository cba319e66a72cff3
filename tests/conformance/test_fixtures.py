"""What drivers need around them: every fixture is whole, and its class is one that the driver takes."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from libresh.conformance import setting
from libresh.conformance.setting import NOTES, Trial
from libresh.drivers import drivers
from libresh.errors import LibreshError
from support import neighbours, trying
from support.neighbours import Neighbour

PLACES = {
    **{word: f"a-{word}" for word in ("run", "class", "namespace", "system", "kind", "domain", "secret")},
    **{"apiVersion": "v1", "parameters": "{}", "image": "i/postgresql:17", "images": "i", "name": "$(name)"},
}
GENERAL = ("composition", "crossplane")
KNOWN = re.compile(rf"^{NOTES}(stub|about|behind|nodes|[a-z-]+)$")


@pytest.mark.parametrize("trial", trying.trials(), ids=lambda trial: trial.stem)
def test_a_fixture_ends_in_a_class_that_its_driver_takes(trial: Trial) -> None:
    *_, cls = setting.load_fixture(trial, {**PLACES, "kind": trial.kind}, (trying.FIXTURES,))
    assert (cls["spec"]["driver"], cls["spec"]["claimKind"]) == (trial.driver, trial.kind)
    assert cls["metadata"]["name"] == PLACES["class"]
    assert all(KNOWN.match(key) for key in cls["metadata"].get("annotations", {}))
    driver = drivers()[trial.kind, trial.driver]
    msgspec.convert(cls["spec"].get("parameters", {}), driver.parameters)


@pytest.mark.parametrize("neighbour", neighbours.NEIGHBOURS, ids=lambda neighbour: neighbour.name)
def test_a_class_for_a_neighbour_knows_it_as_the_cluster_does(neighbour: Neighbour) -> None:
    tried = [trial for trial in trying.trials() if trial.driver in neighbour.drivers]
    assert {trial.driver for trial in tried} == neighbour.drivers
    secret, way, service = neighbours.build_way(neighbour, "10.0.0.1", 1, {}, "image")
    for trial in tried:
        (cls,) = setting.load_fixture(trial, {**PLACES, "kind": trial.kind}, (trying.FIXTURES,))
        parameters, notes = cls["spec"]["parameters"], setting.notes_of(cls)
        address = urlsplit(parameters.get("url") or parameters.get("issuer") or parameters["endpoint"])
        assert (address.hostname, address.port) == (neighbour.host, service["spec"]["ports"][0]["port"])
        refs = [value for key, value in parameters.items() if key.endswith("Ref")]
        own = secret["metadata"]
        assert {(ref["name"], ref["namespace"]) for ref in refs} == {(own["name"], own["namespace"])}
        ((label, value),) = way["spec"]["template"]["metadata"]["labels"].items()
        assert notes["behind"] == f"{way['metadata']['namespace']}/{label}={value}"
        assert "only way" in notes["about"], "that it is not the server which is ended"


def test_a_driver_with_a_contract_stub_says_so() -> None:
    for trial in trying.trials():
        *_, cls = setting.load_fixture(trial, {**PLACES, "kind": trial.kind}, (trying.FIXTURES,))
        stubs = [stub for stub in trying.STUBS if stub.driver == trial.driver]
        stubs += [each for each in neighbours.NEIGHBOURS if each.stub and trial.driver in each.drivers]
        said = "stub" in cls["metadata"].get("annotations", {}).get(f"{NOTES}stub", "")
        assert said == bool(stubs or trial.driver == "composition"), trial


NOT_TRIED = {(kind, driver) for kind, driver in drivers() if kind != "PostgreSQL" and driver in GENERAL}
"""Drivers whose code is the same for all kinds: what makes the other kinds of a class of theirs is the class."""


def test_every_driver_is_tried() -> None:
    tried = {(trial.kind, trial.driver) for trial in trying.trials()}
    assert drivers().keys() - tried == NOT_TRIED, "a driver needs a fixture: docs/conformance.md says where"


def test_a_persons_fixture_comes_before_ours(tmp_path: Path) -> None:
    trial = Trial("embedded", "Redis")
    assert setting.find_fixture(trial, ()) is not None
    (tmp_path / "embedded-redis.yaml").write_text("mine")
    (tmp_path / "embedded-redis-small.yaml").write_text("small")
    assert setting.find_fixture(trial, (tmp_path,)) == "mine"
    assert setting.find_fixture(Trial("embedded", "Redis", "small"), (tmp_path,)) == "small"
    assert Trial("embedded", "Redis", "small") in setting.trials((tmp_path,))
    with pytest.raises(LibreshError, match="no fixture embedded-redis-large"):
        setting.find_fixture(Trial("embedded", "Redis", "large"), (tmp_path,))
