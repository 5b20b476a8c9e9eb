"""A study's map as a page and a picture draw it: cells with a colour, doubts hatched."""

from collections.abc import Mapping
from typing import Final

from attnbench.reporting.html.heat import HeatCell, HeatMap
from attnbench.reporting.html.palette import LIGHT
from attnbench.reporting.html.palette import TINTS as LEADS
from attnbench.reporting.html.squares import strength_of
from attnbench.studies.charts import Heat

STRONGEST: Final = 50.0  # percent of change with the strongest colour
TINTS: Final = (12.0, 55.0)  # percent of the colour in the weakest and the strongest
TIE: Final = 26.0  # percent of each colour of a tie, as in page.css
_DOUBTS = ("unclear", "quickest", "only")  # first or last lines of cells that show no winner


def heat_map(chart: Heat, slots: Mapping[str, int]) -> HeatMap:
    """The map with rows from the top: numbers rise downwards, other rows keep their order.

    `slots` has the colours of winners.
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
            "The best, and the next one's time over its: the stronger the colour, the larger the "
            "lead. Stripes: a tie. Hatched: none is shown to be the best."
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
        strength = strength_of(value)
        part = 100 * LEADS["light"][strength]
        slot = slots.get(lines[0], 0) % len(LIGHT)
        return HeatCell(lines, f"slot{slot} strength{strength}", part)
    if value == 0 or lines[-1] == "same":
        return HeatCell(lines, "plain", 30.0)
    weakest, strongest = TINTS
    part = weakest + (strongest - weakest) * min(1.0, abs(value) / STRONGEST)
    return HeatCell(lines, "more" if value > 0 else "less", round(part, 1))
