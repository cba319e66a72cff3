"""`libresh conformance`: one driver through the cases that every driver must pass, on a live cluster, with a report."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from libresh.api.services import ServiceClass
from libresh.cli import access, output
from libresh.cli.access import Target
from libresh.cli.board import Board, Timings
from libresh.cli.output import paint
from libresh.conformance import report as reports
from libresh.conformance import running, setting
from libresh.conformance.cases import CASES
from libresh.conformance.model import FAILED, LEVELS, PASSED, SKIPPED, Case, Report, Result, verdict
from libresh.conformance.profile import PROFILES
from libresh.conformance.running import Options
from libresh.drivers import is_outside, names_for
from libresh.errors import LibreshError
from libresh.kube.client import Client

TIMINGS = Path(click.get_app_dir("libresh")) / "conformance.json"
FAILURE = 1
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group("conformance")
def conformance() -> None:
    """Whether drivers keep the contract: the same cases for each, on a live cluster."""


@conformance.command("driver")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(PROFILES)), help="Only this kind of claim.")
@click.option("--variant", metavar="WORD", default="", help="Another way of that driver, of which there is a fixture.")
@click.option("--class", "class_name", metavar="NAME", default="", help="A class of yours. Else one is made.")
@click.option("--report", "folder", metavar="DIR", type=click.Path(path_type=Path), help="Write the reports there.")
@click.option("--crowd", type=click.IntRange(1, 5000), default=200, show_default=True, help="Claims made at once.")
@click.option("--case", "cases", multiple=True, metavar="CASE", help="Only this case (and provision).")
@click.option("--patience", type=click.IntRange(10), default=300, show_default=True, help="Seconds a claim may take.")
@click.option("--image", metavar="REF", default="", help="The probe's image, if not the operator's PostgreSQL.")
@click.option(
    "--fixtures", metavar="DIR", multiple=True, type=FOLDER, help="Fixtures of yours, before ours. May be repeated."
)
@output.output_option
@access.cluster_options
@click.argument("driver", metavar="NAME")
def driver(target: Target, form: str, driver: str, kinds: tuple[str, ...], folder: Path | None, **given: Any) -> None:
    """Put the driver NAME through its cases, for every kind of claim it serves.

    \b
    libresh conformance driver embedded --kind PostgreSQL --crowd 20
    libresh conformance driver static --report docs/conformance
    libresh conformance driver example.org/hosted --kind PostgreSQL --class hosted

    It makes namespaces, claims and a class of its own, uses, disturbs and removes them. With --class only what its own
    claims stand on is disturbed. Ends with 1 when a case fails.
    """
    options = Options(driver=driver, **given)
    check(options, kinds)
    found = []
    for kind in kinds or tried(options):
        report = run_one(target, options, kind, form)
        found.append(report)
        if folder is not None:
            click.echo(f"report: {reports.write(report, folder)}", err=True)
    if form == output.JSON:
        output.show_json([report.as_json() for report in found])
    if any(report.failed for report in found):
        click.get_current_context().exit(FAILURE)


def check(options: Options, kinds: tuple[str, ...]) -> None:
    """Refuses what cannot be run before anything is made."""
    known = [case.name for case in CASES]
    for name in options.cases:
        if name not in known:
            raise click.BadParameter(f"there is no case {name!r}; one of: {', '.join(known)}", param_hint="--case")
    if (options.class_name or options.variant or is_outside(options.driver)) and len(kinds) != 1:
        raise click.UsageError("a class serves one kind of claim: name it with --kind")
    if options.class_name and options.variant:
        raise click.UsageError("--variant chooses a class that is made for the run: leave it or --class out")
    if is_outside(options.driver) and not (options.class_name or options.fixtures):
        raise click.UsageError(f"{options.driver} is outside of libre.sh: name a class of it with --class")
    if not (kinds or serving(options.driver)):
        names = sorted({name for kind in PROFILES for name in names_for(kind)})
        raise LibreshError(
            "driver-unknown", f"No driver {options.driver} is installed here", f"one of: {', '.join(names)}"
        )


def serving(driver: str) -> list[str]:
    """The kinds of claims a driver serves."""
    return [kind for kind in PROFILES if driver in names_for(kind)]


def tried(options: Options) -> list[str]:
    """The kinds of claims a driver is tried with: those there is a fixture for, or all that it serves."""
    known = {trial.kind for trial in setting.trials(options.fixtures) if trial.driver == options.driver}
    return [kind for kind in serving(options.driver) if kind in known or not known]


def run_one(target: Target, options: Options, kind: str, form: str) -> Report:
    """One kind of claim, shown as it goes."""
    titles = {case.name: f"{kind} {case.name}" for case in CASES}
    with Board(titles, Timings(TIMINGS, {})) as board:

        async def work(client: Client) -> Report:
            await client.list(ServiceClass.KIND.kind)
            return await running.run_kind(client, options, kind, Shown(board))

        report = access.run(work, target)
    if form != output.JSON:
        click.echo("\n".join(render(report)))
    return report


@dataclass
class Shown:
    """Tells the board."""

    board: Board
    failed: bool = False

    @contextmanager
    def shown(self, case: Case) -> Iterator[None]:
        self.failed = False
        try:
            with self.board.shown(case.name):
                yield
                if self.failed:
                    raise Over
        except Over:
            pass

    def ended(self, result: Result) -> None:
        self.failed = result.status == FAILED
        if result.status != PASSED:
            with self.board.lock:
                self.board.rows[result.case].title += f": {result.status}"


class Over(Exception):
    """A case failed, and was told."""


def render(report: Report) -> list[str]:
    """What did not pass, and why; then the result."""
    lines = []
    for each in report.results:
        if each.status in (PASSED, SKIPPED):
            continue
        colour = "red" if each.status == FAILED else "yellow"
        lines += [f"{paint(each.status, colour)}  {each.case}: {each.title}", f"  {each.message}"]
    words = ", ".join(f"{level} {verdict(report.at(level))}" for level in LEVELS)
    return [*lines, paint(f"{report.driver} for {report.kind}: {words}", "red" if report.failed else "green")]
