"""The margin of verdicts and steps, an option of several commands."""

from dataclasses import dataclass

from attnbench.commands.options import decorator
from attnbench.options.kinds import Parsed
from attnbench.options.option import one, table
from attnbench.results.margin import parse_margin


@dataclass(frozen=True, kw_only=True)
class MarginOption:
    """Changes of a time that matter, as a fraction."""

    margin: float = one(
        Parsed(parse_margin),
        "--margin",
        default="1%",
        metavar="PERCENT",
        help="Changes of a time up to this do not matter.",
    )


margin_option = decorator(table(MarginOption)["margin"], "margin")
