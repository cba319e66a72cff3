"""The commands of the local cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from libresh.errors import LibreshError
from libresh.local import cluster as verbs
from libresh.local import spec
from libresh.local.progress import Progress

name_option = click.option("--name", default=spec.DEFAULT_NAME, show_default=True, help="Which cluster.")


@click.group()
def local() -> None:
    """A real Kubernetes cluster on this machine."""


@local.command()
@name_option
@click.option("--nodes", type=int, help="How many nodes; a cluster can grow, not shrink.")
@click.option("--suffix", help="What host names served by the cluster end in (default: localhost).")
@click.option("--fast-unsafe-etcd", is_flag=True, default=None, help="For tests only: a power cut may lose the cluster.")
def up(name: str, nodes: int | None, suffix: str | None, fast_unsafe_etcd: bool | None) -> None:
    """Start a cluster, or make it if there is none."""
    made = verbs.up(verbs.Wish(name, nodes, suffix, fast_unsafe_etcd), Progress())
    click.echo(f"export KUBECONFIG={made.kubeconfig}")


@local.command()
@name_option
def down(name: str) -> None:
    """Stop a cluster; its data stays."""
    verbs.down(name, Progress())


@local.command()
@name_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(name: str, yes: bool) -> None:
    """Stop a cluster and remove its data for good."""
    found = verbs.find_cluster(name)
    if not yes:
        click.confirm(f"Remove the cluster {name!r} with everything in {found.folder}?", abort=True)
    verbs.purge(name, Progress())


def main() -> None:
    """Run the commands; errors for people go to stderr, without a trace."""
    try:
        local(prog_name="libresh local")
    except LibreshError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  way out: {error.hint}", err=True)
        sys.exit(1)
