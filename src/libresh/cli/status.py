"""`libresh status`: all apps and claims on one screen, with what is wrong and what to do."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import click

from libresh.api.meta import Resource
from libresh.catalog.settings import Settings
from libresh.cli import access, output, overview
from libresh.cli.access import Target
from libresh.cli.manifests import discovery, operator
from libresh.cli.output import paint
from libresh.cli.overview import Overview, Problem, Seen, Standing
from libresh.kube.client import Client
from libresh.kube.errors import NotFound, Refused
from libresh.plan import naming
from libresh.plan.actions import Object

COLOURS = {
    overview.READY: "green",
    overview.WAITING: "yellow",
    overview.STALLED: "red",
    overview.UNSEEN: "yellow",
    overview.DELETING: "magenta",
    overview.SUSPENDED: "blue",
}


@click.command()
@click.option("-n", "--namespace", metavar="NS", default="", help="Only this namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces; this is the default.")
@output.output_option
@access.cluster_options
def status(target: Target, form: str, namespace: str, all_namespaces: bool) -> None:
    """How everything stands: operator, apps, claims and classes, what is wrong and what to do."""
    if namespace and all_namespaces:
        raise click.UsageError("-n and -A exclude each other")

    async def work(client: Client) -> Overview:
        return overview.build_overview(await observe(client, namespace), discovery.types())

    found = access.run(work, target)
    if form == output.JSON:
        output.show_json(found.as_json())
    else:
        click.echo("\n".join(render(found, target.described)))


async def observe(client: Client, namespace: str) -> Seen:
    """Read all that the screen shows."""
    system = Settings.system_namespace
    types = discovery.types()
    reading = asyncio.gather(*(read_kind(client, type, namespace) for type in types))
    version, nodes, deployments, pods = await asyncio.gather(
        client.version(),
        readable(client, "Node", ""),
        readable(client, "Deployment", system, operator.selector()),
        readable(client, "Pod", namespace, {naming.PART_OF_LABEL: "libre.sh"}),
    )
    lists = await reading
    objects = {t.KIND.kind: found for t, found in zip(types, lists, strict=True) if isinstance(found, list)}
    return Seen(
        server=client.access.server,
        version=str(version.get("gitVersion", "")),
        now=datetime.now(UTC),
        nodes=nodes,
        operator=deployments[0] if deployments else None,
        pods=pods,
        objects=objects,
        unreadable=[t.KIND.kind for t, found in zip(types, lists, strict=True) if found is False],
    )


async def readable(client: Client, kind: str, namespace: str, labels: dict[str, str] | None = None) -> list[Object]:
    """What this person may see of a kind: nothing, where they may not."""
    try:
        return await client.list(kind, namespace, labels=labels)
    except Refused:
        return []


async def read_kind(client: Client, type: type[Resource], namespace: str) -> list[Object] | bool | None:
    """The objects of one of our kinds; None: the cluster does not know it; False: it is not for this person."""
    try:
        return await client.list(type.KIND.kind, namespace if type.KIND.namespaced else "")
    except NotFound:
        return None
    except Refused as error:
        if error.code == 403:
            return False
        raise


def render(found: Overview, kubeconfig: str) -> list[str]:
    """The screen, line by line."""
    nodes = f", {found.nodes}" if found.nodes else ""
    lines = [
        f"cluster   {found.server}  Kubernetes {found.version}{nodes}  ({kubeconfig})",
        f"operator  {found.operator}",
        f"needs     {found.footprint.describe()}",
    ]
    lines += section("APPS", ("NAMESPACE", "APP", "STATE", "VERSION", "URL"), found.apps, render_app)
    lines += section("CLAIMS", ("NAMESPACE", "CLAIM", "STATE", "CLASS", "SECRET"), found.claims, render_claim)
    header = ("CLASS", "SERVES", "DRIVER", "DEFAULT", "CLAIMS", "STATE", "URL")
    lines += section("CLASSES", header, found.classes, render_class)
    lines += render_progress(found.under_way)
    lines += render_problems(found.problems)
    if not found.problems and not found.under_way:
        lines += ["", paint("All is well.", "green")]
    return lines


def section(
    title: str, header: Sequence[str], standings: Sequence[Standing], row: Callable[[Standing], Sequence[str]]
) -> list[str]:
    """A titled table, or nothing where there is nothing to show."""
    if not standings:
        return []
    return ["", paint(title, "white", bold=True), *output.build_table(header, [row(each) for each in standings])]


def render_app(app: Standing) -> Sequence[str]:
    return app.namespace, app.handle, render_state(app), app.details["version"] or "-", app.details["url"] or "-"


def render_claim(claim: Standing) -> Sequence[str]:
    details = claim.details
    served = details.get("class") or details.get("app") or "-"
    return claim.namespace, claim.handle, render_state(claim), served, details["secret"] or "-"


def render_class(cls: Standing) -> Sequence[str]:
    details = cls.details
    default = "yes" if details["default"] else "-"
    url = details["url"] or "-"
    return cls.name, details["serves"], details["driver"], default, str(details["claims"]), render_state(cls), url


def render_state(standing: Standing) -> str:
    return paint(standing.state, COLOURS[standing.state])


def render_progress(standings: Sequence[Standing]) -> list[str]:
    """What is on its way."""
    if not standings:
        return []
    lines = ["", paint("UNDER WAY", "yellow", bold=True)]
    for each in standings:
        where = f" in {each.namespace}" if each.namespace else ""
        lines.append(f"{each.handle}{where}: {each.message or each.reason}")
        lines += [
            f"  {part['name']}: {part['message']}" for part in each.details.get("components", ()) if part["message"]
        ]
    return lines


def render_problems(problems: Sequence[Problem]) -> list[str]:
    """What is wrong, and what to do."""
    if not problems:
        return []
    lines = ["", paint("WRONG", "red", bold=True)]
    for each in problems:
        lines += [f"{each.what}: {each.why}", f"  {paint('do:', 'cyan')} {each.do}"]
    return lines
