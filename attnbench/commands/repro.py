"""`attnbench repro`."""

import click

from attnbench.commands.completion import run_numbers
from attnbench.commands.note import note
from attnbench.commands.options import db_option
from attnbench.db.store import Store
from attnbench.reporting.repro import subject_text
from attnbench.results.repro import repro
from attnbench.running.this_machine import look_here


@click.command("repro")
@click.argument("id_", metavar="ID", shell_complete=run_numbers)
@db_option
def command(id_: str, db: str) -> None:
    """Show the command that measured a stored result, and what differs here.

    ID is a run's number, or 8 or more digits of a measurement's UUID (report --format csv) or of a
    case's key (report --ids). Only the command goes to standard output, all else to stderr.

    \b
    attnbench repro 12                              the whole run
    attnbench repro 3f2a90c1                        one case of it
    sh -c "$(attnbench repro 3f2a90c1)"             measure it again
    """
    with Store.open(db, create=False, note=note) as store:
        found = repro(store, id_, look_here)
    note(subject_text(found))
    for text in found.differences:
        note(f"differs here: {text}")
    if not found.differences:
        note("source, software and machine are the same")
    click.echo(found.command)
