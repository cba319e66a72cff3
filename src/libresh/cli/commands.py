"""`libresh exec`: an application's own administrative commands, as its package declares them.

Passwords are asked for on the terminal, or made here and shown once; they travel on standard input, never as arguments.
"""

import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from libresh.api.meta import Resource
from libresh.catalog.model import Argument, Command
from libresh.cli import access, kubectl, naming, output
from libresh.cli.access import Target
from libresh.cli.manifests import discovery
from libresh.errors import LibreshError
from libresh.kube.client import Client
from libresh.plan import naming as labels
from libresh.plan import observed
from libresh.plan.actions import Object

PASSED = {"ignore_unknown_options": True, "allow_interspersed_args": False}
SECRET_BYTES = 18


@dataclass(frozen=True)
class Answers:
    """What a command was given: text for arguments, "true" or "" for flags, and which secrets were made here."""

    values: Mapping[str, str]
    made: Mapping[str, str]


@click.command("exec", context_settings=PASSED)
@click.option(
    "-n", "--namespace", metavar="NS", default="", help="Where the application is, if its name is not unique."
)
@output.output_option
@access.cluster_options
@click.argument("app", metavar="KIND/NAME")
@click.argument("arguments", metavar="[COMMAND [ARGS]...]", nargs=-1, type=click.UNPROCESSED)
def execute(target: Target, form: str, namespace: str, app: str, arguments: tuple[str, ...]) -> None:
    """Run an application's administrative command; without one, list them.

    \b
    libresh exec matrix/chat
    libresh exec matrix/chat register-user --admin alice
    """
    type, name = naming.parse(app, discovery.app_types())
    known = {command.name: command for command in discovery.commands(type)}
    if not arguments:
        list_commands(app, known, form)
        return
    command = known.get(arguments[0])
    if command is None:
        listed = ", ".join(known) or "it has none"
        raise LibreshError("command-unknown", f"{app} has no command {arguments[0]!r}", f"one of: {listed}")
    answers = ask(command, arguments[1:], prog=f"libresh exec {app} {command.name}")
    if answers is None:
        return

    async def work(client: Client) -> Object:
        return await find_pod(client, type, name, namespace, command.component)

    pod = access.run(work, target)
    click.get_current_context().exit(perform(target, pod, command, answers, form))


def list_commands(app: str, known: Mapping[str, Command], form: str) -> None:
    """What an application can be told."""
    if form == output.JSON:
        output.show_json([describe(command) for command in known.values()])
    elif not known:
        click.echo(f"{app} has no commands of its own.")
    else:
        rows = [(usage(command), command.help) for command in known.values()]
        click.echo("\n".join(output.build_table(("COMMAND", "WHAT IT DOES"), rows)))


def describe(command: Command) -> dict[str, Any]:
    arguments = [{"name": a.name, "help": a.help, "flag": a.flag, "secret": a.secret} for a in command.arguments]
    return {"name": command.name, "help": command.help, "arguments": arguments}


def usage(command: Command) -> str:
    """A command and its arguments, as people type them."""
    words = [command.name]
    words += [f"[--{argument.name}]" for argument in command.arguments if argument.flag]
    for argument in command.arguments:
        if not argument.flag and not argument.secret:
            words.append(argument.name.upper() if argument.required else f"[{argument.name.upper()}]")
    return " ".join(words)


def ask(command: Command, given: tuple[str, ...], *, prog: str) -> Answers | None:
    """Parse what was typed and ask for what must not be; None where only help was asked for."""
    parser = build_parser(command)
    try:
        with parser.make_context(prog, list(given)) as context:
            typed = dict(context.params)
    except click.exceptions.Exit:
        return None
    values, made = {}, {}
    read_stdin = bool(typed.pop("secret_stdin", False))
    for argument in command.arguments:
        value = typed.get(python_name(argument.name))
        if argument.secret:
            value = read_secret(argument, read_stdin)
            if not value:
                value = made[argument.name] = secrets.token_urlsafe(SECRET_BYTES)
        elif argument.flag:
            value = "true" if value else ""
        values[argument.name] = value or ""
    return Answers(values, made)


def python_name(name: str) -> str:
    return name.replace("-", "_").lower()


def build_parser(command: Command) -> click.Command:
    """The command as click parses it: flags are options, everything else has its place."""
    params: list[click.Parameter] = []
    for argument in command.arguments:
        if argument.flag:
            params.append(click.Option([f"--{argument.name}"], is_flag=True, help=argument.help))
        elif not argument.secret:
            params.append(click.Argument([python_name(argument.name)], required=argument.required))
    if hidden := [argument for argument in command.arguments if argument.secret]:
        text = f"Read {hidden[0].name} from standard input, one line. Else it is asked for; empty makes one."
        params.append(click.Option(["--secret-stdin"], is_flag=True, help=text))
    asked = [f"{a.name.upper()}: {a.help}" for a in command.arguments if not a.flag]
    epilog = "\b\n" + "\n".join(asked) if asked else None
    return click.Command(command.name, params=params, help=command.help, epilog=epilog)


def read_secret(argument: Argument, from_stdin: bool) -> str:
    """A secret from standard input or the terminal; "" where one shall be made."""
    if from_stdin:
        if not (line := sys.stdin.readline().rstrip("\r\n")):
            raise LibreshError("secret-empty", f"Standard input holds no {argument.name}", "give it as the first line")
        return line
    if not sys.stdin.isatty():
        return ""
    title = argument.help or argument.name
    return str(click.prompt(f"{title} (empty: make one)", default="", hide_input=True, show_default=False, err=True))


async def find_pod(client: Client, type: type[Resource], name: str, namespace: str, component: str) -> Object:
    """A ready pod of the component that runs the command."""
    app = await naming.find(client, type, name, namespace)
    where = app["metadata"]["namespace"]
    wanted = {labels.OWNER_LABEL: labels.owner_value(type.KIND.kind, name), labels.COMPONENT_LABEL: component}
    pods = await client.list("Pod", where, labels=wanted)
    ready = [pod for pod in pods if is_ready(pod)]
    if not ready:
        state = "has no pod" if not pods else "is not ready"
        handle = f"{type.KIND.kind.lower()}/{name}"
        raise LibreshError(
            "component-not-ready",
            f"{component} of {handle} in {where} {state}",
            f"libresh logs {handle} {component} -n {where}",
        )
    return ready[0]


def is_ready(pod: Object) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and observed.says_ready(pod)


def perform(target: Target, pod: Object, command: Command, answers: Answers, form: str) -> int:
    """Run the command in its pod; the code it ended with."""
    metadata = pod["metadata"]
    stdin = command.stdin(answers.values) if command.stdin else ""
    where = ("-n", metadata["namespace"], "exec", "-i", metadata["name"], "-c", container_for(pod, command.component))
    run = kubectl.build_command(target, (*where, "--", *command.argv(answers.values)))
    as_json = form == output.JSON
    done = subprocess.run(run, input=stdin.encode(), capture_output=as_json, check=False)
    if as_json:
        said = {"stdout": done.stdout.decode(errors="replace"), "stderr": done.stderr.decode(errors="replace")}
        output.show_json({"exitCode": done.returncode, **said, "made": dict(answers.made)})
    elif done.returncode == 0:
        for name, value in answers.made.items():
            click.echo(f"{name}: {value}   (made just now and shown only once)")
    return done.returncode


def container_for(pod: Object, component: str) -> str:
    """The container of the component, else the pod's first."""
    names = [container["name"] for container in pod["spec"]["containers"]]
    return component if component in names else names[0]
