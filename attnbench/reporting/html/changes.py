"""A plot of the changes of times, with the intervals of the verdicts."""

from collections.abc import Callable, Sequence
from statistics import median

from attnbench.reporting.html.figures import (
    Json,
    Plot,
    PlotChoice,
    in_unit,
    numbers,
    rows_of,
)
from attnbench.results.diff import VERDICTS, Row
from attnbench.specs.case import Case

_LEAST_CHANGE = -105.0  # percent; nothing gets faster by more than 100
_MOST_ROOM = 4  # usual intervals of room beyond the changes, which are always shown
_MOST_ROWS = 60  # with more, cases do not have a row each


def changes_plot(rows: Sequence[Row], describe: Callable[[Case], str], key: str) -> Plot | None:
    """A point per case with a time on both sides; None if there are none."""
    compared = [row for row in rows if row.comparison]
    if not compared:
        return None
    figure = _by_row if len(compared) <= _MOST_ROWS else _by_time
    caption = "Bars are 95 % intervals of the change. Right of 0 % the head is slower."
    return Plot(key, "Changes", caption, [PlotChoice("", figure(compared, describe))])


def _by_row(rows: Sequence[Row], describe: Callable[[Case], str]) -> Json:
    """A row per case, in the order of the table."""
    places = {id(row): at for at, row in enumerate(rows)}
    series = [
        _series(verdict, group, describe)
        | {"x": list(map(_change, group)), "y": [places[id(row)] for row in group], "across": True}
        for verdict, group in _by_verdict(rows)
    ]
    names = [describe(row.pair.base.case) for row in rows]
    return {"series": series, "x": _change_axis(rows), "zero": "x"} | rows_of(names)


def _by_time(rows: Sequence[Row], describe: Callable[[Case], str]) -> Json:
    """The change over the time of the base."""
    unit, size = in_unit([row.pair.base.time or 0.0 for row in rows])
    series = [
        _series(verdict, group, describe)
        | {
            "x": numbers((row.pair.base.time or 0.0) / size for row in group),
            "y": list(map(_change, group)),
        }
        for verdict, group in _by_verdict(rows)
    ]
    across = {"label": f"base, {unit}", "log": True}
    return {"series": series, "x": across, "y": _change_axis(rows), "zero": "y"}


def _by_verdict(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    groups = [(verdict, [row for row in rows if row.verdict == verdict]) for verdict in VERDICTS]
    return [(verdict, group) for verdict, group in groups if group]


def _series(verdict: str, rows: Sequence[Row], describe: Callable[[Case], str]) -> Json:
    found = [row.comparison for row in rows]
    return {
        "name": verdict,
        "kind": verdict,
        "low": [_percent(c.low) if c and c.low is not None else None for c in found],
        "high": [_percent(c.high) if c and c.high is not None else None for c in found],
        "notes": [describe(row.pair.base.case) for row in rows],
    }


def _change_axis(rows: Sequence[Row]) -> Json:
    """As wide as the intervals, unless some would dwarf all changes."""
    found = [row.comparison for row in rows if row.comparison]
    ends = [(c.ratio, end) for c in found for end in (c.low, c.high) if end is not None]
    lengths = [abs(_percent(end) - _percent(ratio)) for ratio, end in ends]
    room = min(max(lengths), _MOST_ROOM * median(lengths)) if lengths else 1.0
    changes = [0.0, *map(_change, rows)]
    low, high = max(_LEAST_CHANGE, min(changes) - room), max(changes) + room
    return {"label": "change, %", "range": numbers([low, high])}


def _change(row: Row) -> float:
    return _percent(row.comparison.ratio if row.comparison else 1.0)


def _percent(ratio: float) -> float:
    return float(f"{100 * (ratio - 1):.4g}")
