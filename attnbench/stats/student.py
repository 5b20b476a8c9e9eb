"""Student's t distribution with real degrees of freedom `df` > 0; df = inf is the normal.

Moderated variances have real degrees of freedom, and SciPy is no dependency for these three
functions.
"""

import math
from functools import lru_cache
from statistics import NormalDist

from attnbench.stats.gamma import log_gamma_half_step

# Above this the continued fraction loses digits and Hill's approximation has gained them.
_NEARLY_NORMAL = 1e7
# Indistinguishable from the normal wherever a double can hold the tail.
_NORMAL = 1e16


def sf(t: float, df: float) -> float:
    """P(T > t), accurate to 1e-9 of itself far into the tail.

    Raises ValueError unless df > 0 and t is a number.
    """
    if not df > 0 or math.isnan(t):
        raise ValueError(f"expected df above 0 and a number t, got df={df}, t={t}")
    if t < 0:
        return 1 - sf(-t, df)
    if math.isinf(t):
        return 0.0
    if df > _NEARLY_NORMAL:
        return _nearly_normal_tail(t, min(df, _NORMAL))
    return _tail(t, df)


def cdf(t: float, df: float) -> float:
    """P(T <= t), as accurate as `sf`; raises as it does."""
    return sf(-t, df)


@lru_cache(maxsize=4096)
def quantile(p: float, df: float) -> float:
    """The t at which cdf(t, df) = p, infinite past 1e150.

    Raises ValueError unless 1e-100 <= p < 1: further out the search would leave the doubles.
    """
    if not 1e-100 <= p < 1:
        raise ValueError(f"expected a probability from 1e-100 to below 1, got {p}")
    return _upper_quantile(1 - p, df) if p > 0.5 else -_upper_quantile(p, df)


def _upper_quantile(tail: float, df: float) -> float:
    """The t >= 0 with sf(t, df) = tail <= 1/2.

    Newton's method on the logarithm of the tail against the logarithm of t. That curve falls and
    is concave, so from the normal quantile, which is never above the root, one step passes the
    root and all later ones approach it from above.
    """
    t = -NormalDist().inv_cdf(tail)
    for _ in range(100):
        if not 0 < t < 1e150:
            break
        above = sf(t, df)
        step = math.log(above / tail) * math.exp(math.log(above / t) - _log_density(t, df))
        t *= math.exp(min(step, 350.0))
        if abs(step) < 1e-12:
            break
    return t if t < 1e150 else math.inf


def _log_density(t: float, df: float) -> float:
    df = min(df, _NORMAL)
    log_scale = log_gamma_half_step(df / 2) - math.log(df * math.pi) / 2
    return log_scale - (df + 1) / 2 * math.log1p(t * t / df)


def _nearly_normal_tail(t: float, df: float) -> float:
    """The first term of Hill's normal deviate (1970, CACM 13, algorithm 395): error O(1/df^2)."""
    return math.erfc(math.sqrt((df - 0.5) * math.log1p(t * t / df) / 2)) / 2


def _tail(t: float, df: float) -> float:
    """P(T > t) = I_x(df/2, 1/2) / 2 at x = df / (df + t^2), for t >= 0.

    I is the regularised incomplete beta function (Abramowitz and Stegun 26.7.1), taken from
    whichever end its continued fraction converges fast.
    """
    a, b = df / 2, 0.5
    ratio = t * t / df
    x, rest = 1 / (1 + ratio), ratio / (1 + ratio)
    # x^a (1-x)^b / B(a, b)
    front = math.exp(log_gamma_half_step(a) - a * math.log1p(ratio)) * math.sqrt(rest / math.pi)
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a / 2
    return 0.5 - front * _beta_fraction(b, a, rest) / b / 2


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method.

    For x < (a + 1) / (a + b + 2), where no denominator can vanish and some 40 terms suffice.
    """
    numerator = 1.0
    denominator = 1 / (1 - (a + b) * x / (a + 1))
    fraction = denominator
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            denominator = 1 / (1 + term * denominator)
            numerator = 1 + term / numerator
            fraction *= denominator * numerator
        if abs(denominator * numerator - 1) < 1e-15:
            return fraction
    raise ArithmeticError(f"no convergence at a={a}, b={b}, x={x}")
