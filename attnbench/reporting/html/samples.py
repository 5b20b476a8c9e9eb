"""The distribution of a case's samples, round by round."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.series import Series
from attnbench.reporting.html.figures import Json, Plot, PlotChoice, in_unit, numbers
from attnbench.results.samples import STEP, Quantiles

Sides = Mapping[str, Series]  # a case by the side of a comparison, "" for a single one


@dataclass(frozen=True, slots=True)
class SampledCase:
    """A case in the plot's menu."""

    group: str  # its heading in the menu
    label: str
    sides: Sides


@dataclass(frozen=True, slots=True)
class SamplesPlot:
    """A plot with a choice per case with samples."""

    plot: Plot | None  # None if no case has samples
    choices: Sequence[int | None]  # the choice's number of each case

    @classmethod
    def of(cls, listed: Sequence[SampledCase], quantiles: Quantiles, key: str) -> Self:
        """The plot of cases in their order."""
        drawn = [(each, _traces(each.sides, quantiles)) for each in listed]
        numbers = iter(range(len(listed)))
        choices = [next(numbers) if traces else None for _, traces in drawn]
        found = [PlotChoice(each.label, _figure(t), each.group) for each, t in drawn if t]
        caption = "Cumulative distribution of each round's samples; one line per round."
        return cls(Plot(key, "Distribution of samples", caption, found) if found else None, choices)


def _traces(sides: Sides, quantiles: Quantiles) -> list[tuple[str, int, NDArray[np.float64]]]:
    """By side and round: the name, the number of the colour, and the percentiles."""
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
        "series": [
            {
                "name": name,
                "slot": slot,
                "x": numbers(float(value) / size for value in values),
                "y": [at * STEP for at in range(len(values))],
                "line": True,
                "plain": True,
            }
            for name, slot, values in traces
        ],
        "x": {"label": f"latency, {unit}"},
        "y": {"label": "share of samples, %", "range": [-2, 102]},
    }
