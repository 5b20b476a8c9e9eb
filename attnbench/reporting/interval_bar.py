"""Intervals of changes as bars of text, all on one scale."""

from collections.abc import Sequence
from math import log

from attnbench.analysis.verdict import Comparison

_WIDTH = 21  # characters, with no change in the middle
_LEAST = 0.02  # the least change at either end, so noise looks like noise
_LARGEST = 1.0  # the logarithm of a change of a factor e: one wild case must not hide the others


def interval_bars(found: Sequence[Comparison | None]) -> list[str]:
    """A bar for each comparison, "" without an interval: `····│··━━●━━····`.

    The scale is logarithmic; what is beyond its ends is drawn at them.
    """
    known = [(each.low, each.high) for each in found if each]
    ends = [abs(log(end)) for pair in known for end in pair if end]
    reach = min(max([_LEAST, *ends]), _LARGEST)
    return [_bar(each, reach) for each in found]


def _bar(found: Comparison | None, reach: float) -> str:
    if found is None or not found.low or not found.high:
        return ""
    low, change, high = (_place(each, reach) for each in (found.low, found.ratio, found.high))
    cells = ["·"] * _WIDTH
    cells[low : high + 1] = "━" * (high + 1 - low)
    cells[_WIDTH // 2] = "┿" if cells[_WIDTH // 2] == "━" else "│"
    cells[change] = "●"
    return "".join(cells)


def _place(ratio: float, reach: float) -> int:
    part = max(-1.0, min(1.0, log(ratio) / reach))
    return round((part + 1) / 2 * (_WIDTH - 1))
