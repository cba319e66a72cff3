"""What is written of a run."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

from libresh.conformance import report as reports
from libresh.conformance.model import FAILED, PASSED, SKIPPED, UNSUPPORTED, Report, Result, verdict

RESULTS = (
    Result("use", "It can be used", "core", PASSED, 1.5, "ready in 3 s"),
    Result("restart", "It comes back", "core", UNSUPPORTED, 0.1, "nothing | runs here"),
    Result("expand", "It grows", "extended", PASSED, 2.0),
)
REPORT = Report(
    driver="example.org/hosted",
    kind="Redis",
    class_name="",
    version="1.0",
    cluster="Kubernetes v1.36.0, 1 node",
    date="2026-01-02T03:04:05Z",
    seconds=12.3,
    capabilities=("expand",),
    crowd=7,
    results=RESULTS,
)


def test_what_is_left_out_is_never_a_success() -> None:
    passed, unsupported, _ = RESULTS
    assert verdict([passed]) == "success"
    assert verdict([passed, unsupported]) == "partial"
    assert verdict([passed, replace(passed, status=SKIPPED)]) == "partial"
    assert verdict([]) == "partial"
    assert verdict([passed, unsupported, replace(passed, status=FAILED)]) == "failure"


def test_the_page_tells_all_of_it() -> None:
    page = reports.render(REPORT)
    assert "| core | **partial** | 1 | 0 | 1 | 0 |" in page
    assert "| extended | **success** | 1 | 0 | 0 | 0 |" in page
    assert "nothing \\| runs here" in page
    assert "libresh conformance driver example.org/hosted --kind Redis --crowd 7" in page
    assert "Contract stub" not in page
    assert "> **Contract stub.** No such hoster" in reports.render(replace(REPORT, stub="No such hoster"))
    assert "\n> It stands beside.\n" in reports.render(replace(REPORT, about="It stands beside."))


def test_junit_counts_what_failed_and_what_was_left_out() -> None:
    broken = replace(RESULTS[0], case="broken", status=FAILED, message='<said> "no"')
    suite = ET.fromstring(reports.render_junit(replace(REPORT, results=(*RESULTS, broken)))).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    failure = suite.find("testcase[@name='broken']/failure")
    assert failure is not None
    assert failure.get("message") == '<said> "no"'


def test_the_index_lists_every_report_of_the_folder(tmp_path: Path) -> None:
    reports.write(REPORT, tmp_path)
    page = reports.write(replace(REPORT, driver="static", stub="a fake"), tmp_path)
    assert page == tmp_path / "static-redis.md"
    index = (tmp_path / "README.md").read_text()
    assert "[`example.org/hosted`](example.org_hosted-redis.md) | Redis | partial (1 of 2) | success (1 of 1)" in index
    assert "[`static`](static-redis.md) (contract stub)" in index
    assert "`restart`" in index


def test_the_table_shows_drivers_by_kinds(tmp_path: Path) -> None:
    reports.write(REPORT, tmp_path)
    reports.write(replace(REPORT, driver="embedded", kind="Bucket", crowd=8), tmp_path)
    page = reports.write(replace(REPORT, driver="embedded", variant="three", stub="a fake"), tmp_path)
    assert page == tmp_path / "embedded-redis-three.md"
    assert "# embedded (three) for Redis" in page.read_text()
    assert "--kind Redis --variant three --crowd 7" in page.read_text()
    index = (tmp_path / "README.md").read_text()
    assert "| Driver | Bucket | Redis |" in index
    assert "| `embedded` | [partial](embedded-bucket.md) 1/2, 8 at once |  |" in index
    three = "| `embedded` (three) |  | [partial](embedded-redis-three.md) 1/2, 7 at once, contract stub |"
    assert three in index
