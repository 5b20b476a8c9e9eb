"""`attnbench report`."""

from shutil import get_terminal_size
from typing import TextIO

import click

from attnbench.commands.options import db_option, note
from attnbench.commands.variadic import VariadicCommand
from attnbench.db.store import Store
from attnbench.reporting.pivot import METRICS
from attnbench.reporting.report import Format, report


@click.command("report", cls=VariadicCommand)
@click.option(
    "--run",
    "refs",
    multiple=True,
    metavar="REF...",
    help="Runs by number, label, branch, commit or gpu:NAME.  [default: latest]",
)
@click.option(
    "--pivot",
    type=click.Choice(["backend"]),
    help="A column for each backend instead of a row; shows one metric.",
)
@click.option(
    "--metric",
    type=click.Choice(list(METRICS)),
    help="What --pivot shows.  [default: latency]",
)
@click.option(
    "--host", is_flag=True, help="Also show what a call, and planning it, costs the host."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "csv", "json"]),
    default="table",
    show_default=True,
    help="csv and json hold every round with all that is known of it.",
)
@click.option(
    "--output",
    type=click.File("w", encoding="utf-8", lazy=True),
    default="-",
    metavar="FILE",
    help="Write there.  [default: standard output]",
)
@db_option
def command(
    refs: tuple[str, ...],
    pivot: str | None,
    metric: str | None,
    host: bool,
    form: Format,
    output: TextIO,
    db: str,
) -> None:
    """Show stored results as tables, Markdown, CSV or JSON.

    \b
    attnbench report                                the latest run
    attnbench report --run main pr --pivot backend  two labels or branches
    attnbench report --run 12 --format csv --output run12.csv
    """
    width = get_terminal_size().columns
    with Store.open(db, create=False, note=note) as store:
        text = report(
            store, refs, form, pivot=pivot is not None, metric=metric, host=host, width=width
        )
    click.echo(text, file=output)
