"""`libresh up`, `down` and `purge`: all of it on this machine."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import click

from libresh.cli import bringup, output, steps
from libresh.cli.board import Board, Timings
from libresh.cli.bringup import Result, Wish
from libresh.cli.manifests import discovery
from libresh.cli.output import paint
from libresh.errors import LibreshError
from libresh.local import cluster, spec, state
from libresh.local.progress import Progress

INTERRUPTED = 130

name_option = click.option("--name", default=spec.DEFAULT_NAME, show_default=True, help="Which local cluster.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command()
@click.option("--nodes", type=click.IntRange(1, spec.MOST_NODES), help="How many nodes (default: 1, or what there is).")
@click.option("--suffix", metavar="NAME", help="What host names end in (default: localhost).")
@click.option("--listen", metavar="ADDRESS", help="Where names are served: 0.0.0.0 for all (default: loopback).")
@click.option("--image", "images", multiple=True, metavar="NAME", help="Build and load this image, too: garage.")
@click.option("--example", type=click.Path(path_type=Path), help="Apply this file instead of examples/matrix.yaml.")
@click.option("--no-example", is_flag=True, help="Apply nothing: an empty cluster with the operator.")
@click.option("--fast-unsafe-etcd", is_flag=True, default=None, help="For tests: a power cut may lose all.")
@name_option
@yes_option
@output.output_option
def up(
    form: str, example: Path | None, no_example: bool, yes: bool, fast_unsafe_etcd: bool | None, **asked: Any
) -> None:
    """From a bare machine to a Matrix that answers (root).

    Builds what is not built yet, starts a local cluster, installs the operator and applies an example. It may be
    interrupted at any time and goes on from there; a second run takes seconds.
    """
    chosen = None if no_example else example or bringup.find_example()
    if chosen and not chosen.is_file():
        raise LibreshError("no-example", f"--example: there is no file {chosen}", "name one that exists")
    wish = Wish(unsafe_etcd=fast_unsafe_etcd, example=chosen, **asked)
    planned, result = bringup.plan(wish)
    titles = {step.name: step.title for step in planned}
    board = Board(titles, Timings(bringup.timings_path(), bringup.USUAL))
    interrupted = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: stop_now(board))
    try:
        with board:
            steps.run(planned, board)
    finally:
        signal.signal(signal.SIGINT, interrupted)
    output.show(form, describe(result), "\n".join(closing_words(result)))


def stop_now(board: Board) -> None:
    """Leave at once: threads cannot be interrupted, and what they were at is repeatable."""
    board.output.write("\ninterrupted; libresh up goes on from here\n")
    board.output.flush()
    os._exit(INTERRUPTED)


def describe(result: Result) -> dict[str, Any]:
    """What was brought up, for programs."""
    made = result.cluster
    apps = [{"kind": a["kind"], **names_of(a), "url": url_of(a)} for a in result.apps]
    images = {name: image.ref for name, image in result.built.items()}
    return {
        "name": made.name,
        "kubeconfig": str(made.kubeconfig),
        "suffix": made.suffix,
        "apps": apps,
        "images": images,
    }


def names_of(obj: dict[str, Any]) -> dict[str, str]:
    return {"namespace": obj["metadata"].get("namespace", ""), "name": obj["metadata"]["name"]}


def url_of(app: dict[str, Any]) -> str:
    return f"https://{app['spec']['host']}"


def closing_words(result: Result) -> list[str]:
    """Where it is, the first account, the browser's trust, and what to try next."""
    made, program = result.cluster, program_name()
    own = made.name == spec.DEFAULT_NAME
    where = "" if own else f" --kubeconfig {made.kubeconfig}"
    name = "" if own else f" --name {made.name}"
    lines = [""]
    for app in result.apps:
        handle = f"{app['kind'].lower()}/{app['metadata']['name']}"
        lines.append(paint(f"{handle} is ready:  {url_of(app)}", "green", bold=True))
        lines += [f"  the first account       {program} exec{where} {handle} {words}" for words in first_account(app)]
        lines.append(f"  what it says            {program} logs{where} {handle} -f")
    lines += [
        *tell_names(result),
        f"  trust its certificates  {made.folder / 'ca' / 'root.crt'}",
        "                          Firefox: Settings, Certificates, Authorities, Import",
        "                          Chromium: Settings, Security, Manage certificates, Authorities; curl: --cacert",
        f"  how it all stands       {program} status{where}",
        f"  look inside             {program} kubectl{where} get pods -A",
        f"  kubectl of your own     export KUBECONFIG={made.kubeconfig}",
        f"  stop it, data stays     {program} down{name}",
        f"  remove it, data too     {program} purge{name}",
    ]
    return lines


def program_name() -> str:
    """How this person can call us: by name, or by the path of the checkout."""
    if shutil.which("libresh"):
        return "libresh"
    path = Path(__file__).resolve().parents[3] / "bin" / "libresh"
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def first_account(app: dict[str, Any]) -> list[str]:
    """The command that makes an administrator, where the package declares one."""
    type = next(type for type in discovery.app_types() if type.KIND.kind == app["kind"])
    makers = [command for command in discovery.commands(type) if any(a.name == "admin" for a in command.arguments)]
    return [f"{command.name} --admin alice" for command in makers[:1]]


def tell_names(result: Result) -> list[str]:
    """How host names get to the edge, where browsers do not know by themselves."""
    made = result.cluster
    if made.suffix == spec.DEFAULT_SUFFIX and str(made.edge_address) == "127.0.0.1":
        return []
    hosts = " ".join(app["spec"]["host"] for app in result.apps) or f"NAME.{made.suffix}"
    return [f"  names                   {made.edge_address} {hosts}   (into /etc/hosts, or a DNS server)"]


@click.command()
@name_option
@output.output_option
def down(form: str, name: str) -> None:
    """Stop all of it on this machine; the data stays."""
    if state.load(spec.check_name(name)) is None:
        output.show(form, {"name": name, "running": False}, f"There is no cluster {name!r}: nothing to stop.")
        return
    cluster.down(name, Progress())
    output.show(form, {"name": name, "running": False}, "Stopped. The data stays; libresh up starts it again.")


@click.command()
@name_option
@yes_option
@output.output_option
def purge(form: str, name: str, yes: bool) -> None:
    """Stop all of it and remove its data for good."""
    found = state.load(spec.check_name(name))
    if found is None:
        output.show(form, {"name": name, "removed": False}, f"There is no cluster {name!r}: nothing to remove.")
        return
    if not yes:
        said = f"Remove the cluster {name!r} and every app's data in {found.folder}? It cannot be undone."
        click.confirm(said, abort=True, err=True)
    cluster.purge(name, Progress())
    said = "Removed. What was built is kept; libresh up makes a new cluster from it."
    output.show(form, {"name": name, "removed": True}, said)
