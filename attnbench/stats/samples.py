"""The spread and outliers of samples, and whether they fall into two groups."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attnbench.labels import Label

# The median and the mean of |deviation| of a normal distribution, in standard deviations.
_NORMAL_MEDIAN = 0.6745
_NORMAL_MEAN = math.sqrt(2 / math.pi)

# The modified z score, 0.6745 |x - median| / MAD, from which a sample is called an outlier.
_OUTLIER = 10.0
# The share of outliers without a label: every machine has one straggler in a hundred, which does
# not move the median.
_USUAL_OUTLIERS = 0.05

# With fewer samples chance alone leaves such gaps.
_MIN_COUNT = 20
# Each group holds at least this part of the samples, and at least 3 of them: two may be chance.
_MIN_SIDE = 0.1
_MIN_SIDE_COUNT = 3
# This part of the samples may lie in the gap; otherwise one straggler of many would close it.
_IN_GAP = 0.02
# The gap's least width in standard deviations within the groups, and relative to the median:
# two modes nearer than half a percent change no conclusion.
_MIN_WIDTH = 3.0
_MIN_RELATIVE_WIDTH = 0.005


def sample_labels(samples: Sequence[float]) -> tuple[Label, ...]:
    """`outliers`: over 5 % of them are far from all others; `bimodal`: they fall into two groups.

    `samples` in seconds, in any order. Nothing is dropped; `outlier_count` of the stored samples
    is the number that are far.
    """
    found = {
        Label.OUTLIERS: outlier_count(samples) > _USUAL_OUTLIERS * len(samples),
        Label.BIMODAL: is_bimodal(samples),
    }
    return tuple(label for label, holds in found.items() if holds)


def outlier_count(samples: Sequence[float]) -> int:
    """The number of samples with a modified z score above 10 (Iglewicz and Hoaglin 1993)."""
    if len(samples) == 0:
        return 0
    values = np.asarray(samples, dtype=np.float64)
    deviations = values - np.median(values)
    return int(np.count_nonzero(np.abs(deviations) > _OUTLIER * robust_sd(deviations)))


def is_bimodal(samples: Sequence[float]) -> bool:
    """Whether a gap wider than 3 standard deviations of either side's samples parts the samples.

    The usual rule measures the gap in MADs of all samples, and so is blind to two equal groups,
    whose distance is that MAD itself; here the spread is taken about each side's own median. A
    timer's tick counts as spread, so neighbouring ticks are not a gap. In simulation normal samples
    are flagged in 0.8 % of cases at n = 20 and under 0.1 % from n = 30; groups of equal size
    8 standard deviations apart are found in at least 90 % of cases at any n.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    n = len(ordered)
    if n < _MIN_COUNT:
        return False
    side = max(math.ceil(_MIN_SIDE * n), _MIN_SIDE_COUNT)
    reach = 1 + int(_IN_GAP * n)
    middle = ordered[side - 1 : n - side + 1]
    widths = middle[reach:] - middle[:-reach]
    widest = int(np.argmax(widths))
    low, high = ordered[: side + widest], ordered[side + widest + reach - 1 :]
    within = robust_sd(np.concatenate([low - np.median(low), high - np.median(high)]))
    steps = np.diff(ordered)
    tick = float(np.min(steps[steps > 0], initial=math.inf))
    return bool(
        widths[widest] > _MIN_WIDTH * max(within, tick)
        and widths[widest] > _MIN_RELATIVE_WIDTH * np.median(ordered)
    )


def robust_sd(deviations: NDArray[np.float64]) -> float:
    """The standard deviation of a normal distribution with these deviations from its centre.

    From the median of their sizes (the MAD); from the mean if that is 0, as with a coarse timer
    that reads more than half of the samples alike. 0 only if all deviations are. Raises ValueError
    for no deviations.
    """
    if len(deviations) == 0:
        raise ValueError("no deviations have no spread")
    sizes = np.abs(deviations)
    median = float(np.median(sizes))
    return median / _NORMAL_MEDIAN if median > 0 else float(sizes.mean()) / _NORMAL_MEAN
