"""Rooflines: FLOP/s over FLOP per byte, or byte/s over bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from attnbench.analysis.roofline import limits, measured_limits
from attnbench.analysis.series import Series
from attnbench.provenance.peaks import Peaks
from attnbench.reporting.html.figures import Json, numbers
from attnbench.results.cohort import Cohort
from attnbench.units import byte_rate_column, flop_rate_column, unit_size

# By the first word of a limit's name.
_ROOFS = {
    "peak": "Solid: the hardware's limits.",
    "reached": "Dashed: rates of a copy and a matmul at the start of the run.",
}
_BEYOND = 2.0  # how far, as a factor, a roof is drawn past the points


@dataclass(frozen=True, slots=True)
class RatePlot:
    """The points of a roofline, with its limits."""

    title: str
    caption: str
    axes: Mapping[str, Any]  # x and y of a figure, and the roofs
    points: Mapping[int, tuple[float, float]]  # x and rate by the series' identity


def rates_of(cohort: Cohort, plotted: Sequence[Series]) -> RatePlot | None:
    """The roofline, or only the byte rate without FLOP, as for a KV write; None without either."""
    plotted = [each for each in plotted if each.bytes_per_second]
    if not plotted:
        return None
    computing = [each for each in plotted if each.flops_per_second]
    roofs = _roofs(cohort, plotted)
    found = _roofline(computing, roofs) if computing else _byte_rates(plotted, roofs)
    axes, points = found
    kinds = [meaning for kind, meaning in _ROOFS.items() if any(n.startswith(kind) for n in roofs)]
    caption = " ".join(kinds) or "The limits of this machine are unknown."
    return RatePlot("Roofline" if computing else "Byte rate", caption, axes, points)


def _roofs(cohort: Cohort, plotted: Sequence[Series]) -> dict[str, Peaks]:
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
    return found


Found = tuple[Json, dict[int, tuple[float, float]]]


def _roofline(computing: Sequence[Series], roofs: Mapping[str, Peaks]) -> Found:
    unit, _ = flop_rate_column([each.flops_per_second for each in computing])
    xs = [each.timed[0].outcome.flops / each.timed[0].outcome.bytes for each in computing]
    span = _span(xs, [_ridge(peaks) for peaks in roofs.values()])
    lines = [_roof(name, peaks, span, unit) for name, peaks in roofs.items()]
    rates = [(each.flops_per_second or 0.0) / unit_size(unit) for each in computing]
    return _axes("useful FLOP per byte", unit, lines), _points(computing, xs, rates)


def _byte_rates(plotted: Sequence[Series], roofs: Mapping[str, Peaks]) -> Found:
    unit, _ = byte_rate_column([each.bytes_per_second for each in plotted])
    xs = [each.timed[0].outcome.bytes / 2**20 for each in plotted]
    levels: dict[float, list[str]] = {}  # peaks of two dtypes have one byte rate
    for name, peaks in roofs.items():
        levels.setdefault(peaks.bytes_per_second / unit_size(unit), []).append(name)
    lines = [_limit(" = ".join(names), _span(xs, []), [y, y]) for y, names in levels.items()]
    rates = [(each.bytes_per_second or 0.0) / unit_size(unit) for each in plotted]
    return _axes("useful MiB per call", unit, lines), _points(plotted, xs, rates)


def _axes(across: str, unit: str, roofs: Sequence[Json]) -> Json:
    return {
        "x": {"label": across, "log": True},
        "y": {"label": f"useful {unit}", "log": True},
        "roofs": list(roofs),
    }


def _points(
    listed: Sequence[Series], xs: Sequence[float], rates: Sequence[float]
) -> dict[int, tuple[float, float]]:
    return {id(each): (x, rate) for each, x, rate in zip(listed, xs, rates, strict=True)}


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
    return _limit(name, places, [rate / unit_size(unit) for rate in rates])


def _limit(name: str, xs: Sequence[float], ys: Sequence[float]) -> Json:
    kind = "peak" if name.startswith("peak") else "reached"
    return {"name": name, "roof": kind, "x": numbers(xs), "y": numbers(ys)}
