"""Options of small commands, and fields that tables share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from attnbench.commands.completion import COMPLETERS
from attnbench.commands.table import settings
from attnbench.options.kinds import FilePath
from attnbench.options.option import Option, one, shared, table
from attnbench.running.device_options import OnDevice
from attnbench.running.measuring import Stored

F = TypeVar("F", bound=Callable[..., Any])


def decorator(option: Option, field: str) -> Callable[[F], F]:
    """A decorator that adds an option of a table to a function's command."""
    complete = COMPLETERS.get(field)
    return click.option(field, *option.names, **settings(option), shell_complete=complete)


db_option = decorator(table(Stored)["db"], "db")
device_option = decorator(table(OnDevice)["device"], "device")
source_option = click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="Git tree with the order of commits.  [default: the working directory]",
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Options of `report` and `diff`: the database, and a page to write."""

    html: Path | None = one(
        FilePath(),
        "--html",
        metavar="FILE",
        help="Also write an HTML page: one file with plots and tables to sort and filter.",
    )
    db: str = shared(Stored, "db", "Options")
