"""What commands print: for people by default, JSON with `-o json`."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from libresh.errors import LibreshError

F = TypeVar("F", bound=Callable[..., Any])

HUMAN, JSON = "human", "json"


def output_option(command: F) -> F:
    """The `-o` every command has."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice([HUMAN, JSON]),
        default=HUMAN,
        show_default=True,
        help="How to print.",
    )(command)


def show(form: str, value: Any, text: str) -> None:
    """A result, as it was asked for."""
    if form == JSON:
        show_json(value)
    else:
        click.echo(text)


def show_json(value: Any) -> None:
    """A result for programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_json_line(value: Any) -> None:
    """One of many results for programs, on a line of its own."""
    click.echo(json.dumps(value, ensure_ascii=False))


def show_error(error: LibreshError) -> None:
    """What went wrong, where, and the way out, on stderr."""
    if wants_json(sys.argv):
        told = {"reference": error.reference, "message": error.message, "hint": error.hint}
        click.echo(json.dumps({"error": told}, ensure_ascii=False), err=True)
        return
    click.echo(f"{paint('error:', 'red')} {error.message}", err=True)
    if error.hint:
        click.echo(f"  {paint('way out:', 'cyan')} {error.hint}", err=True)
    click.echo(f"  (reference: {error.reference})", err=True)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the command line asked for JSON; errors may come before it is parsed."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(a in ("-ojson", "--output=json") or (a in ("-o", "--output") and b == JSON) for a, b in pairs)


def paint(text: str, colour: str, *, bold: bool = False) -> str:
    """Coloured text; click leaves the colour out where the output is no terminal."""
    return click.style(text, fg=colour, bold=bold)


def build_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with columns as wide as they need to be; the last one is not padded."""
    table = [list(header), *[list(row) for row in rows]]
    widths = [max(len(click.unstyle(row[column])) for row in table) for column in range(len(header))]
    lines = []
    for row in table:
        cells = [cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines
