"""The fake's table of built-in kinds is what the real API server says of itself."""

import json

import pytest

from support.apiserver import RealApi
from support.fakeapi.extract import BUILTIN, documents, extract
from support.fakeapi.kinds import builtin_kinds

pytestmark = pytest.mark.apiserver


def test_the_schemas_are_those_of_the_server(real_api: RealApi) -> None:
    told, kept = extract(documents(real_api)), json.loads(BUILTIN.read_text())
    assert told["kinds"] == kept["kinds"]
    assert told["definitions"] == kept["definitions"], "rewrite it: cd tests && python -m support.fakeapi.extract"


def test_the_doors_are_those_of_the_server(real_api: RealApi) -> None:
    for kind in builtin_kinds():
        resources = {entry["name"]: entry for entry in real_api.ask(kind.root)["resources"]}
        assert resources[kind.plural]["kind"] == kind.kind
        assert resources[kind.plural]["namespaced"] == kind.namespaced, kind.kind
        assert (f"{kind.plural}/status" in resources) == kind.status, kind.kind
