"""How well a round's own samples tell its time.

Where another program or a moving clock spreads the samples of a round, its median is one of many
that it could have had.
"""

import math
from statistics import NormalDist, fmean

from attnbench.analysis.series import Series
from attnbench.records import Measurement

NORMAL_REACH = NormalDist().inv_cdf(0.975)  # of a 95 % interval to either side


def variance_by_samples(series: Series) -> float:
    """The variance of a round's ln(median) by the interval of its samples, the mean of all rounds.

    The interval allows for autocorrelation. 0 where no round has one, as in some imports.
    """
    return _mean_square([_width(each) for each in series.timed])


def variance_in_cycles(series: Series) -> float:
    """The same without the part that the range of the SM clock explains."""
    return _mean_square([max(0.0, _width(each) - _clock_width(each)) for each in series.timed])


def _mean_square(widths: list[float]) -> float:
    return fmean((width / (2 * NORMAL_REACH)) ** 2 for width in widths) if widths else 0.0


def _width(measurement: Measurement) -> float:
    low, high = measurement.low, measurement.high
    return math.log(high / low) if low and high and high > low > 0 else 0.0


def _clock_width(measurement: Measurement) -> float:
    guard = measurement.outcome.guard
    low, high = (guard.get(f"sm_clock_hz_{end}") for end in ("lowest", "highest"))
    return math.log(high / low) if low and high else 0.0
