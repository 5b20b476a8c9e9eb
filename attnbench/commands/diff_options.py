"""How a diff judges and is shown: the same for `diff` and `ab`."""

from collections.abc import Mapping
from shutil import get_terminal_size
from typing import Any

import click

from attnbench.commands.options import all_of, parsed
from attnbench.reporting.diff_json import diff_json
from attnbench.reporting.diff_markdown import diff_markdown
from attnbench.reporting.diff_text import diff_text
from attnbench.results.diff import FAILING, Diff, parse_margin

diff_options = all_of(
    [
        click.option(
            "--margin",
            default="1%",
            show_default=True,
            callback=parsed(parse_margin),
            metavar="PERCENT",
            help="The change of a time that does not matter.",
        ),
        click.option(
            "--fail-on",
            type=click.Choice(list(FAILING)),
            default="slower",
            show_default=True,
            help="What ends in exit status 1; a case that newly fails counts as slower.",
        ),
        click.option(
            "--format",
            "form",
            type=click.Choice(["table", "markdown", "json"]),
            default="table",
            show_default=True,
            help="markdown is a comment on a pull request.",
        ),
    ]
)


def show_and_exit(found: Diff, given: Mapping[str, Any]) -> None:
    """Print a diff as asked, and end with its exit status."""
    click.echo(_shown(found, given["form"]))
    click.get_current_context().exit(found.exit_status(given["fail_on"]))


def _shown(found: Diff, form: str) -> str:
    if form == "json":
        return diff_json(found)
    if form == "markdown":
        return diff_markdown(found)
    return diff_text(found, get_terminal_size().columns)
