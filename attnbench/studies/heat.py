"""A study's map as a page and a picture draw it: cells with a colour, doubts hatched."""

from collections.abc import Mapping
from typing import Final

from attnbench.reporting.html.heat import HeatCell, HeatMap
from attnbench.reporting.html.palette import LIGHT
from attnbench.studies.charts import Heat

STRONGEST: Final = 50.0  # percent of change with the strongest colour
TINTS: Final = (12.0, 55.0)  # percent of the colour in the weakest and the strongest
_WINNER = 42.0  # percent of a winner's colour
_DOUBTS = ("unclear", "quickest", "only")  # first or last lines of cells that show no winner


def heat_map(chart: Heat, slots: Mapping[str, int]) -> HeatMap:
    """The map with rows from the top: numbers rise downwards, other rows keep their order.

    `slots` has the colours of winners; without one a winner has the chart's number.
    """
    across = range(len(chart.xs))
    rows = [(name, [_cell(chart, slots, y, x) for x in across]) for y, name in enumerate(chart.ys)]
    return HeatMap(
        chart.title,
        _legend(chart),
        chart.y_label,
        chart.x_label,
        chart.xs,
        rows if chart.y_label else rows[::-1],
    )


def _legend(chart: Heat) -> str:
    if chart.named:
        auto = any("\nauto +" in text for row in chart.texts for text in row)
        return (
            "The best, and the next one's time over its. Stripes: a tie. "
            "Hatched: none is shown to be the best."
            + " auto: the loss of vLLM's own choice."
            * auto
        )
    meaning = chart.legend.removeprefix("and ")
    return (
        f"{meaning[0].upper()}{meaning[1:]}: blue is less, orange is more, "
        f"strongest from {STRONGEST:.0f} % on. Hatched: unclear."
    )


def _cell(chart: Heat, slots: Mapping[str, int], y: int, x: int) -> HeatCell | None:
    lines, value = chart.texts[y][x].split("\n"), chart.values[y][x]
    if not chart.texts[y][x]:
        return None
    if value is None or {lines[0], lines[-1]} & {*_DOUBTS}:
        return HeatCell(lines, "doubt", 0.0)
    if lines[0] == "tie":
        return HeatCell(
            lines, "tied", 0.0, [slots[n] % len(LIGHT) for n in lines[1:] if n in slots]
        )
    if chart.named:  # a winner
        slot = slots.get(lines[0], int(value) - 1) % len(LIGHT)
        return HeatCell(lines, f"slot{slot}", _WINNER)
    if value == 0 or lines[-1] == "same":
        return HeatCell(lines, "plain", 30.0)
    weakest, strongest = TINTS
    part = weakest + (strongest - weakest) * min(1.0, abs(value) / STRONGEST)
    return HeatCell(lines, "more" if value > 0 else "less", round(part, 1))
