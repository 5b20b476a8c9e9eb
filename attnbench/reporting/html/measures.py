"""The plots of a report's section as columns of numbers, from which the page draws each view.

scripts/section.js draws the ratio to the best, the latency and the part of the roofline over every
sweep, and the roofline, all from these columns.
"""

from collections.abc import Sequence
from typing import Any

from attnbench.analysis.fields import Fields
from attnbench.analysis.ranking import Standing
from attnbench.analysis.series import Series
from attnbench.reporting.html.crossings import Crossing, crossings
from attnbench.reporting.html.figures import (
    Json,
    crossover_mark,
    in_unit,
    named_ticks,
    numbers,
    times,
)
from attnbench.reporting.html.packed import packed
from attnbench.reporting.html.roofline import RatePlot
from attnbench.reporting.html.sweeps import Sweep, dims_text, implementation, sweeps
from attnbench.reporting.html.workloads import Workload
from attnbench.results.cohort import Cohort

MOST_WORKLOADS = 60  # rows of a plot that fit a screen or two


def views(found: Sequence[Sweep], workloads: int) -> list[tuple[int, str, str]]:
    """The number, the label and the group of each view: sweeps, then every workload."""
    listed = [
        (at, dims_text(sweep.fixed) or f"over {sweep.axis}", f"over {sweep.axis}")
        for at, sweep in enumerate(found)
    ]
    if workloads <= MOST_WORKLOADS or not listed:
        listed.append((len(listed), "every workload", "by workload"))
    return listed


def measures(
    cohort: Cohort, workloads: Sequence[Workload], names: Sequence[str], rates: RatePlot | None
) -> dict[str, Any]:
    """The columns and the sweeps of a section; `names` are its implementations."""
    ranked = [each for each in workloads if each.ranking]
    rows = [series for each in ranked for series in each.rows]
    numbered = {id(series): row for row, series in enumerate(rows)}
    unit, size = in_unit([series.time or 0.0 for series in rows])
    found = sweeps(rows, cohort.fields)
    return {
        "unit": unit,
        "names": names,
        "workloads": [each.name for each in ranked],
        "rows": {name: packed(c) for name, c in _columns(cohort, ranked, names, size).items()}
        | _rates_columns(rates, rows),
        "sweeps": [
            _sweep(each, cohort.fields, names, numbered) | {"marks": _marks(crossed, names)}
            for each, crossed in zip(found, crossings(cohort, found), strict=True)
        ],
        "rates": rates and rates.axes,
    }


def _columns(
    cohort: Cohort, workloads: Sequence[Workload], names: Sequence[str], size: float
) -> dict[str, list[Any]]:
    pairs = [pair for each in workloads for pair in zip(each.rows, each.standings, strict=True)]
    slots = {name: slot for slot, name in enumerate(names)}
    fractions = dict(zip(map(id, cohort.timed), cohort.roofline_fractions, strict=True))
    found = [_ratio(standing) for _, standing in pairs]
    parts = [fractions[id(series)] for series, _ in pairs]
    return {
        "name": [slots[implementation(series.case, cohort.fields)] for series, _ in pairs],
        "workload": [at for at, each in enumerate(workloads) for _ in each.rows],
        **times("time", [series for series, _ in pairs], size),
        "ratio": numbers(ratio for ratio, _, _ in found),
        "ratio_low": numbers(low for _, low, _ in found),
        "ratio_high": numbers(high for _, _, high in found),
        "roof": numbers(None if part is None else 100 * part for part in parts),
    }


def _ratio(standing: Standing | None) -> tuple[float | None, float | None, float | None]:
    """The ratio to the best with its interval; 1 for the best itself."""
    if standing is None or standing.place == "alone":
        return None, None, None
    found = standing.comparison
    return (found.ratio, found.low, found.high) if found else (1.0, None, None)


def _rates_columns(rates: RatePlot | None, rows: Sequence[Series]) -> dict[str, list[float | None]]:
    if rates is None:
        return {}
    pairs = [rates.points.get(id(series), (None, None)) for series in rows]
    return {"work": numbers(x for x, _ in pairs), "rate": numbers(y for _, y in pairs)}


def _sweep(
    sweep: Sweep, fields: Fields, names: Sequence[str], numbered: dict[int, int]
) -> dict[str, Any]:
    """The lines of a sweep: name, slot, places on the axis, and numbers of rows."""
    lines = sweep.lines(fields)
    slots = {name: slot for slot, name in enumerate(names)}
    return {
        "axis": sweep.axis,
        "ticks": named_ticks(place for place, _ in sweep.points),
        "lines": [
            (
                name,
                slots.get(name, at),
                [place for place, _ in points],
                [numbered[id(series)] for _, series in points],
            )
            for at, (name, points) in enumerate(lines.items())
        ],
    }


def _marks(found: Sequence[Crossing], names: Sequence[str]) -> list[Json]:
    """The crossings as a figure marks them, in the colour of who takes over."""
    return [crossover_mark(each.found, each.name, names.index(each.name)) for each in found]
