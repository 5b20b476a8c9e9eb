"""Contexts of different lengths that together have as many tokens as equal ones.

Drawn from a seed of their number and the spread alone, so a spec is the same batch everywhere.
"""

from collections.abc import Sequence
from random import Random
from typing import Literal, get_args

Spread = Literal["lognormal", "sorted", "onelong"]
SPREADS: tuple[Spread, ...] = get_args(Spread)
# The standard deviation of the lengths' logarithms; of 64 contexts the longest is some six times
# the mean.
SIGMA = 1.0
LONGEST = 8  # times the mean, and at most half of all tokens: the one long context


def spread_out(count: int, mean: int, spread: Spread) -> list[int]:
    """`count` lengths in tokens, count * mean together; each may be 0.

    lognormal: in the order drawn; sorted: the same, the shortest first; onelong: one of eight times
    the mean in the middle, the others equal to a token.
    """
    if spread == "onelong":
        return _one_long(count, count * mean)
    draw = Random(f"lognormal {count}")
    weights = [draw.lognormvariate(0.0, SIGMA) for _ in range(count)]
    lengths = _apportioned(count * mean, weights)
    return sorted(lengths) if spread == "sorted" else lengths


def spread_of(lengths: Sequence[int]) -> Spread | Literal["uniform", ""]:
    """How lengths are spread; "" for any other way."""
    count, total = len(lengths), sum(lengths)
    if len(set(lengths)) == 1:
        return "uniform"
    if total % count:
        return ""
    known = (each for each in SPREADS if spread_out(count, total // count, each) == list(lengths))
    return next(known, "")


def _one_long(count: int, total: int) -> list[int]:
    if count == 1:
        return [total]
    long = min(LONGEST * total // count, total // 2)
    short = _apportioned(total - long, [1.0] * (count - 1))
    middle = count // 2
    return [*short[:middle], long, *short[middle:]]


def _apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to weights, `total` together: by largest remainders."""
    whole = sum(weights)
    shares = [total * weight / whole for weight in weights]
    lengths = [int(share) for share in shares]
    most = sorted(range(len(shares)), key=lambda at: lengths[at] - shares[at])
    for at in most[: total - sum(lengths)]:
        lengths[at] += 1
    return lengths
