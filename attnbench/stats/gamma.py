"""Functions about the logarithm of the gamma function, for positive real arguments.

Series: Abramowitz and Stegun, Handbook of Mathematical Functions, 6.3.18 and 6.4.12.
"""

import math

# Bernoulli numbers B2, B4, ..., B14.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
# From here on the series above are exact to a double's last digits.
_ASYMPTOTIC = 10.0


def digamma(x: float) -> float:
    """d ln Γ(x) / dx for x > 0: by recurrence up to where the asymptotic series holds."""
    _require_positive(x)
    below = 0.0
    while x < _ASYMPTOTIC:
        below += 1 / x
        x += 1
    series = sum(b / (2 * k * x ** (2 * k)) for k, b in enumerate(_BERNOULLI, start=1))
    return math.log(x) - 1 / (2 * x) - series - below


def trigamma(x: float) -> float:
    """The derivative of `digamma` for x > 0, computed alike."""
    _require_positive(x)
    below = 0.0
    while x < _ASYMPTOTIC:
        below += 1 / (x * x)
        x += 1
    series = sum(b / x ** (2 * k + 1) for k, b in enumerate(_BERNOULLI, start=1))
    return 1 / x + 1 / (2 * x * x) + series + below


def inverse_trigamma(y: float) -> float:
    """The x > 0 at which trigamma(x) = y > 0.

    Bisection between the roots of 1/x + 1/(2x^2) = y and 1/x + 1/x^2 = y: trigamma, the sum of
    1/(x+k)^2 over k >= 0, lies between these two (its integral and the trapezoids on it).
    """
    _require_positive(y)
    low = (1 + math.sqrt(1 + 2 * y)) / (2 * y)
    high = (1 + math.sqrt(1 + 4 * y)) / (2 * y)
    while low < (middle := (low + high) / 2) < high:
        if trigamma(middle) > y:
            low = middle
        else:
            high = middle
    return middle


def log_gamma_half_step(x: float) -> float:
    """ln Γ(x + 1/2) - ln Γ(x) for x > 0, without what two lgammas of a large x would cancel."""
    _require_positive(x)
    if x < 20:
        return math.lgamma(x + 0.5) - math.lgamma(x)
    # The logarithm of the ratio's expansion (DLMF 5.11.13).
    return math.log(x) / 2 - 1 / (8 * x) + 1 / (192 * x**3) - 1 / (640 * x**5) + 17 / (14336 * x**7)


def _require_positive(x: float) -> None:
    if not x > 0:
        raise ValueError(f"expected a number above 0, got {x}")
