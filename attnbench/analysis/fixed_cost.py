"""A call's fixed cost and the cost of each token: time = fixed + slope * tokens.

Deviations are relative to the time, since 3 us and 300 us are known to the same percent, and large
ones weigh less (Huber's weights, iterated): no real kernel is a straight line from one token to
65536, and the bend should not move the line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnbench.stats import student

MIN_SIZES = 4  # different sizes needed for a line and its error
# Huber's constant, 95 % efficient for normal errors; a normal's standard deviation over its median
# absolute deviation.
_HUBER, _MAD = 1.345, 1.4826
_STEPS = 50
_LEAST_SCALE = 1e-9  # of residuals; allows fitting an exact line


@dataclass(frozen=True, slots=True)
class FixedCost:
    """Seconds and seconds per token, each with half its 95 % interval.

    `worst` is the largest relative deviation of a time from the line.
    """

    fixed: float
    fixed_reach: float
    slope: float
    slope_reach: float
    worst: float


def fixed_cost(sizes: Sequence[int], times: Sequence[float]) -> FixedCost | None:
    """The line through these times in seconds; None for fewer than four different sizes."""
    if len(set(sizes)) < MIN_SIZES:
        return None
    measured = np.asarray(times, dtype=float)
    design = np.column_stack([np.ones(len(sizes)), np.asarray(sizes, dtype=float)])
    relative = design / measured[:, None]
    # Of similar size, for well-conditioned normal equations.
    unit = np.linalg.norm(relative, axis=0)
    scaled = relative / unit
    line, weights = _robust(scaled)
    residuals = 1 - scaled @ line
    df = len(measured) - 2
    variance = _variance(residuals, weights, df)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(scaled.T @ scaled))) / unit
    (fixed, slope), quantile = line / unit, student.quantile(0.975, df)
    return FixedCost(
        fixed=float(fixed),
        fixed_reach=float(quantile * errors[0]),
        slope=float(slope),
        slope_reach=float(quantile * errors[1]),
        worst=float(np.abs(residuals).max()),
    )


def _variance(residuals: NDArray[np.float64], weights: NDArray[np.float64], df: int) -> float:
    """Of a residual, as cutting large ones leaves it uncertain (Huber 1973, Ann. Stat. 1:799).

    Never less than the plain variance of the weighted residuals, the larger one for few sizes.
    """
    kept = float(np.mean(weights == 1))  # the mean derivative of what the weights leave
    correction = (1 + 2 / len(weights) * (1 - kept) / kept) / kept
    cut = correction**2 * float(np.sum((weights * residuals) ** 2))
    return max(cut, float(np.sum(weights * residuals**2))) / df


def _robust(design: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The coefficients that fit the columns to 1 best, and the rows' weights."""
    weights: NDArray[np.float64] = np.ones(len(design))
    line: NDArray[np.float64] = np.zeros(2)
    for _ in range(_STEPS):
        root = np.sqrt(weights)
        line = np.linalg.lstsq(design * root[:, None], root, rcond=None)[0].astype(np.float64)
        sizes = np.abs(1 - design @ line)
        limit = _HUBER * max(_MAD * float(np.median(sizes)), _LEAST_SCALE)
        weights = np.minimum(1.0, limit / np.maximum(sizes, _LEAST_SCALE))
    return line, weights
