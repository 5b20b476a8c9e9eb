"""`attnbench site`."""

from pathlib import Path

import click

from attnbench.commands.margin import margin_option
from attnbench.commands.note import note
from attnbench.commands.options import db_option, source_option
from attnbench.commands.table import parsed
from attnbench.commands.value_types import may_be_made
from attnbench.db.store import Store
from attnbench.site.build import build_site
from attnbench.units import counted


@click.command("site")
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False), callback=parsed(may_be_made)
)
@margin_option
@source_option
@db_option
def command(folder: Path, margin: float, source: Path, db: str) -> None:
    """Write a static site over all runs: cases over commits and releases, regressions.

    It also has a feed of the regressions, and GPU against GPU. Open FOLDER/index.html, or publish
    the folder. Called again, it computes only the cases of new runs.

    \b
    attnbench site public
    attnbench site public --db nightly.db --margin 2%
    """
    with Store.open(db, create=False, note=note) as store:
        built = build_site(store, folder, margin, source)
    click.echo(
        f"{folder}/index.html: {counted(built.cases, 'case')}, {built.computed} "
        f"computed, {counted(built.written, 'file')} written"
    )
