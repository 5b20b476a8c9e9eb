"""Plots as data for Plotly; the page adds the colours of its theme.

A trace's `meta.slot` is the number of its colour, symbol and dash; without one it is drawn as a
limit. All texts are escaped, since Plotly interprets markup.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from attnbench.analysis.fields import Fields, batch_text
from attnbench.analysis.series import Series
from attnbench.reporting.html.sweeps import (
    Sweep,
    asked_of_work,
    dims_text,
    implementation,
    size_text,
)
from attnbench.units import percent, seconds_column, unit_size

Json = dict[str, Any]
Slots = Mapping[str, int]
_MOST_TICKS = 12  # with more, Plotly numbers a log axis
_DECADE = 10.0
_ROW = 26  # pixels of a line of text in a plot


@dataclass(frozen=True, slots=True)
class PlotChoice:
    """One view of a plot with several."""

    label: str
    figure: Json
    group: str = ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with one or more views."""

    key: str  # unique in the page
    title: str
    caption: str
    choices: Sequence[PlotChoice]  # one or more

    @property
    def groups(self) -> dict[str, list[tuple[int, str]]]:
        """The number and label of each choice, by group."""
        found: dict[str, list[tuple[int, str]]] = {}
        for at, choice in enumerate(self.choices):
            found.setdefault(choice.group, []).append((at, choice.label))
        return found


def as_text(text: object) -> str:
    """The text escaped for Plotly."""
    return escape(str(text), quote=False)


def rounded(value: float) -> float:
    """The value rounded to four digits, enough for a plot."""
    return float(f"{value:.4g}")


def in_unit(values: Sequence[float]) -> tuple[str, float]:
    """The unit of time for these seconds, and its size."""
    unit, _ = seconds_column(values)
    return unit, unit_size(unit)


def log_axis(title: str, values: Sequence[float], *, named: bool = False) -> Json:
    """A logarithmic axis for these values above 0; `named` has a tick for each, if few."""
    axis: Json = {"type": "log", "title": {"text": as_text(title)}, "tickformat": "~r"}
    ticks = sorted(set(values))
    if named and len(ticks) <= _MOST_TICKS:
        return axis | {"tickvals": ticks, "ticktext": [_tick(value) for value in ticks]}
    # Within a decade Plotly's own choice is good; beyond, it puts up to nine ticks in each.
    span = ticks[-1] / ticks[0]
    if span < _DECADE:
        return axis
    return axis | {"dtick": "D2" if span < _DECADE**4 else 1}


def _tick(value: float) -> str:
    return size_text(int(value)) if float(value).is_integer() else f"{value:g}"


def trace(
    name: str,
    slot: int,
    listed: Sequence[Series],
    xs: Sequence[float | str],
    ys: Sequence[float | str],
    *,
    lines: bool = False,
    hover: str,
    notes: Sequence[str] = (),
) -> Json:
    """A point per series; `hover` is Plotly's template for the text next to its name.

    `notes` are shown below it; by default a series' batch and spread.
    """
    texts = notes or [note_on(series) for series in listed]
    return {
        "type": "scatter",
        "mode": "lines+markers" if lines else "markers",
        "name": as_text(name),
        "meta": {"slot": slot},
        "x": list(xs),
        "y": list(ys),
        "customdata": list(map(as_text, texts)),
        "hovertemplate": f"{hover}<br>%{{customdata}}",
    }


def note_on(series: Series) -> str:
    """The batch and the spread of a series."""
    spread = f", +-{percent(series.spread)}" if series.spread is not None else ""
    return f"{batch_text(series.case)}{spread}"


def times_in(listed: Sequence[Series], size: float) -> list[float]:
    """The times in a unit of `size` seconds."""
    return [rounded((series.time or 0.0) / size) for series in listed]


def line(
    name: str, slot: int, points: Sequence[tuple[float, Series]], axis: str, unit: str, size: float
) -> Json:
    """Times of series over their values on an axis, with the spread of their rounds."""
    places, listed = [place for place, _ in points], [series for _, series in points]
    times = times_in(listed, size)
    spreads = [time * (series.spread or 0.0) for time, series in zip(times, listed, strict=True)]
    hover = f"{as_text(axis)} %{{x}}: %{{y}} {unit}"
    drawn = trace(name, slot, listed, places, times, lines=True, hover=hover)
    return drawn | {"error_y": {"type": "data", "array": list(map(rounded, spreads))}}


def sweep_figure(sweep: Sweep, fields: Fields, slots: Slots) -> Json:
    """Time over one quantity, with a line per implementation."""
    times = [series.time or 0.0 for _, series in sweep.points]
    unit, size = in_unit(times)
    return {
        "data": [
            line(name, slots.get(name, at), points, sweep.axis, unit, size)
            for at, (name, points) in enumerate(sweep.lines(fields).items())
        ],
        "layout": {
            "xaxis": _axis_along(sweep.axis, [place for place, _ in sweep.points]),
            "yaxis": time_axis("latency", times),
        },
    }


def time_axis(name: str, times: Sequence[float]) -> Json:
    """A logarithmic axis in the unit of these seconds."""
    unit, size = in_unit(times)
    return log_axis(f"{name}, {unit}", [time / size for time in times])


def _axis_along(name: str, places: Sequence[float]) -> Json:
    """Logarithmic, unless a value is zero."""
    if min(places) > 0:
        return log_axis(name, places, named=True)
    return {"title": {"text": as_text(name)}}


def batches_figure(listed: Sequence[Series], fields: Fields, slots: Slots) -> Json:
    """Time of each workload: a row per workload, a point per implementation."""
    times = [series.time or 0.0 for series in listed]
    unit, size = in_unit(times)
    by_name: dict[str, list[Series]] = {}
    for series in listed:
        by_name.setdefault(implementation(series.case, fields), []).append(series)
    names = {id(series): row_text(series, fields) for series in listed}
    traces = [
        trace(
            name,
            slots[name],
            group,
            times_in(group, size),
            [as_text(names[id(series)]) for series in group],
            hover=f"%{{x}} {unit}",
        )
        for name, group in by_name.items()
    ]
    rows = list(dict.fromkeys(names.values()))
    return {"data": traces, "layout": rows_layout(rows, time_axis("latency", times))}


def rows_layout(rows: Sequence[str], across: Json) -> Json:
    """The layout with a row per text, the first at the top."""
    texts = [as_text(row) for row in rows]
    return {
        "xaxis": across,
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": texts[::-1],
            "tickmode": "linear",
            "range": [-0.6, len(rows) - 0.4],
        },
        "height": 150 + _ROW * len(rows),
    }


def row_text(series: Series, fields: Fields) -> str:
    """A short name of a series' workload."""
    others = dims_text(asked_of_work(series.case, fields))
    return ", ".join(filter(None, [batch_text(series.case), others]))
