"""How the samples of a case are distributed, round by round."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.series import Series
from attnbench.db.store import Store
from attnbench.reporting.html.figures import Choice, Json, Plot, as_text, in_unit, rounded

_STEP = 2  # percent: what a plot can show of a distribution, however many samples there are
_PERCENTILES = np.arange(0, 101, _STEP)

Quantiles = Mapping[int, NDArray[np.float64]]  # by measurement id, the percentiles in seconds
Sides = Mapping[str, Series]  # a case by the side of a comparison, "" where there is but one


@dataclass(frozen=True, slots=True)
class Listed:
    """A case to choose."""

    group: str  # what it is listed under
    label: str
    sides: Sides


def read_quantiles(store: Store, listed: Iterable[Series]) -> Quantiles:
    """The percentiles 0, 2 ... 100 of each timed round whose samples are stored."""
    ids = {each.id for series in listed for each in series.timed}
    return {
        id: np.percentile(samples, _PERCENTILES)
        for id, samples in store.samples_of(ids)
        if len(samples) > 1  # a single one, as other tools give, has no distribution
    }


@dataclass(frozen=True, slots=True)
class Samples:
    """A plot with a choice for each case that has samples."""

    plot: Plot | None  # None where no case has any
    choices: Sequence[int | None]  # of each case as listed, the number of its choice

    @classmethod
    def of(cls, listed: Sequence[Listed], quantiles: Quantiles, key: str) -> Self:
        """The cases in their order."""
        drawn = [(each, _traces(each.sides, quantiles)) for each in listed]
        numbers = iter(range(len(listed)))
        choices = [next(numbers) if traces else None for _, traces in drawn]
        found = [Choice(each.label, _figure(t), each.group) for each, t in drawn if t]
        caption = "The share of a round's samples that took at most so long; a line each round."
        return cls(Plot(key, "Distribution of samples", caption, found) if found else None, choices)


def _traces(sides: Sides, quantiles: Quantiles) -> list[tuple[str, int, NDArray[np.float64]]]:
    """By side and round: its name, the number of its colour, and the percentiles."""
    return [
        (_name(side, series, at), number if len(sides) > 1 else at, quantiles[each.id])
        for number, (side, series) in enumerate(sides.items())
        for at, each in enumerate(series.timed)
        if each.id in quantiles
    ]


def _name(side: str, series: Series, at: int) -> str:
    run = f"run {series.timed[at].run}" if len(series.runs) > 1 else ""
    return ", ".join(filter(None, [side, run, f"round {series.timed[at].round + 1}"]))


def _figure(traces: Sequence[tuple[str, int, NDArray[np.float64]]]) -> Json:
    unit, size = in_unit([float(np.median(values)) for _, _, values in traces])
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "name": as_text(name),
                "meta": {"slot": slot},
                "x": [rounded(float(value) / size) for value in values],
                "dy": _STEP,
                "hovertemplate": f"%{{y}} % within %{{x}} {unit}",
            }
            for name, slot, values in traces
        ],
        "layout": {
            "xaxis": {"title": {"text": f"latency, {unit}"}},
            "yaxis": {"title": {"text": "share of samples, %"}, "range": [-2, 102]},
        },
    }
