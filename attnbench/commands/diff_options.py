"""Options for judging and showing a diff, shared by `diff` and `ab`."""

import re
from dataclasses import dataclass
from typing import NoReturn

import click

from attnbench.commands import terminal
from attnbench.errors import UsageError
from attnbench.options.kinds import Parsed, one_of
from attnbench.options.option import one
from attnbench.reporting.diff_json import diff_json
from attnbench.reporting.diff_markdown import diff_markdown
from attnbench.reporting.diff_text import diff_text
from attnbench.results.diff import FAILING, Diff
from attnbench.results.margin import parse_margin


def _address(text: str) -> str:
    if re.fullmatch(r"https?://[^\s<>()]+", text):
        return text
    raise UsageError(
        f"'{text}' is not an address; expected http:// or https:// without spaces or brackets, "
        "e.g. https://ci.example.org/42/diff.html"
    )


@dataclass(frozen=True, kw_only=True)
class DiffOptions:
    """The options that `diff` and `ab` share."""

    margin: float | None = one(
        Parsed(parse_margin),
        "--margin",
        metavar="PERCENT",
        help="Changes of a time up to this do not matter: 1% by default, 5% of separate runs on a "
        "CPU.",
    )
    fail_on: str = one(
        one_of(*FAILING),
        "--fail-on",
        default="slower",
        help="Verdicts that end with exit status 1; a newly failing case counts as slower, "
        "slower-time also counts what is slower by the SM clock alone.",
    )
    form: str = one(
        one_of("table", "markdown", "json"),
        "--format",
        default="table",
        help="markdown suits a pull request comment.",
    )
    page: str | None = one(
        Parsed(_address),
        "--page",
        metavar="URL",
        help="Where the page of --html will be, for a link in --format markdown.",
    )

    def __post_init__(self) -> None:
        if self.page and self.form != "markdown":
            raise UsageError(
                f"--page is a link in a comment, and --format {self.form} has none; "
                "add --format markdown"
            )


def show_and_exit(found: Diff, options: DiffOptions) -> NoReturn:
    """Print a diff in the format asked for, and end with its exit status."""
    click.echo(_shown(found, options))
    raise click.exceptions.Exit(found.exit_status(options.fail_on))


def _shown(found: Diff, options: DiffOptions) -> str:
    if options.form == "json":
        return diff_json(found)
    if options.form == "markdown":
        return diff_markdown(found, options.page)
    return diff_text(found, terminal.width(), terminal.style())
