"""The benchmarks at tiny sizes, on the API server in memory, so that they go on working between the runs that count."""

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from bench import process, product, report, small
from bench.contenders import libresh
from bench.servers import ROOT, InMemory, counts
from bench.widgets import CRD


def hurry(patch: pytest.MonkeyPatch) -> None:
    """A shorter look; changes all at once."""
    patch.setattr(process, "LOOK", 0.1)
    patch.setattr(process, "QUIET_CPU", 0.0)
    patch.setattr(small, "TOUCH_SECONDS", 0.0)


@pytest.mark.thorough
def test_the_runtime_adopts_restarts_and_follows_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    found = small.measure(lambda: InMemory([CRD]), libresh(), 5)
    assert found["adoption_writes"] == 15, "a ConfigMap, a status and an event for each"
    assert (found["restart_writes"], found["change_writes"]) == (0, 2)
    assert found["adoption_cpu_s"] > 0
    assert found["rss_mb"] > 10


@pytest.mark.thorough
def test_the_operator_settles_and_then_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    found = product.measure(lambda: InMemory(product.manifests("crds")), 1, secrets=10, seconds=0.2)
    assert found["objects_each"] > 20
    assert found["settle_writes_each"] > found["objects_each"]
    assert (found["restart_writes"], found["stay_writes"]) == (0, 0)
    assert found["change_writes"] > 1


def test_what_counts_as_a_write_of_the_operator() -> None:
    def labels(verb: str, group: str, resource: str, subresource: str = "", code: str = "200") -> dict[str, str]:
        return {"verb": verb, "group": group, "resource": resource, "subresource": subresource, "code": code}

    assert counts(labels("APPLY", "apps", "deployments"))
    assert counts(labels("APPLY", "apps.libre.sh", "matrices", "status"))
    assert not counts(labels("PATCH", "apps", "deployments", "status")), "the stub wrote it"
    assert not counts(labels("PUT", "coordination.k8s.io", "leases"))
    assert not counts(labels("APPLY", "apps", "deployments", code="409"))
    assert not counts(labels("LIST", "apps", "deployments"))


def test_the_document_shows_the_committed_results(tmp_path: Path) -> None:
    document = ROOT / "docs" / "performance.md"
    copy = tmp_path / "performance.md"
    copy.write_text(document.read_text())
    report.write(ROOT / "bench" / "results", copy)
    assert copy.read_text() == document.read_text(), "run python -m bench report"


def test_results_name_no_machine() -> None:
    for path in (ROOT / "bench" / "results").glob("*.json"):
        assert set(json.loads(path.read_text())["machine"]) == {
            *("cores", "processor", "memory_gib", "kernel", "python", "load")
        }
