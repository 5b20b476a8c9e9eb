"""`attnbench diff`."""

from shutil import get_terminal_size
from typing import Literal

import click

from attnbench.commands.options import db_option, note, parsed
from attnbench.commands.variadic import VariadicCommand
from attnbench.db.store import Store
from attnbench.reporting.diff import FAILING, diff, parse_margin
from attnbench.reporting.diff_json import diff_json
from attnbench.reporting.diff_text import diff_text


@click.command("diff", cls=VariadicCommand)
@click.option("--base", required=True, metavar="REF", help="What to compare with.")
@click.option(
    "--head",
    required=True,
    metavar="REF",
    help="What is new: runs by number, label, branch, commit or gpu:NAME, or latest.",
)
@click.option(
    "--margin",
    default="1%",
    show_default=True,
    callback=parsed(parse_margin),
    metavar="PERCENT",
    help="The change of a time that does not matter.",
)
@click.option(
    "--fail-on",
    type=click.Choice(list(FAILING)),
    default="slower",
    show_default=True,
    help="What ends in exit status 1; a case that newly fails counts as slower.",
)
@click.option("--pool", is_flag=True, help="Use all runs of a side, not each case's newest.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "markdown", "json"]),
    default="table",
    show_default=True,
)
@db_option
@click.pass_context
def command(
    ctx: click.Context,
    base: str,
    head: str,
    margin: float,
    fail_on: str,
    pool: bool,
    form: Literal["table", "markdown", "json"],
    db: str,
) -> None:
    """Compare two sets of runs: what got slower, what did not.

    Exit status: 0 nothing slower, 1 slower or newly failing, 2 usage, 3 could not compare.

    \b
    attnbench diff --base main --head pr
    attnbench diff --base commit:1a2b3c4 --head latest --margin 2% --format markdown
    """
    with Store.open(db, create=False, note=note) as store:
        found = diff(store, base, head, margin=margin, pool=pool)
    if form == "json":
        click.echo(diff_json(found))
    else:
        click.echo(diff_text(found, form, get_terminal_size().columns))
    ctx.exit(found.exit_status(fail_on))
