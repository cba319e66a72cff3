"""What a claim of one member becomes, in full: a change of it restarts every database that runs.

`LIBRESH_REWRITE_GOLDEN=1 pytest tests/drivers` writes the files anew: read the diff.
"""

import os
from pathlib import Path

import pytest
import yaml

from laws import samples
from libresh.drivers import drivers

GOLDEN = Path(__file__).parent / "golden"
DRIVER = drivers()["PostgreSQL", "embedded"]
CASES = {"one": {}, "connections": {"maxConnections": 50}, "three": {"members": 3}}


@pytest.mark.parametrize("case", CASES)
def test_it_becomes_just_these_objects(case: str) -> None:
    found = samples.applied(samples.planned(samples.Variant(DRIVER, CASES[case])))
    for each in found:
        for tool in ("libresh_member.py", "libresh_alone.py"):
            each.get("data", {}).pop(tool, None)  # code, which has its own tests
        if "affinity" in each.get("spec", {}).get("template", {}).get("spec", {}):
            del each["spec"]["template"]["metadata"]["annotations"]  # changes with the code
    text = yaml.safe_dump_all(yaml.safe_load_all(yaml.safe_dump_all(found)), sort_keys=True, width=1000)
    path = GOLDEN / f"{case}.yaml"
    if os.environ.get("LIBRESH_REWRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "if this is meant, write the golden files anew and read the diff"
