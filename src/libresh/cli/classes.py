"""`libresh class`: who serves which kind of claim."""

import click

from libresh.api.services import ServiceClass
from libresh.cli import access, output, overview
from libresh.cli import status as screen
from libresh.cli.access import Target
from libresh.cli.overview import Standing
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.kube.errors import NotFound


@click.group("class")
def classes() -> None:
    """Who serves claims: the ServiceClasses of the cluster."""


@classes.command("list")
@output.output_option
@access.cluster_options
def list_classes(target: Target, form: str) -> None:
    """All classes, the default ones marked."""

    async def work(client: Client) -> list[Standing]:
        try:
            found = await client.list(ServiceClass.KIND.kind)
        except NotFound as error:
            raise LibreshError("not-installed", "The cluster knows no ServiceClass", "libresh install") from error
        return [overview.stand(ServiceClass, obj) for obj in found]

    found = access.run(work, target)
    if form == output.JSON:
        output.show_json([{"name": each.name, "state": each.state, **each.details} for each in found])
        return
    if not found:
        click.echo("There is no class. libresh install makes one for each kind of claim.")
        return
    header = ("CLASS", "SERVES", "DRIVER", "DEFAULT", "CLAIMS", "STATE", "URL")
    click.echo("\n".join(output.build_table(header, [screen.render_class(each) for each in found])))
