"""`libresh completion`: what a shell needs to complete our commands."""

import click
from click.shell_completion import get_completion_class

WAYS = {
    "bash": 'add to ~/.bashrc:  eval "$(libresh completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(libresh completion zsh)"',
    "fish": "run once:  libresh completion fish > ~/.config/fish/completions/libresh.fish",
}


@click.command(epilog="\b\n" + "\n".join(f"{shell}: {way}" for shell, way in WAYS.items()))
@click.argument("shell", type=click.Choice(sorted(WAYS)))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    made = get_completion_class(shell)
    assert made is not None
    root = click.get_current_context().find_root().command
    click.echo(made(root, {}, "libresh", "_LIBRESH_COMPLETE").source())
