"""`libresh images`: build the images by hand, as `python -m libresh.images` does."""

import click

from libresh.images import __main__ as builder


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.pass_context
def images(ctx: click.Context) -> int:
    """Build container images, list them, clear their cache."""
    code = builder.main(ctx.args)
    ctx.exit(code)
