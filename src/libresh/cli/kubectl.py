"""`libresh kubectl`: kubectl for the cluster that all our commands mean, without installing one."""

import os
import shutil
from pathlib import Path

import click

from libresh.cli import access
from libresh.cli.access import Target
from libresh.errors import LibreshError
from libresh.local import binaries

PASSED = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@click.command(context_settings=PASSED, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@access.cluster_options
def kubectl(target: Target, arguments: tuple[str, ...]) -> None:
    """kubectl, for the same cluster as the other commands. Options of libresh come before the first word."""
    command = build_command(target, arguments)
    os.execvpe(command[0], command, os.environ)


def build_command(target: Target, arguments: tuple[str, ...]) -> list[str]:
    """The kubectl to run, with the cluster chosen."""
    target.access()  # says what is missing better than kubectl would
    options = []
    if (path := target.path) and os.pathsep not in path:
        options += [f"--kubeconfig={path}"]
    if target.context:
        options += [f"--context={target.context}"]
    return [str(find_kubectl()), *options, *arguments]


def find_kubectl() -> Path:
    """The kubectl that was built for the local cluster, else the one in PATH."""
    for built in sorted((binaries.cache() / "bin").glob("kubernetes-*/kubectl"), key=changed, reverse=True):
        if os.access(built, os.X_OK):
            return built
    if found := shutil.which("kubectl"):
        return Path(found)
    raise LibreshError(
        "kubectl-missing",
        "There is no kubectl: none was built here and none is in PATH",
        "libresh up, or install kubectl",
    )


def changed(path: Path) -> float:
    return path.stat().st_mtime
