"""Sparklines: the path of times in a box 100 wide and 20 high, on a logarithmic scale."""

from collections import defaultdict
from collections.abc import Sequence
from math import exp, log
from statistics import fmean

from attnbench.site.entry import SiteEntry

_LEAST = 0.05  # of the scale, relative, so noise looks like noise
_POINTS = 60


def sparkline(values: Sequence[float]) -> str:
    """The path; empty for a single value."""
    if len(values) < 2:
        return ""
    logs = [log(value) for value in values]
    middle, span = (max(logs) + min(logs)) / 2, max(max(logs) - min(logs), _LEAST)
    step = 100 / (len(logs) - 1)
    points = [f"{at * step:.4g},{10 - 18 * (y - middle) / span:.3g}" for at, y in enumerate(logs)]
    return f"M{'L'.join(points)}"


def together(entries: Sequence[SiteEntry]) -> list[float]:
    """The geometric mean of the cases' times over each one's first, at some moments in order."""
    moments = sorted({started for entry in entries for started, _ in entry.points})
    kept = set(moments[:: max(1, len(moments) // _POINTS)]) | set(moments[-1:])
    changes: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for at, entry in enumerate(entries):
        for started, time in entry.points:
            changes[started].append((at, log(time / entry.points[0][1])))
    current, means = dict[int, float](), list[float]()
    for moment in moments:
        current.update(changes[moment])
        if moment in kept:
            means.append(exp(fmean(current.values())))
    return means
