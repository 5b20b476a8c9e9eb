"""A diff as a comment on a pull request: the essentials, and the rest folded."""

from collections.abc import Sequence

from attnbench.reporting.columns import time_columns
from attnbench.reporting.diff_sentence import change_text, diff_sentence
from attnbench.reporting.diff_text import by_cohort, failures, header, summary, table
from attnbench.reporting.interval_bar import interval_bars
from attnbench.reporting.next_step import commands
from attnbench.reporting.plain_markdown import plain_markdown
from attnbench.reporting.text_table import Column, items, known, names, text_table
from attnbench.results.diff import FAILING, FAILS, Diff, Row
from attnbench.results.selection import newest
from attnbench.results.suspects import KERNEL_CHANGED, suspects
from attnbench.units import MISSING

# GitHub refuses a comment of more than 65536 characters.
_MOST = 60_000
_WORST = 5  # rows that are not folded
_DETAILS = "<details>\n<summary>{}</summary>\n\n{}\n\n</details>"
_CODE = "```\n{}\n```"
_LEFT_OUT = "{} more cases are left out, since a comment holds no more."


def diff_markdown(diff: Diff, page: str | None) -> str:
    """A sentence, the worst cases, changed kernels and a link to `page`; all else is folded."""
    losers = [row for row in diff.rows if row.verdict in FAILING["unclear"]]
    every = [row for row in diff.rows if row.verdict != FAILS]
    changed = [line for line in suspects(diff) if line.startswith(KERNEL_CHANGED)]
    judged = "\n\n".join(filter(None, [_listed(summary(diff)), _settling(diff)]))
    blocks = [
        f"### attnbench: {_title(diff)}",
        plain_markdown(diff_sentence(diff)),
        plain_markdown(_worst(losers[:_WORST], diff)) if losers else "",
        _listed([*changed[:_WORST], *failures(diff.rows), *diff.leftovers]),
        f"[The whole comparison]({page})" if page else "",
        _DETAILS.format("How it was judged", judged),
        _DETAILS.format("Runs, their differences and noise", _listed(header(diff))),
    ]
    text = "\n\n".join(filter(None, blocks))
    return f"{text}\n\n{_all_cases(every, diff, _MOST - len(text))}" if every else text


def _title(diff: Diff) -> str:
    counted = ", ".join(f"{count} {verdict}" for verdict, count in diff.counts.items())
    base, head = (newest(side).label or side.ref for side in (diff.base, diff.head))
    return plain_markdown(f"{counted} ({base} to {head})")


def _worst(rows: Sequence[Row], diff: Diff) -> str:
    """The worst cases, each with its interval as a bar."""
    bars = interval_bars([row.comparison for row in rows])
    columns = [
        names("verdict", [row.verdict for row in rows]),
        names("case", [diff.describe(row.pair.head.case) for row in rows]),
        *time_columns([row.pair for row in rows]),
        *known("change\n%", [change_text(row) for row in rows]),
    ]
    if any(bars):
        shown = [f"`{bar}`" if bar else MISSING for bar in bars]
        columns.append(Column("95 % interval", shown, left=True))
    return text_table(columns, "markdown")


def _settling(diff: Diff) -> str:
    lines = commands(diff)
    return _CODE.format("\n".join(lines)) if lines else ""


def _tables(rows: Sequence[Row], diff: Diff) -> str:
    return "\n\n".join(plain_markdown(table(each, diff, "markdown")) for each in by_cohort(rows))


def _listed(lines: Sequence[str]) -> str:
    return plain_markdown(items(lines, "markdown"))


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
