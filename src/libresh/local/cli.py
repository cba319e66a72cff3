"""The commands of the local cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from libresh.errors import LibreshError
from libresh.local import cluster as verbs
from libresh.local import spec, status
from libresh.local.progress import Progress

name_option = click.option("--name", default=spec.DEFAULT_NAME, show_default=True, help="Which cluster.")
number_argument = click.argument("number", type=int)


@click.group()
def local() -> None:
    """A real Kubernetes cluster on this machine."""


@local.command("up")
@name_option
@click.option("--nodes", type=int, help="How many nodes; a cluster can grow, not shrink.")
@click.option("--suffix", help="What host names served by the cluster end in (default: localhost).")
@click.option(
    "--listen", help="Where the edge listens: an address of this machine, 0.0.0.0 for all (default: loopback)."
)
@click.option("--fast-unsafe-etcd", is_flag=True, default=None, help="For tests: a power cut may lose all.")
def up(name: str, nodes: int | None, suffix: str | None, listen: str | None, fast_unsafe_etcd: bool | None) -> None:
    """Start a cluster, or make it if there is none."""
    made = verbs.up(verbs.Wish(name, nodes, suffix, fast_unsafe_etcd, listen), Progress())
    click.echo(f"export KUBECONFIG={made.kubeconfig}")


@local.command("down")
@name_option
def down(name: str) -> None:
    """Stop a cluster; its data stays."""
    verbs.down(name, Progress())


@local.command("purge")
@name_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(name: str, yes: bool) -> None:
    """Stop a cluster and remove its data for good."""
    found = verbs.find_cluster(name)
    if not yes:
        click.confirm(f"Remove the cluster {name!r} with everything in {found.folder}?", abort=True)
    verbs.purge(name, Progress())


@local.command("status")
@name_option
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def show_status(name: str, output: str) -> None:
    """Show what runs; ends with 1 if the cluster is not ready."""
    seen = status.observe(verbs.find_cluster(name))
    click.echo(json.dumps(seen.as_json(), indent=1) if output == "json" else status.describe(seen))
    sys.exit(0 if seen.ready else 1)


@local.command("kubeconfig")
@name_option
def kubeconfig(name: str) -> None:
    """Print where the administrator's kubeconfig lies."""
    click.echo(verbs.find_cluster(name).kubeconfig)


@local.command("load")
@name_option
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load(name: str, archive: Path) -> None:
    """Bring the images of an OCI archive into every node."""
    lacked = verbs.load(name, archive)
    click.echo(f"imported into {', '.join(member.name for member in lacked)}" if lacked else "already there")


@local.group("node")
def node() -> None:
    """Power for single nodes."""


@node.command("stop")
@number_argument
@name_option
def node_stop(number: int, name: str) -> None:
    """Shut a node down in order."""
    click.echo("stopped" if verbs.node_stop(name, number) else "was not running")


@node.command("kill")
@number_argument
@name_option
def node_kill(number: int, name: str) -> None:
    """Cut a node's power: everything on it dies at once."""
    click.echo("killed" if verbs.node_kill(name, number) else "was not running")


@node.command("start")
@number_argument
@name_option
def node_start(number: int, name: str) -> None:
    """Start a node that was stopped or killed."""
    verbs.node_start(name, number, Progress())


def main() -> None:
    """Run the commands; errors for people go to stderr, without a trace."""
    try:
        local(prog_name="libresh local")
    except LibreshError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  way out: {error.hint}", err=True)
        sys.exit(1)
