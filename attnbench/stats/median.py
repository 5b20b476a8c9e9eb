"""The interval of a median, from order statistics: no assumption about the distribution."""

import math
from collections.abc import Sequence

import numpy as np

from attnbench.stats.autocorrelation import effective_count

# With fewer, even the smallest and the largest sample enclose the median under 95 times in 100.
_MIN_COUNT = 6


def median_interval(
    samples: Sequence[float], n_effective: float | None = None
) -> tuple[float, float]:
    """A 95 % confidence interval of the median, in the samples' unit.

    Its ends are the samples of rank floor(n/2 - 0.98 sqrt(n)) and ceil(1 + n/2 + 0.98 sqrt(n))
    (Le Boudec 2010, Performance Evaluation, 2.2), the reach stretched by sqrt(n / n_effective).
    n_effective defaults to the effective count of the samples' autocorrelation. With fewer than
    6 samples the interval is their whole range, and even that covers less than 95 %.

    Raises ValueError for no samples.
    """
    if len(samples) == 0:
        raise ValueError("the median of no samples has no interval")
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    n = len(ordered)
    n_effective = effective_count(samples) if n_effective is None else n_effective
    if min(n, n_effective) < _MIN_COUNT:
        return float(ordered[0]), float(ordered[-1])
    reach = 0.98 * n / math.sqrt(n_effective)
    low = max(math.floor(n / 2 - reach), 1)
    high = min(math.ceil(1 + n / 2 + reach), n)
    return float(ordered[low - 1]), float(ordered[high - 1])
