"""`attnbench db`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from tqdm import tqdm

from attnbench.commands.completion import files
from attnbench.commands.note import note
from attnbench.commands.options import db_option
from attnbench.commands.variadic import VariadicCommand
from attnbench.db import transfer
from attnbench.db.destination import filled
from attnbench.db.origin import check_origin
from attnbench.db.parquet import write_parquet
from attnbench.db.store import Store
from attnbench.passwords import without_password
from attnbench.reporting.runs import transfer_text
from attnbench.results.selection import run_numbers


@click.group("db")
def command() -> None:
    """Copy results between databases.

    \b
    attnbench db export h200.db --run main --no-samples
    attnbench db merge h200.db h100.db
    attnbench db export h200 --parquet
    """


@command.command(cls=VariadicCommand)
@click.argument("target", metavar="FILE|URL|FOLDER")
@click.option(
    "--run",
    "refs",
    multiple=True,
    metavar="REF...",
    help="Runs by number, label, branch, commit, gpu:NAME, or latest.  [default: all]",
)
@click.option("--no-samples", is_flag=True, help="Leave out the raw samples, most of the data.")
@click.option(
    "--parquet",
    is_flag=True,
    help="Write results.parquet, rounds.parquet and runs_flat.parquet into a folder instead.",
)
@db_option
def export(target: str, refs: tuple[str, ...], no_samples: bool, parquet: bool, db: str) -> None:
    """Copy runs to another database, created if missing.

    Repeated, it adds only what is missing. --parquet writes files for pandas and DuckDB, which have
    no raw samples.
    """
    with Store.open(db, create=False, note=note) as store:
        numbers = run_numbers(store, refs)
        if parquet:
            if not target or "://" in target:
                raise click.UsageError(
                    f"'{without_password(target)}' does not name a folder; expected one, e.g. "
                    "exported/"
                )
            written = write_parquet(store, numbers, Path(target)).items()
            click.echo(f"{target}: " + ", ".join(f"{name} {rows} rows" for name, rows in written))
            return
        with _bar() as progress:
            samples = not no_samples
            carried = transfer.export(store, numbers, target, samples=samples, progress=progress)
    click.echo(f"{without_password(target)}: {transfer_text(carried)}")


@command.command()
@click.argument("others", metavar="OTHER...", nargs=-1, required=True, shell_complete=files)
@db_option
def merge(others: tuple[str, ...], db: str) -> None:
    """Add all runs of other databases, without duplicates."""
    for other in others:  # before any is merged
        check_origin(other)
    with filled(db, note=note) as store:
        for other in others:
            with _bar() as progress:
                (carried,) = transfer.merge(store, [other], progress)
            click.echo(f"{without_password(other)}: {transfer_text(carried)}")


@contextmanager
def _bar() -> Iterator[transfer.Progress]:
    """A progress bar on a terminal."""
    with tqdm(disable=not sys.stderr.isatty(), leave=False, unit=" outcomes") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
