"""A diff as a comment on a pull request: the essentials, and the rest folded."""

import re
from collections.abc import Sequence

from attnbench.reporting.diff_text import by_cohort, failures, header, summary, table
from attnbench.reporting.next_step import commands
from attnbench.reporting.text_table import items
from attnbench.results.diff import FAILING, FAILS, Diff, Row
from attnbench.results.selection import newest

# GitHub refuses a comment of more than 65536 characters.
_MOST = 60_000
_UNFOLDED = 20  # losers
_DETAILS = "<details>\n<summary>{}</summary>\n\n{}\n\n</details>"
_CODE = "```\n{}\n```"
_LEFT_OUT = "{} more cases are left out, since a comment holds no more."


def diff_markdown(diff: Diff) -> str:
    """A title with the verdicts, the losers, and folded the differences and all cases."""
    losers = [row for row in diff.rows if row.verdict in FAILING["slower"]]
    every = [row for row in diff.rows if row.verdict != FAILS]
    blocks = [
        f"### attnbench: {_title(diff)}",
        _tables(losers[:_UNFOLDED], diff),
        _listed(summary(diff)),
        *([_CODE.format("\n".join(commands(diff)))] if commands(diff) else []),
        _listed([*failures(diff.rows), *diff.leftovers]),
        _DETAILS.format("Runs, and what differs between them", _listed(header(diff))),
    ]
    text = "\n\n".join(filter(None, blocks))
    if len(every) > min(len(losers), _UNFOLDED):
        text += "\n\n" + _all_cases(every, diff, _MOST - len(text))
    return text


def _title(diff: Diff) -> str:
    counted = ", ".join(f"{count} {verdict}" for verdict, count in diff.counts.items())
    base, head = (newest(side).label or side.ref for side in (diff.base, diff.head))
    return _plain(f"{counted} ({base} to {head})")


def _tables(rows: Sequence[Row], diff: Diff) -> str:
    return "\n\n".join(_plain(table(each, diff, "markdown")) for each in by_cohort(rows))


def _listed(lines: Sequence[str]) -> str:
    return _plain(items(lines, "markdown"))


def _all_cases(rows: Sequence[Row], diff: Diff, room: int) -> str:
    """As many rows as fit into `room` characters, the most important first."""
    kept = list(rows)
    while True:
        text = _tables(kept, diff)
        if cut := len(rows) - len(kept):
            text += "\n\n" + _LEFT_OUT.format(cut)
        folded = _DETAILS.format(f"All {len(rows)} cases", text)
        if len(folded) <= room or not kept:
            return folded
        del kept[min(len(kept) - 1, int(0.95 * len(kept) * room / len(folded))) :]


def _plain(text: str) -> str:
    """The text without markup or mentions on GitHub: labels can hold anything."""
    return re.sub(r"(?<!\w)@(?=\w)", "&#64;", text.replace("<", "&lt;"))
