"""Histories as text: a row and a dot per version, the steps, and how to bisect them."""

from collections.abc import Mapping, Sequence
from math import log
from pathlib import Path

from attnbench.analysis.fields import batch_text, method_text, requested
from attnbench.analysis.steps import Step
from attnbench.records import Run
from attnbench.reporting.tables import ID_DIGITS
from attnbench.reporting.text_table import GAP, Column, heading, items, text_table, words
from attnbench.results.bisection import bisection, distance, sides
from attnbench.results.differences import differences
from attnbench.results.history import History
from attnbench.units import MISSING, change_in_percent, percent_column, seconds_column

_PLOT = 24  # characters from the shortest to the longest time, if there is room


def history_text(
    listed: Sequence[History],
    steps: Sequence[Sequence[Step]],
    plans: Mapping[int, Mapping[str, object]],
    *,
    db: str | None,
    tree: Path | None,
    width: int,
) -> str:
    """One part per history; `plans` by run, of runs that a bisection may start from.

    `db` is the database for commands, None for the default; `tree` has the commits between steps.
    """
    texts = []
    for history, found in zip(listed, steps, strict=True):
        blocks = [_heading(history, width), _table(history, found, width)]
        blocks.append(items(history_notes(history, found), width=width))
        for step in found:
            lines = step_lines(history, step, tree)
            blocks.append(items(lines, width=width))
            blocks.append(bisection(history, step, plans, db, tree))
        texts.append("\n\n".join(filter(None, blocks)))
    return "\n\n\n".join(texts)


def _heading(history: History, width: int) -> str:
    first = history.series.first
    asked, own = requested(history.case), history.case.canonical()
    shown = {*own, "scope", "kv_cache_dtype", "quant"} - {"backend"}
    lines = [
        f"{history.case.family} {history.case.backend} {batch_text(history.case)} on "
        f"{first.machine_name}; {method_text(first.method)}",
        ", ".join(f"{name} {value}" for name, value in asked.items() if name in shown),
        f"case {first.case_key[:ID_DIGITS]}",
    ]
    return heading(lines, "table", width)


def _table(history: History, steps: Sequence[Step], width: int) -> str:
    axis_unit, (low, high) = seconds_column(_axis(history))
    ends, columns = f"{low} to {high} {axis_unit}", history_columns(history, steps)
    room = width - sum(len(GAP) + each.least for each in columns)
    size = min(_PLOT, max(len(ends), room))
    plot = Column(ends.rjust(size), _dots(history, size), left=True)
    at = len(columns) - bool(steps)
    return text_table([*columns[:at], plot, *columns[at:]], width=width)


def history_columns(history: History, steps: Sequence[Step]) -> list[Column]:
    """A row per version; the steps come last, if there are any."""
    versions = history.versions
    unit, times = seconds_column([each.time for each in versions])
    by_place = {step.at: f"{change_in_percent(step.ratio)} %" for step in steps}
    columns = [
        Column("version", history.names, left=True),
        Column("measured, UTC", [f"{v.runs[0].started:%Y-%m-%d %H:%M}" for v in versions]),
        words("label", [each.runs[-1].label or MISSING for each in versions]),
        Column("runs", [str(len(each.runs)) for each in versions], spare=True),
        Column(f"latency\n{unit}", times),
        Column("+-\n%", percent_column([each.spread for each in versions])[1]),
    ]
    if steps:
        places = range(len(versions))
        columns.append(Column("step", [by_place.get(at, "") for at in places], left=True))
    return columns


def _axis(history: History) -> tuple[float, float]:
    """The ends of the plot, at least 5 % apart, so noise looks like noise."""
    times = [each.time for each in history.versions]
    return min(times), max(*times, 1.05 * min(times))


def _dots(history: History, size: int) -> list[str]:
    """The place of each time between the ends, `size` characters apart, on a logarithmic scale."""
    low, high = map(log, _axis(history))
    places = [(log(each.time) - low) / (high - low) for each in history.versions]
    return [f"|{' ' * round(place * (size - 2))}*" for place in places]


def history_notes(history: History, steps: Sequence[Step]) -> list[str]:
    """What a reader of the table must know."""
    lines = []
    if any(each.runs[0].source["dirty"] for each in history.versions if each.commit):
        lines.append("*: with uncommitted changes")
    if not history.by_ancestry:
        lines.append(
            "in the order of measuring: not every run is of a commit in this directory's git tree"
        )
    if not steps and len(history.versions) > 1:
        lines.append("no step: no lasting change beyond the margin and the noise")
    if not history.noise.stored:
        lines.append(
            "no repeated runs of this machine are stored, so only large steps count; "
            "`attnbench selfcheck` measures its noise"
        )
    return lines


def step_lines(history: History, step: Step, tree: Path | None) -> list[str]:
    """A step in words: how much, where, and the differences between both sides."""
    before, after = sides(history, step)
    old, new = history.names[step.at - 1 : step.at + 1]
    verb = "slower" if step.ratio > 1 else "faster"
    low, high = change_in_percent(step.low), change_in_percent(step.high)
    subject = after.runs[0].source["subject"]
    named = f'{new} "{subject}"' if subject else new
    lines = [
        f"{verb} by {change_in_percent(step.ratio)} % (95 % interval {low} to {high}) at {named}; "
        f"before it {old}"
    ]
    if step.sessions == 1:
        lines.append("one session shows it so far: measure this version again before a bisection")
    lines += [f"differs: {text}" for text in differences(before.runs[-1], after.runs[0])]
    if distance(before, after, tree) == 1:
        lines.append("there is no commit between the two")
    return lines


def runs_before_steps(listed: Sequence[History], steps: Sequence[Sequence[Step]]) -> list[Run]:
    """The first run after each step; its plan says how to measure it again."""
    return [
        sides(history, step)[1].runs[0]
        for history, found in zip(listed, steps, strict=True)
        for step in found
    ]
