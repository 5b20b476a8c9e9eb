"""Comparing two sides cell by cell, with the rate of false alarms controlled over all cells."""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, median

from attnbench.analysis.estimate import Cell, Estimate, Noise, estimate_all
from attnbench.analysis.verdict import MARGIN, Comparison, judge
from attnbench.errors import UsageError
from attnbench.stats.multiplicity import benjamini_hochberg

# Fewer cells say nothing about the whole GPU.
_MIN_SHIFT_CELLS = 10
_SHIFT_SHARE = 0.7


def compare(
    cells: Sequence[Cell], noise: Callable[[Cell], Noise], margin: float = MARGIN
) -> list[Comparison]:
    """The verdict on each cell, in order; relative changes within `margin` do not matter.

    No margin is narrower than the cell's noise floor. The time ratio's interval is Student's, from
    the rounds' log ratios where they are matched, else Welch's with the session variance of both
    sides. faster and slower need an interval beyond the margin, with the false discovery rate
    over all cells held at 5 %; same needs equivalence at 5 % (two one-sided tests).
    """
    if not 0 <= margin < math.inf:
        raise UsageError(
            f"margin {margin}: expected a relative change of 0 or more that does not matter, "
            "e.g. 0.01 for 1 %"
        )
    noises = [noise(cell) for cell in cells]
    limits = [max(math.log1p(margin), each.floor) for each in noises]
    estimates = estimate_all(cells, noises)
    tests = _tests(estimates, limits)
    return [
        judge(cell.key, estimate, each, limit, test)
        for cell, estimate, each, limit, test in zip(
            cells, estimates, noises, limits, tests, strict=True
        )
    ]


def global_shift(comparisons: Sequence[Comparison], floor: float) -> float | None:
    """The median time ratio if the cells have moved together, as with clocks or a driver.

    That is: 10 cells or more, the median's logarithm beyond `floor` (the noise floor, a
    logarithm), and more than 70 % of the cells on its side. Otherwise None.
    """
    logs = [math.log(comparison.ratio) for comparison in comparisons]
    if len(logs) < _MIN_SHIFT_CELLS:
        return None
    shift = median(logs)
    together = sum(log * shift > 0 for log in logs)
    if abs(shift) <= floor or together <= _SHIFT_SHARE * len(logs):
        return None
    return math.exp(shift)


def geometric_mean_ratio(comparisons: Sequence[Comparison]) -> float:
    """The geometric mean of the time ratios; raises ValueError for no comparisons."""
    return math.exp(fmean(math.log(comparison.ratio) for comparison in comparisons))


def _tests(
    estimates: Sequence[Estimate], limits: Sequence[float]
) -> list[tuple[float, float] | None]:
    """p and q of each estimate; None without a known spread, which is then not tested."""
    p_values = {
        index: estimate.p_beyond(limits[index])
        for index, estimate in enumerate(estimates)
        if estimate.known
    }
    q_values = benjamini_hochberg(list(p_values.values()))
    tests = {i: (p, q) for (i, p), q in zip(p_values.items(), q_values, strict=True)}
    return [tests.get(index) for index in range(len(estimates))]
