"""`attnbench site`."""

from pathlib import Path

import click

from attnbench.commands.options import db_option
from attnbench.commands.table import note, parsed
from attnbench.commands.value_types import may_be_made
from attnbench.db.store import Store
from attnbench.results.diff import parse_margin
from attnbench.site.build import build_site


@click.command("site")
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False), callback=parsed(may_be_made)
)
@click.option(
    "--margin",
    default="1%",
    show_default=True,
    callback=parsed(parse_margin),
    metavar="PERCENT",
    help="Changes of a time up to this do not matter.",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=".",
    help="Git tree with the order of commits.  [default: the working directory]",
)
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
        f"{folder}/index.html: {built.cases} cases, {built.computed} computed, "
        f"{built.written} files written"
    )
