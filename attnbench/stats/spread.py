"""A standard deviation that a minority of wild samples does not move."""

import math

import numpy as np
from numpy.typing import NDArray

# The median and the mean of |deviation| of a normal distribution, in standard deviations.
_NORMAL_MEDIAN = 0.6745
_NORMAL_MEAN = math.sqrt(2 / math.pi)


def robust_sd(deviations: NDArray[np.float64]) -> float:
    """The standard deviation of a normal distribution with these deviations from its centre.

    From the median of their sizes (the MAD); from the mean where that is 0, as with a coarse timer
    that reads more than half of the samples alike. It is 0 only where all deviations are. Raises
    ValueError for none.
    """
    if len(deviations) == 0:
        raise ValueError("no deviations have no spread")
    sizes = np.abs(deviations)
    median = float(np.median(sizes))
    return median / _NORMAL_MEDIAN if median > 0 else float(sizes.mean()) / _NORMAL_MEAN
