"""`libresh version`."""

import platform

import click

import libresh
from libresh.cli import output


@click.command()
@output.output_option
def version(form: str) -> None:
    """Which libre.sh this is."""
    told = {"libresh": libresh.__version__, "python": platform.python_version(), "machine": platform.machine()}
    if form == output.JSON:
        output.show_json(told)
    else:
        click.echo(f"libresh {told['libresh']} (Python {told['python']}, {told['machine']})")
