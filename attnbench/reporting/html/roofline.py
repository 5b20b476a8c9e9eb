"""Roofline plots: FLOP/s over FLOP per byte, or byte/s over bytes."""

from collections.abc import Sequence
from math import isfinite

from attnbench.analysis.roofline import limits, measured_limits
from attnbench.analysis.series import Series
from attnbench.provenance.peaks import Peaks
from attnbench.reporting.html.figures import (
    Json,
    Plot,
    PlotChoice,
    Slots,
    as_text,
    log_axis,
    note_on,
    rounded,
    trace,
)
from attnbench.reporting.html.sweeps import implementation
from attnbench.results.cohort import Cohort
from attnbench.units import byte_rate_column, flop_rate_column, percent, unit_size

# By the first word of a limit's name.
_ROOFS = {
    "peak": "Solid: the hardware's limits.",
    "reached": "Dashed: rates of a copy and a matmul at the start of the run.",
}
_BEYOND = 2.0  # how far, as a factor, a roof is drawn past the points


def roofline_plot(cohort: Cohort, plotted: Sequence[Series], slots: Slots, key: str) -> Plot | None:
    """The roofline, or only the byte rate without FLOP, as for a KV write; None without either."""
    plotted = [each for each in plotted if each.bytes_per_second]
    if not plotted:
        return None
    computes = any(each.flops_per_second for each in plotted)
    figure = _roofline if computes else _byte_rates
    title = "Roofline" if computes else "Byte rate"
    roofs = _roofs(cohort, plotted)
    kinds = [
        meaning for kind, meaning in _ROOFS.items() if any(n.startswith(kind) for n, _ in roofs)
    ]
    caption = " ".join(kinds) or "The limits of this machine are unknown."
    return Plot(key, title, caption, [PlotChoice("", figure(cohort, plotted, slots, roofs))])


def _roofs(cohort: Cohort, plotted: Sequence[Series]) -> list[tuple[str, Peaks]]:
    """The limits of the machine and its measured rates at the start of the run, each once."""
    found: dict[str, Peaks] = {}
    for each in plotted:
        if physical := limits(each.case, cohort.machine):
            kind = "fp8" if each.case.kv_cache_dtype.startswith("fp8") else each.case.dtype
            found.setdefault(f"peak ({kind})", physical)
        start = cohort.reached.get(each.timed[0].run, {}).get("start")
        if start:
            reached = measured_limits(each.case, cohort.machine, start)
            found.setdefault(f"reached, run {each.timed[0].run}", reached)
    return list(found.items())


def _roofline(
    cohort: Cohort, plotted: Sequence[Series], slots: Slots, roofs: Sequence[tuple[str, Peaks]]
) -> Json:
    computing = [each for each in plotted if each.flops_per_second]
    unit, _ = flop_rate_column([each.flops_per_second for each in computing])
    xs = [each.timed[0].outcome.flops / each.timed[0].outcome.bytes for each in computing]
    span = _span(xs, [_ridge(peaks) for _, peaks in roofs])
    points = _points(cohort, computing, slots, xs, [e.flops_per_second for e in computing], unit)
    return _figure(
        [*points, *(_roof(name, peaks, span, unit) for name, peaks in roofs)],
        "useful FLOP per byte",
        unit,
    )


def _byte_rates(
    cohort: Cohort, plotted: Sequence[Series], slots: Slots, roofs: Sequence[tuple[str, Peaks]]
) -> Json:
    unit, _ = byte_rate_column([each.bytes_per_second for each in plotted])
    xs = [each.timed[0].outcome.bytes / 2**20 for each in plotted]
    points = _points(cohort, plotted, slots, xs, [e.bytes_per_second for e in plotted], unit)
    span = _span(xs, [])
    lines = [
        _limit(name, list(span), [rounded(peaks.bytes_per_second / unit_size(unit))] * 2)
        for name, peaks in roofs
    ]
    return _figure([*points, *lines], "useful MiB per call", unit)


def _figure(traces: Sequence[Json], across: str, unit: str) -> Json:
    xs, ys = ([value for trace in traces for value in trace[axis]] for axis in ("x", "y"))
    layout = {"xaxis": log_axis(across, xs), "yaxis": log_axis(f"useful {unit}", ys)}
    return {"data": list(traces), "layout": layout}


def _points(
    cohort: Cohort,
    listed: Sequence[Series],
    slots: Slots,
    xs: Sequence[float],
    rates: Sequence[float | None],
    unit: str,
) -> list[Json]:
    fractions = dict(zip(map(id, cohort.timed), cohort.roofline_fractions, strict=True))
    groups: dict[str, list[tuple[Series, float, float]]] = {}
    for each, x, rate in zip(listed, xs, rates, strict=True):
        name = implementation(each.case, cohort.fields)
        groups.setdefault(name, []).append(
            (each, rounded(x), rounded((rate or 0.0) / unit_size(unit)))
        )
    return [
        trace(
            name,
            slots[name],
            [each for each, _, _ in points],
            [x for _, x, _ in points],
            [y for _, _, y in points],
            hover=f"%{{y}} {unit}",
            notes=[note_on(each) + _part(fractions[id(each)]) for each, _, _ in points],
        )
        for name, points in groups.items()
    ]


def _part(fraction: float | None) -> str:
    return "" if fraction is None else f", {percent(fraction)} of the roofline"


def _ridge(peaks: Peaks) -> float:
    """FLOP per byte beyond which memory is not the limit."""
    return peaks.flops_per_second / peaks.bytes_per_second


def _span(xs: Sequence[float], ridges: Sequence[float]) -> tuple[float, float]:
    finite = [x for x in (*xs, *ridges) if isfinite(x)]
    return min(finite) / _BEYOND, max(finite) * _BEYOND


def _roof(name: str, peaks: Peaks, span: tuple[float, float], unit: str) -> Json:
    """The roof: rising with the memory's limit, level from the ridge on."""
    places = sorted({*span, min(max(_ridge(peaks), span[0]), span[1])})
    rates = [min(peaks.flops_per_second, x * peaks.bytes_per_second) for x in places]
    return _limit(name, places, [rounded(rate / unit_size(unit)) for rate in rates])


def _limit(name: str, xs: Sequence[float], ys: Sequence[float]) -> Json:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": as_text(name),
        "x": [rounded(x) for x in xs],
        "y": ys,
        "line": {"dash": "solid" if name.startswith("peak") else "dash"},
        "hovertemplate": "%{y}",
    }
