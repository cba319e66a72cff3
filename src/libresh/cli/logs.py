"""`libresh logs`: what the pods of an application, a claim or the operator say."""

import asyncio
from collections.abc import AsyncIterator

import click

from libresh.catalog.settings import Settings
from libresh.cli import access, naming, output
from libresh.cli.access import Target
from libresh.cli.manifests import discovery, operator
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import Refused
from libresh.plan import naming as labels
from libresh.plan.actions import Object


@click.command()
@click.argument("what", metavar="KIND/NAME|operator")
@click.argument("component", required=False, default="")
@click.option("-n", "--namespace", metavar="NS", default="", help="Where it is, if its name is not unique.")
@click.option("-f", "--follow", is_flag=True, help="Go on as new lines come.")
@click.option(
    "--tail", metavar="N", type=click.IntRange(0), default=100, show_default=True, help="How many lines of each."
)
@click.option("--previous", is_flag=True, help="Of the run before the last restart.")
@output.output_option
@access.cluster_options
def logs(
    target: Target, form: str, what: str, component: str, namespace: str, follow: bool, tail: int, previous: bool
) -> None:
    """What an application, a claim's service or the operator says, each line after its pod.

    \b
    libresh logs matrix/chat            all components
    libresh logs matrix/chat synapse    one of them
    libresh logs operator -f
    """

    async def work(client: Client) -> None:
        pods = await find_pods(client, what, component, namespace)
        sources = [(pod, container["name"]) for pod in pods for container in pod["spec"]["containers"]]
        reading = (show(client, pod, name, follow, tail, previous, form) for pod, name in sources)
        if follow:
            await asyncio.gather(*reading)
        else:
            for each in reading:
                await each

    access.run(work, target)


async def find_pods(client: Client, what: str, component: str, namespace: str) -> list[Object]:
    """The pods behind a handle."""
    if what == "operator":
        where, wanted = namespace or Settings.system_namespace, operator.selector()
    else:
        type, name = naming.parse(what, discovery.types())
        where = (await naming.find(client, type, name, namespace))["metadata"].get("namespace", "")
        wanted = {labels.OWNER_LABEL: labels.owner_value(type.KIND.kind, name)}
        if component:
            wanted[labels.COMPONENT_LABEL] = component
    pods = await client.list("Pod", where, labels=wanted)
    if pods:
        return pods
    everything = await client.list(
        "Pod", where, labels={k: v for k, v in wanted.items() if k != labels.COMPONENT_LABEL}
    )
    have = sorted({pod["metadata"]["labels"].get(labels.COMPONENT_LABEL, "") for pod in everything} - {""})
    if component and have:
        raise LibreshError(
            "component-unknown", f"{what} has no component {component!r} that runs", f"one of: {', '.join(have)}"
        )
    raise LibreshError("no-pods", f"{what} has no pods in {where}", "libresh status says how it stands")


async def show(client: Client, pod: Object, container: str, follow: bool, tail: int, previous: bool, form: str) -> None:
    """One container's lines, each saying where it comes from."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    try:
        async for line in read(client, name, namespace, container, follow, tail, previous):
            text = line.decode(errors="replace")
            if form == output.JSON:
                output.show_json_line({"pod": name, "container": container, "line": text})
            else:
                click.echo(f"{output.paint(name, 'cyan')} {text}")
    except Refused as error:
        # A container that has not started yet has no log; the others still have.
        click.echo(f"{name}: {error.message}", err=True)


def read(
    client: Client, pod: str, namespace: str, container: str, follow: bool, tail: int, previous: bool
) -> AsyncIterator[bytes]:
    return client.logs(pod, namespace, container=container, follow=follow, tail=tail, previous=previous)
