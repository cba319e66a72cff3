"""`libresh class`: who serves which kind of claim, and whether a class that somebody wrote could."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from libresh.api.services import ServiceClass
from libresh.cli import access, checking, documents, output, overview, secretview
from libresh.cli import status as screen
from libresh.cli.access import Target
from libresh.cli.checking import Finding, Known, Report
from libresh.cli.class_import import import_class
from libresh.cli.documents import Document
from libresh.cli.output import paint
from libresh.cli.overview import Standing
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import NotFound, Refused
from libresh.plan.actions import Object

STDIN = "-"
WITHOUT_CLUSTER = ("no-cluster", "no-local-cluster", "no-kubeconfig", "api-unreachable")


@click.group("class")
def classes() -> None:
    """Who serves claims: the ServiceClasses of the cluster."""


classes.add_command(import_class)


@classes.command("list")
@output.output_option
@access.cluster_options
def list_classes(target: Target, form: str) -> None:
    """All classes, the default ones marked, and what their services can do."""

    async def work(client: Client) -> list[Standing]:
        return [overview.stand(ServiceClass, obj) for obj in await read_classes(client)]

    found = access.run(work, target)
    if form == output.JSON:
        output.show_json([describe(each) for each in found])
        return
    if not found:
        click.echo("There is no class. libresh install makes one for each kind of claim.")
        return
    header = ("CLASS", "SERVES", "DRIVER", "DEFAULT", "CLAIMS", "STATE", "CAN", "URL")
    click.echo("\n".join(output.build_table(header, [render_listed(each) for each in found])))


def describe(cls: Standing) -> dict[str, object]:
    """A class for programs."""
    return {"name": cls.name, "state": cls.state, "reason": cls.reason, "message": cls.message, **cls.details}


def render_listed(cls: Standing) -> Sequence[str]:
    *row, url = screen.render_class(cls)
    return *row, ", ".join(cls.details["capabilities"]) or "-", url


async def read_classes(client: Client) -> list[Object]:
    """The classes of the cluster."""
    try:
        return await client.list(ServiceClass.KIND.kind)
    except NotFound as error:
        raise LibreshError("not-installed", "The cluster knows no ServiceClass", "libresh install") from error


@classes.command("check")
@click.option("--offline", is_flag=True, help="Ask no cluster: check what the files alone tell.")
@output.output_option
@access.cluster_options
@click.argument("files", metavar="[FILE]...", nargs=-1)
def check(target: Target, form: str, offline: bool, files: tuple[str, ...]) -> None:
    """Whether classes could serve: those of FILEs before they are applied (- is standard input), else the cluster's.

    \b
    libresh class check classes.yaml             also against the cluster: Secrets, other defaults
    libresh class check --offline classes.yaml   the manifests alone
    libresh class check                          the classes that the cluster has

    Ends with 1 when something is to be corrected.
    """
    if offline and not files:
        raise click.UsageError("--offline needs a FILE: the classes of the cluster are read from there")
    found = tuple(document for file in files for document in documents.read(name_of(file), read_file(file)))
    if offline:
        report = checking.build_report(found, None)
    else:
        report = check_online(target, found, from_cluster=not files)
    if form == output.JSON:
        output.show_json(report.as_json())
    else:
        click.echo("\n".join(render(report)))
    if report.findings:
        click.get_current_context().exit(1)


def name_of(file: str) -> str:
    return "standard input" if file == STDIN else file


def read_file(file: str) -> bytes:
    """What a file holds; of a huge one only so much that its size shows."""
    if file == STDIN:
        return sys.stdin.buffer.read(documents.LIMIT + 1)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(documents.LIMIT + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "that is no file name"
        raise LibreshError("no-file", f"{file!r} cannot be read: {why}", "name a file with manifests, or -") from error


def check_online(target: Target, found: Sequence[Document], *, from_cluster: bool) -> Report:
    """The same with what the cluster says."""

    async def work(client: Client) -> Report:
        listed = await list_or_none(client)
        if from_cluster and listed is None:
            raise LibreshError(
                "may-not-list", "You may not list ServiceClasses", "ask for the role libresh-cluster-view"
            )
        judged = [Document("cluster", "class", each) for each in listed or ()] if from_cluster else found
        secrets, hidden = await secretview.look_at_all(client, checking.wanted_secrets(judged))
        return checking.build_report(judged, Known(listed, secrets, hidden))

    try:
        return access.run(work, target)
    except LibreshError as error:
        if error.reference in WITHOUT_CLUSTER and not from_cluster:
            error.hint = "; ".join(filter(None, (error.hint, "or check the files alone: --offline")))
        raise


async def list_or_none(client: Client) -> list[Object] | None:
    """The classes of the cluster, or None where this person may not list them."""
    try:
        return await read_classes(client)
    except Refused as error:
        if error.code != secretview.HIDDEN:
            raise
        return None


def render(report: Report) -> list[str]:
    """The report, line by line."""
    lines = [line for finding in report.findings for line in render_finding(finding)]
    for each in report.skipped:
        lines.append(f"skipped      {each.source}, {each.document}: {each.what}, no class of libre.sh")
    lines += [f"not checked  {each}" for each in report.unchecked]
    many = len(report.checked)
    counted = f"{many} class{'' if many == 1 else 'es'} checked"
    if report.findings:
        return [*lines, paint(f"{counted}, {len(report.findings)} to correct", "red")]
    return [*lines, paint(f"{counted}, nothing to correct", "green") if many else "There is no class to check"]


def render_finding(finding: Finding) -> list[str]:
    field = f": {finding.field}" if finding.field else ""
    return [
        f"{paint('wrong', 'red')}  {finding.source}, {finding.document}{field}",
        f"  {finding.reason}",
        f"  {paint('way out:', 'cyan')} {finding.way_out}",
    ]
