"""The tabs of a section's plot: ratio to the best, latency, roofline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnbench.reporting.html.packed import unpacked
from attnbench.reporting.html.roofline import RatePlot

_MARKS = (
    "Dashed: the best changes here, interpolated between measured sizes; shaded: from the last "
    "size at which one is shown to win to the first at which the other is."
)


@dataclass(frozen=True, slots=True)
class Tab:
    """One measure, with its explanation."""

    metric: str  # as scripts/section.js names it
    title: str
    caption: str


@dataclass(frozen=True, slots=True)
class MeasuresPlot:
    """A plot with tabs, drawn from columns."""

    key: str  # unique in the page
    tabs: Sequence[Tab]
    views: Sequence[tuple[int, str, str]]  # number, label and group
    data: Mapping[str, Any]

    @property
    def groups(self) -> dict[str, list[tuple[int, str]]]:
        """The number and label of each view, by group."""
        found: dict[str, list[tuple[int, str]]] = {}
        for at, label, group in self.views:
            found.setdefault(group, []).append((at, label))
        return found


def tabs(data: Mapping[str, Any], rates: RatePlot | None) -> list[Tab]:
    """The tabs whose measure is known, the ratio first."""
    rows = data["rows"]
    found = []
    if _is_known(rows["ratio"]):
        bands = " Bands are 95 % intervals." if _is_known(rows["ratio_low"]) else ""
        crossed = any(sweep["marks"] for sweep in data["sweeps"])
        marks = f" {_MARKS}" if crossed else ""
        caption = f"Time over the best's of the same workload: 1 is the best.{bands}{marks}"
        found.append(Tab("ratio", "Ratio to the best", caption))
    found.append(Tab("time", "Latency", "Bars are the range of the rounds' medians."))
    if _is_known(rows["roof"]):
        caption = "The part of the hardware's limit, of memory or of compute, that is reached."
        found.append(Tab("roof", "% of the roofline", caption))
    if rates:
        found.append(Tab("rates", rates.title, rates.caption))
    return found


def _is_known(column: Any) -> bool:
    return any(value is not None for value in unpacked(column))
