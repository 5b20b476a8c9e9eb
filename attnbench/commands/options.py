"""Options of commands that have few, and fields that tables share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO, TypeVar

import click

from attnbench.commands.table import settings
from attnbench.options.kinds import OpenFile
from attnbench.options.option import Option, one, shared, table
from attnbench.running.measuring import OnDevice, Stored

F = TypeVar("F", bound=Callable[..., Any])


def decorator(option: Option, field: str) -> Callable[[F], F]:
    """What adds an option of a table to a function's command."""
    return click.option(field, *option.names, **settings(option))


db_option = decorator(table(Stored)["db"], "db")
device_option = decorator(table(OnDevice)["device"], "device")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Where results are, and a page that shows them: options of `report` and `diff`."""

    html: TextIO | None = one(
        OpenFile(atomic=True),
        "--html",
        metavar="FILE",
        help="Also write a page there: one file with tables to sort and filter, and plots.",
    )
    db: str = shared(Stored, "db", "Options")
