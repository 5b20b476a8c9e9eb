"""`attnbench report`."""

import sys
from shutil import get_terminal_size
from typing import Any, TextIO

import click

from attnbench.commands.options import db_option, html_option, note, parsed
from attnbench.commands.variadic import VariadicCommand
from attnbench.db.store import Store
from attnbench.reporting.html.report import report_page
from attnbench.reporting.pivot import METRICS
from attnbench.reporting.report import View, report_text
from attnbench.results.report import read_report
from attnbench.results.samples import read_quantiles
from attnbench.results.where import parse_condition


@click.command("report", cls=VariadicCommand)
@click.option(
    "--run",
    "refs",
    multiple=True,
    metavar="REF...",
    help="Runs by number, label, branch, commit or gpu:NAME.  [default: latest]",
)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION...",
    callback=parsed(lambda texts: [parse_condition(text) for text in texts]),
    help="Only what fulfils all: any field, one of = != < <= > >= ~, a value.",
)
@click.option(
    "--pivot",
    metavar="FIELD",
    help="A column for each value of a field (backend, batch, kv_len, layout, label, gpu, ...) "
    "instead of a row; shows one metric.",
)
@click.option(
    "--metric",
    type=click.Choice(list(METRICS)),
    help="What --pivot shows.  [default: latency]",
)
@click.option("--best", is_flag=True, help="The best backend of each workload, ties as ties.")
@click.option(
    "--host", is_flag=True, help="Also show what a call, and planning it, costs the host."
)
@click.option(
    "--ids", is_flag=True, help="Also show the key of each case, as repro and history take it."
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
@click.option("--no-pager", is_flag=True, help="Never page what is longer than the terminal.")
@html_option
@db_option
def command(
    refs: tuple[str, ...],
    where: Any,
    output: TextIO,
    no_pager: bool,
    html: TextIO | None,
    db: str,
    **view: Any,
) -> None:
    """Show stored results as tables, Markdown, CSV or JSON.

    \b
    attnbench report                                the latest run
    attnbench report --run main pr --pivot label    two labels or branches
    attnbench report --where family=mla backend=flashmla 'kv_len>=4096'
    attnbench report --run 12 --format csv --output run12.csv
    attnbench report --html run.html                a page with plots too
    """
    width, height = get_terminal_size()
    shown = View(**view, width=width)
    with Store.open(db, create=False, note=note) as store:
        found = read_report(store, refs, where)
        text = report_text(found, shown)
        if html:
            page = report_page(found, read_quantiles(store, found.measurements))
            html.write(page)  # which opens the file
    on_terminal = output.name == "-" and sys.stdout.isatty()
    if on_terminal and not no_pager and text.count("\n") >= height:
        click.echo_via_pager(text)
    else:
        click.echo(text, file=output)
