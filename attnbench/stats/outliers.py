"""Samples far from all others: counted, never dropped."""

from collections.abc import Sequence

import numpy as np

from attnbench.stats.spread import robust_sd

# The modified z score, 0.6745 |x - median| / MAD, from which a sample is called an outlier.
_THRESHOLD = 10.0


def outlier_count(samples: Sequence[float]) -> int:
    """How many samples have a modified z score above 10 (Iglewicz and Hoaglin 1993)."""
    if len(samples) == 0:
        return 0
    values = np.asarray(samples, dtype=np.float64)
    deviations = values - np.median(values)
    return int(np.count_nonzero(np.abs(deviations) > _THRESHOLD * robust_sd(deviations)))
