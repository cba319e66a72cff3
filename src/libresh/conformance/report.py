"""A run as Markdown for people and as JUnit for programs, and the page that lists all runs of a folder.

JUnit as tools commonly read it (github.com/testmoapp/junitxml): testsuite with properties, testcase with failure or
skipped. What is not supported is `skipped` there, with the reason; the Markdown tells both apart.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from pathlib import Path

from libresh.conformance.model import FAILED, LEVELS, PASSED, UNSUPPORTED, WORDS, Report, Result, count, verdict
from libresh.conformance.setting import Trial

Facts = dict[str, str]
INDEX = "README.md"
LIST = "In each cell: the result of the core cases, how many of them passed, and how many claims were made at once.\n"
GENERATED = "<!-- Written by libresh conformance: not by hand. -->"
INTRODUCTION = """# Conformance

Every driver goes through the same cases, on a live cluster: [`libresh conformance driver`](../conformance.md). *Core*
cases must hold for every driver; *extended* ones for those whose class says that its services can do it. `success`: all
passed; `partial`: some are not supported or were left out, the report says which and why; `failure`: one failed.
"""


def write(report: Report, folder: Path) -> Path:
    """Both forms of a report, and the page that lists it. Returns the one for people."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = Trial(report.driver, report.kind, report.variant).stem
    page = folder / f"{stem}.md"
    page.write_text(render(report))
    (folder / f"{stem}.xml").write_text(render_junit(report))
    (folder / INDEX).write_text(render_index(folder))
    return page


# --- for people ------------------------------------------------------------------------------------------------------


def render(report: Report) -> str:
    """The report as a page."""
    lines = [GENERATED, f"# {named(report.driver, report.variant)} for {report.kind}", ""]
    if report.stub:
        lines += [f"> **Contract stub.** {report.stub}", ""]
    if report.about:
        lines += [f"> {report.about}", ""]
    lines += [*render_facts(report), "", *render_levels(report), "", "## Cases", "", *render_cases(report.results)]
    return "\n".join(lines) + "\n"


def render_facts(report: Report) -> list[str]:
    facts = {
        "Implementation": f"libre.sh {report.version}, driver `{report.driver}`",
        "Profile": report.kind,
        "Class": f"`{report.class_name}`, as it stands in that cluster" if report.class_name else "made for the run",
        "Cluster": report.cluster,
        "Date": report.date,
        "Took": f"{report.seconds:.0f} s",
        "Capabilities": ", ".join(f"`{each}`" for each in report.capabilities) or "none",
        "Crowd": f"{report.crowd} claims at once",
        "Again": f"`{command(report)}`",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {escape(value)} |" for name, value in facts.items())]


def command(report: Report) -> str:
    """How to run it again."""
    chosen = f" --class {report.class_name}" if report.class_name else ""
    chosen += f" --variant {report.variant}" if report.variant else ""
    return f"libresh conformance driver {report.driver} --kind {report.kind}{chosen} --crowd {report.crowd}"


def named(driver: str, variant: str) -> str:
    """A driver, and in which of its ways."""
    return f"{driver} ({variant})" if variant else driver


def render_levels(report: Report) -> list[str]:
    lines = [f"| Level | Result | {' | '.join(WORDS)} |", "|---|---|" + "---|" * len(WORDS)]
    for level in LEVELS:
        results = report.at(level)
        counted = count(results)
        lines.append(f"| {level} | **{verdict(results)}** | {' | '.join(str(counted[word]) for word in WORDS)} |")
    return lines


def render_cases(results: Iterable[Result]) -> list[str]:
    lines = ["| Case | Level | Result | Took | What must be so, and what was seen |", "|---|---|---|---|---|"]
    for each in results:
        status = f"**{each.status}**" if each.status == FAILED else each.status
        said = f"{each.title}.{f' *{escape(each.message)}*' if each.message else ''}"
        lines.append(f"| `{each.case}` | {each.level} | {status} | {each.seconds:.1f} s | {said} |")
    return lines


def escape(text: str) -> str:
    """Text in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*")


# --- for programs ----------------------------------------------------------------------------------------------------


def render_junit(report: Report) -> str:
    """The report as JUnit XML."""
    counted = count(report.results)
    suite = ET.Element(
        "testsuite",
        {
            "name": f"libresh conformance driver {named(report.driver, report.variant)} {report.kind}",
            "tests": str(len(report.results)),
            "failures": str(counted[FAILED]),
            "errors": "0",
            "skipped": str(len(report.results) - counted[FAILED] - counted[PASSED]),
            "time": f"{report.seconds:.1f}",
            "timestamp": report.date,
        },
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in properties_of(report).items():
        ET.SubElement(properties, "property", {"name": name, "value": value})
    for each in report.results:
        add_case(suite, report, each)
    tree = ET.Element("testsuites")
    tree.append(suite)
    ET.indent(tree)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(tree, encoding="unicode") + "\n"


def properties_of(report: Report) -> dict[str, str]:
    """What the index page reads, too."""
    return {
        "driver": report.driver,
        "variant": report.variant,
        "kind": report.kind,
        "class": report.class_name,
        "version": report.version,
        "cluster": report.cluster,
        "capabilities": ",".join(report.capabilities),
        "crowd": str(report.crowd),
        "stub": report.stub,
        **{level: verdict(report.at(level)) for level in LEVELS},
        **{f"{level} passed": str(count(report.at(level))[PASSED]) for level in LEVELS},
        **{f"{level} cases": str(len(report.at(level))) for level in LEVELS},
        "not supported": ",".join(each.case for each in report.results if each.status == UNSUPPORTED),
    }


def add_case(suite: ET.Element, report: Report, result: Result) -> None:
    place = f"{report.driver}.{report.kind}.{result.level}"
    attributes = {"classname": place, "name": result.case, "time": f"{result.seconds:.1f}"}
    case = ET.SubElement(suite, "testcase", attributes)
    if result.status == FAILED:
        ET.SubElement(case, "failure", {"message": result.message})
    elif result.status != PASSED:
        ET.SubElement(case, "skipped", {"message": f"{result.status}: {result.message}"})
    elif result.message:
        ET.SubElement(case, "system-out").text = result.message


# --- all of them -----------------------------------------------------------------------------------------------------


def render_index(folder: Path) -> str:
    """The page that shows and lists every report of a folder, from the reports themselves."""
    found = {file.stem: read_facts(file) for file in sorted(folder.glob("*.xml"))}
    lines = [GENERATED, INTRODUCTION, *render_table(found), "", LIST]
    lines += ["| Driver | Kind | Core | Extended | Not supported | Crowd | Date |", "|---|---|---|---|---|---|---|"]
    for stem, facts in found.items():
        driver = f"[{way_of(facts)}]({stem}.md)" + (" (contract stub)" if facts["stub"] else "")
        levels = (f"{facts[level]} ({facts[f'{level} passed']} of {facts[f'{level} cases']})" for level in LEVELS)
        lacks = ", ".join(f"`{each}`" for each in facts["not supported"].split(",") if each)
        cells = (driver, facts["kind"], *levels, lacks or "–", facts["crowd"], facts["date"])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def render_table(found: Mapping[str, Facts]) -> list[str]:
    """Drivers and kinds: the result of the core cases, how many claims at once, and whether a stub was in it."""
    ways = list(dict.fromkeys(way_of(facts) for facts in found.values()))
    kinds = sorted({facts["kind"] for facts in found.values()})
    cells = {(way_of(facts), facts["kind"]): cell_of(stem, facts) for stem, facts in found.items()}
    header = [f"| Driver | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    return [*header, *(f"| {way} | {' | '.join(cells.get((way, kind), '') for kind in kinds)} |" for way in ways)]


def cell_of(stem: str, facts: Facts) -> str:
    stub = ", contract stub" if facts["stub"] else ""
    passed = f"{facts['core passed']}/{facts['core cases']}"
    return f"[{facts['core']}]({stem}.md) {passed}, {facts['crowd']} at once{stub}"


def way_of(facts: Facts) -> str:
    return named(f"`{facts['driver']}`", facts["variant"])


def read_facts(file: Path) -> Facts:
    """What a report says of itself."""
    suite = ET.parse(file).getroot().find("testsuite")
    assert suite is not None, f"{file} is no report"
    facts = {each.get("name", ""): each.get("value", "") for each in suite.iter("property")}
    return {"variant": "", **facts, "date": suite.get("timestamp", "")[:10]}
