"""`libresh`: the commands, each loaded when it is called, and how errors reach people.

Exit codes: 0 done · 1 it failed, and the error says what, where and the way out · 2 the command line is wrong ·
3 the cluster or a service did not answer, trying again may help · 130 interrupted. `exec` and `kubectl` pass on the
code of what they ran.
"""

import importlib
import os
import sys
import traceback
from typing import NoReturn

import click

from libresh.cli import output
from libresh.errors import LibreshError, Unavailable

FAILED, UNAVAILABLE, INTERRUPTED = 1, 3, 130

COMMANDS = {
    "up": "libresh.cli.up:up",
    "down": "libresh.cli.up:down",
    "purge": "libresh.cli.up:purge",
    "status": "libresh.cli.status:status",
    "exec": "libresh.cli.commands:execute",
    "logs": "libresh.cli.logs:logs",
    "kubectl": "libresh.cli.kubectl:kubectl",
    "install": "libresh.cli.install:install",
    "uninstall": "libresh.cli.install:uninstall",
    "class": "libresh.cli.classes:classes",
    "claim": "libresh.cli.claims:claims",
    "conformance": "libresh.cli.conformance:conformance",
    "local": "libresh.local.cli:local",
    "images": "libresh.cli.images:images",
    "completion": "libresh.cli.completion:completion",
    "version": "libresh.cli.version:version",
}
"""Where each command is, in the order of the help."""


class Commands(click.Group):
    """A group whose commands are imported when they are needed: a call pays for its own command only."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show where in the code an error came from.")
def libresh(debug: bool) -> None:
    """Runs web applications on Kubernetes, and keeps them running.

    \b
    Begin on a bare machine:        libresh up
    Or in a cluster you have:       libresh install
    Then:                           libresh status
    """


def main() -> NoReturn:
    """Run a command; whatever goes wrong ends as a message and an exit code."""
    debug = "--debug" in sys.argv or bool(os.environ.get("LIBRESH_DEBUG"))
    try:
        code = libresh.main(prog_name="libresh", standalone_mode=False)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except Exception as error:
        if debug:
            traceback.print_exc()
        code = report(error)
    sys.exit(code if isinstance(code, int) else 0)


def report(error: Exception) -> int:
    """Tell a person of an error; the exit code to leave with."""
    if not isinstance(error, LibreshError):
        said = f"{type(error).__name__}: {error}"
        error = LibreshError("bug", f"this should not happen: {said}", "report it with what --debug shows")
    output.show_error(error)
    return UNAVAILABLE if isinstance(error, Unavailable) else FAILED
