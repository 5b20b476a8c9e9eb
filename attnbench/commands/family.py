"""The command of a family; what measures is imported when it runs, not for its help."""

from functools import cache

import click

from attnbench.commands.table import table_command
from attnbench.families.family import Family
from attnbench.families.options import FamilyOptions
from attnbench.running.measuring import Measuring


@cache
def family_command(family: Family) -> click.Command:
    """The command that measures a family."""

    def run(options: FamilyOptions, measuring: Measuring) -> None:
        from attnbench.commands.measuring import run_family

        run_family(family, options, measuring)

    tables = (family.options, Measuring)
    return table_command(family.name, *tables, help=family.help, run=run)
