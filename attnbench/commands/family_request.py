"""What a family's command line asks for, read within another command."""

from collections.abc import Sequence

import click

from attnbench.commands.family import family_command
from attnbench.commands.measuring import note_own_problems
from attnbench.commands.table import named_options, read
from attnbench.families.family import Family
from attnbench.running.measuring import Measuring
from attnbench.running.request import MeasuringRequest


def read_request(family: Family, name: str, words: Sequence[str]) -> MeasuringRequest:
    """The request of a family's command line; messages use `name`."""
    parent = click.get_current_context()
    try:
        ctx = family_command(family).make_context(name, list(words), parent=parent)
    except click.UsageError as error:
        error.ctx = parent  # a user typed that command, and it has the help
        raise
    options, measuring = read(family.options, ctx.params), read(Measuring, ctx.params)
    note_own_problems(family)
    return MeasuringRequest(family, options, measuring, named_options(ctx, words))
