"""What clocks did to the rows of a diff: changes in cycles beside those of times."""

from collections.abc import Sequence

from attnbench.reporting.text_table import Column, known
from attnbench.results.diff import Row
from attnbench.units import MISSING, change_in_percent


def clock_columns(rows: Sequence[Row]) -> list[Column]:
    """The change in cycles, and the verdict by time beside the row's own; none if all are empty."""
    return [
        *known("cycles\n%", [_cycles(row) for row in rows], spare=True),
        *known("by\ntime", [_by_time(row) for row in rows], spare=True),
    ]


def _cycles(row: Row) -> str:
    """The change in cycles with its interval, where it gives the verdict."""
    found = row.kernel
    if found is None or found.low is None or found.high is None:
        return MISSING
    low, high = change_in_percent(found.low), change_in_percent(found.high)
    return f"{change_in_percent(found.ratio)} ({low} to {high})"


def _by_time(row: Row) -> str:
    """The verdict of the time, where cycles give the row's."""
    return row.comparison.verdict if row.kernel and row.comparison else MISSING


def on_clocks(rows: Sequence[Row]) -> list[str]:
    """What the columns mean, and how many rows are slower by the clock alone."""
    lines = []
    if any(row.kernel for row in rows):
        lines.append(
            "cycles: the change at one SM clock, where a compute-bound case was at the power limit "
            "or its clock moved; the verdict is by it"
        )
    if slower := sum(row.slower_by_clock for row in rows):
        cases = "1 case is" if slower == 1 else f"{slower} cases are"
        lines.append(f"{cases} slower by the clock alone; --fail-on slower-time fails on that")
    return lines
