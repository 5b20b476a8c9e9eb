"""A plot of the changes of times, with the intervals of the verdicts."""

import math
from collections.abc import Callable, Sequence
from statistics import median

from attnbench.reporting.html.figures import (
    Json,
    Plot,
    PlotChoice,
    as_text,
    in_unit,
    rounded,
    rows_layout,
    time_axis,
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
    caption = "Bars are 95 % intervals of the change. Above 0 % the head is slower."
    return Plot(key, "Changes", caption, [PlotChoice("", figure(compared, describe))])


def _by_row(rows: Sequence[Row], describe: Callable[[Case], str]) -> Json:
    """A row per case, in the order of the table."""
    names = [describe(row.pair.base.case) for row in rows]
    named = dict(zip(map(id, rows), names, strict=True))
    traces = [
        {
            **_trace(verdict, group, describe),
            "x": [_change(row) for row in group],
            "y": [as_text(named[id(row)]) for row in group],
            "error_x": _bars(group),
            "hovertemplate": "%{x:+.2f} %<br>%{customdata}",
        }
        for verdict, group in _by_verdict(rows)
    ]
    return {"data": traces, "layout": rows_layout(names, _change_axis(rows))}


def _by_time(rows: Sequence[Row], describe: Callable[[Case], str]) -> Json:
    """The change over the time of the base."""
    times = [row.pair.base.time or 0.0 for row in rows]
    unit, size = in_unit(times)
    traces = [
        {
            **_trace(verdict, group, describe),
            "x": [rounded((row.pair.base.time or 0.0) / size) for row in group],
            "y": [_change(row) for row in group],
            "error_y": _bars(group),
            "hovertemplate": f"%{{y:+.2f}} %, base %{{x}} {unit}<br>%{{customdata}}",
        }
        for verdict, group in _by_verdict(rows)
    ]
    layout = {"xaxis": time_axis("base", times), "yaxis": _change_axis(rows)}
    return {"data": traces, "layout": layout}


def _by_verdict(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    groups = [(verdict, [row for row in rows if row.verdict == verdict]) for verdict in VERDICTS]
    return [(verdict, group) for verdict, group in groups if group]


def _trace(verdict: str, rows: Sequence[Row], describe: Callable[[Case], str]) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": verdict,
        "meta": {"kind": verdict},
        "customdata": [as_text(describe(row.pair.base.case)) for row in rows],
    }


def _change_axis(rows: Sequence[Row]) -> Json:
    """As wide as the intervals, unless some would dwarf all changes."""
    changes, bars = [0.0, *map(_change, rows)], _bars(rows)
    lengths = [x for x in (*bars["array"], *bars["arrayminus"]) if x is not None]
    room = min(max(lengths), _MOST_ROOM * median(lengths)) if lengths else 1.0
    ends = [rounded(max(_LEAST_CHANGE, min(changes) - room)), rounded(max(changes) + room)]
    return {"title": {"text": "change, %"}, "zeroline": True, "range": ends}


def _change(row: Row) -> float:
    return rounded(_percent(row.comparison.ratio if row.comparison else 1.0))


def _bars(rows: Sequence[Row]) -> Json:
    """The distances to both ends of the intervals; None if unknown."""
    found = [row.comparison for row in rows]
    high = [(c.high if c and c.high else math.nan, c.ratio if c else 1.0) for c in found]
    low = [(c.low if c and c.low else math.nan, c.ratio if c else 1.0) for c in found]
    return {
        "type": "data",
        "symmetric": False,
        "array": [_known(_percent(end) - _percent(ratio)) for end, ratio in high],
        "arrayminus": [_known(_percent(ratio) - _percent(end)) for end, ratio in low],
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else rounded(value)


def _percent(ratio: float) -> float:
    return 100 * (ratio - 1)
