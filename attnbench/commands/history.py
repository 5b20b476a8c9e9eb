"""`attnbench history`."""

from pathlib import Path
from typing import Any

import click

from attnbench.commands import terminal
from attnbench.commands.margin import margin_option
from attnbench.commands.note import note
from attnbench.commands.options import db_option, source_option
from attnbench.commands.table import parsed
from attnbench.commands.variadic import VariadicCommand
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.reporting.history_text import history_text, runs_before_steps
from attnbench.results.history import all_steps, histories
from attnbench.results.where import parse_condition


@click.command("history", cls=VariadicCommand)
@click.option(
    "--case", default="", metavar="KEY", help="First digits of a case's key (report --ids)."
)
@click.option(
    "--where",
    multiple=True,
    metavar="CONDITION...",
    callback=parsed(lambda texts: [parse_condition(text) for text in texts]),
    help="Cases that meet all conditions: any field, one of = != < <= > >= ~, a value.",
)
@margin_option
@source_option
@db_option
def command(case: str, where: Any, margin: float, source: Path, db: str) -> None:
    """Show cases over commits, and where their times changed.

    A latency is the mean over a version's runs, +- half the range of all their rounds' medians. A
    step is a lasting change beyond the margin and the noise. The `git bisect run` line that finds
    its commit follows it.

    \b
    attnbench history --case 31e6e10f
    attnbench history --where backend=flash batch=8q1kv1k
    """
    if not case and not where:
        raise UsageError(
            "history needs cases: --case with a key, or --where with conditions, "
            "e.g. attnbench history --where backend=sdpa batch=8q1kv1k"
        )
    with Store.open(db, create=False, note=note) as store:
        found = histories(store, case.lower(), where, source)
        steps = all_steps(found, margin)
        plans = {run.number: store.plan(run.number) for run in runs_before_steps(found, steps)}
    named = None if db == "attnbench.db" else db if "://" in db else str(Path(db).absolute())
    click.echo(history_text(found, steps, plans, db=named, tree=source, width=terminal.width()))
