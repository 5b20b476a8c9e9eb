"""What a count of hits among independent trials says of their rate."""

import math


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """The largest rate at which so few hits are not too unlikely: 1 of no trials at all.

    Clopper and Pearson's exact one-sided bound (1934, Biometrika 26:404), by bisection. Raises
    ValueError unless 0 <= hits <= trials and 0 < confidence < 1.
    """
    if not (0 <= hits <= trials and 0 < confidence < 1):
        raise ValueError(f"expected 0 <= hits <= trials, got {hits} of {trials} at {confidence}")
    if hits == trials:
        return 1.0
    low, high = hits / trials, 1.0
    while low < (middle := (low + high) / 2) < high:
        if _cdf(hits, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _cdf(hits: int, trials: int, rate: float) -> float:
    """P(at most `hits` of `trials`) for 0 < rate < 1."""
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    return math.fsum(
        math.exp(_log_choose(trials, k) + k * log_rate + (trials - k) * log_rest)
        for k in range(hits + 1)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
