"""`attnbench runs`."""

import click

from attnbench.commands import terminal
from attnbench.commands.completion import run_numbers
from attnbench.commands.note import note
from attnbench.commands.options import db_option
from attnbench.commands.table import parsed
from attnbench.commands.value_types import whole_type
from attnbench.db.store import Store
from attnbench.reporting.runs import run_text, runs_table
from attnbench.run_label import parse_label


class ListByDefault(click.Group):
    """A group that lists if no subcommand is named, even with options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("runs", cls=ListByDefault)
def command() -> None:
    """List, relabel and delete stored runs.

    \b
    attnbench runs                                  all, newest first
    attnbench runs relabel 12 main
    attnbench runs delete 10 11
    """


@command.command("list")
@db_option
def list_(db: str) -> None:
    """List all runs, newest first (the default)."""
    with Store.open(db, create=False, note=note) as store:
        click.echo(runs_table(store.runs(), terminal.width()))


@command.command()
@click.argument("run", type=whole_type(), shell_complete=run_numbers)
@click.argument("label", callback=parsed(lambda text: text and parse_label(text)))
@db_option
def relabel(run: int, label: str, db: str) -> None:
    """Give a run another label; '' removes it."""
    with Store.open(db, create=False, note=note) as store:
        store.relabel(run, label or None)
        click.echo(run_text(store.run(run)))


@command.command()
@click.argument(
    "runs",
    type=whole_type(),
    nargs=-1,
    required=True,
    metavar="RUN...",
    shell_complete=run_numbers,
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@db_option
def delete(runs: tuple[int, ...], yes: bool, db: str) -> None:
    """Delete runs with all their outcomes, for good."""
    with Store.open(db, create=False, note=note) as store:
        texts = {number: run_text(store.run(number)) for number in runs}
        if not yes:
            _confirm("delete " + "; ".join(texts.values()) + "?")
        for number, text in texts.items():
            store.delete(number)
            click.echo(f"deleted {text}")


def _confirm(question: str) -> None:
    """End the command unless the answer is yes; without a terminal there is none."""
    try:
        click.confirm(question, abort=True)
    except click.Abort:
        click.echo("nothing was deleted; --yes deletes without asking", err=True)
        raise click.exceptions.Exit(1) from None
