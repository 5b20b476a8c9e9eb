"""Verdicts on an estimate: faster, slower, same or unclear, and why."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Literal

from attnbench.analysis.estimate import Estimate, Noise
from attnbench.stats import student
from attnbench.units import percent

Verdict = Literal["faster", "slower", "same", "unclear"]

MARGIN = 0.01  # relative; by default, a smaller change does not matter
# The level of a test, and its power.
_ALPHA = 0.05
_POWER = 0.8
# Rounds to advise if no spread is known.
_FIRST_ROUNDS = 3
_MAX_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict on a cell. Ratios are of times, head over base: above 1 is slower.

    low and high are the 95 % interval of the ratio, p the two-sided p-value of a change within
    the margin, q the same adjusted for all cells, detectable the smallest relative change that
    would be found four times in five. They are None if the spread of rounds is unknown.
    rounds_needed is the number of rounds per side that should settle an unclear verdict; None for
    the other verdicts, and if no number of rounds can.
    """

    key: str
    verdict: Verdict
    ratio: float
    low: float | None
    high: float | None
    p: float | None
    q: float | None
    detectable: float | None
    rounds_needed: int | None
    reason: str  # for the reader


def judge(
    key: str, estimate: Estimate, noise: Noise, limit: float, test: tuple[float, float] | None
) -> Comparison:
    """The verdict on a cell; a |log_ratio| up to `limit` does not matter.

    `test` holds p and q of a change beyond it, None if the estimate's spread is unknown.
    """
    if test is None:
        return _without_spread(key, estimate, noise, limit)
    p, q = test
    verdict = _verdict(estimate, limit, q)
    finding, needed = _finding(verdict, estimate, limit), None
    if verdict == "unclear":
        # Among many cells, a test must pass a stricter level.
        alpha = _ALPHA * p / q
        needed = _rounds_needed(estimate, limit, alpha)
        finding += "; " + _remedy(estimate, noise, limit, alpha, needed)
    reach = estimate.reach(1 - _ALPHA / 2)
    return Comparison(
        key=key,
        verdict=verdict,
        ratio=_exp(estimate.log_ratio),
        low=_exp(estimate.log_ratio - reach),
        high=_exp(estimate.log_ratio + reach),
        p=p,
        q=q,
        detectable=detectable(estimate, limit),
        rounds_needed=needed,
        reason="; ".join([finding, *_caveats(estimate, noise)]),
    )


def detectable(estimate: Estimate, limit: float) -> float:
    """The smallest relative change that would be found beyond `limit` four times in five."""
    return _exp(limit + estimate.reach(1 - _ALPHA / 2) + estimate.reach(_POWER)) - 1


def _without_spread(key: str, estimate: Estimate, noise: Noise, limit: float) -> Comparison:
    settles = _settles(estimate.with_endless_rounds(), limit, _ALPHA)
    needed = _FIRST_ROUNDS if settles else None
    finding = "a single round shows no spread, and too few similar cells have one to borrow"
    remedy = _remedy(estimate, noise, limit, _ALPHA, needed)
    return Comparison(
        key=key,
        verdict="unclear",
        ratio=_exp(estimate.log_ratio),
        low=None,
        high=None,
        p=None,
        q=None,
        detectable=None,
        rounds_needed=needed,
        reason="; ".join([finding, remedy, *_caveats(estimate, noise)]),
    )


def _verdict(estimate: Estimate, limit: float, q: float) -> Verdict:
    # q <= 0.05 implies p <= 0.05, that is, the 95 % interval clears the margin.
    if q <= _ALPHA:
        return "slower" if estimate.log_ratio > 0 else "faster"
    # Two one-sided tests at 5 %: their interval is the 90 % one (Schuirmann 1987).
    same = abs(estimate.log_ratio) + estimate.reach(1 - _ALPHA) < limit
    return "same" if same else "unclear"


def _rounds_needed(estimate: Estimate, limit: float, alpha: float) -> int | None:
    """The fewest rounds per side that should settle it, up to 1000, with the same spreads."""
    if not _settles(estimate.with_endless_rounds(), limit, alpha):
        return None
    more = range(min(spread.rounds for spread in estimate.spreads) + 1, _MAX_ROUNDS + 1)
    found = bisect_left(
        more, True, key=lambda rounds: _settles(estimate.with_rounds(rounds), limit, alpha)
    )
    return more[found] if found < len(more) else None


def _settles(estimate: Estimate, limit: float, alpha: float) -> bool:
    """Whether a new estimate of this precision would get its verdict four times in five."""
    distance = abs(estimate.log_ratio) - limit
    # Beyond the margin both directions are tested at once, within it each by itself.
    probability = 1 - alpha / 2 if distance > 0 else 1 - _ALPHA
    luck = student.quantile(_POWER, estimate.df) * math.sqrt(estimate.rounds_variance)
    return abs(distance) > estimate.reach(probability) + luck


def _finding(verdict: Verdict, estimate: Estimate, limit: float) -> str:
    confidence = 0.9 if verdict == "same" else 0.95
    reach = estimate.reach((1 + confidence) / 2)
    low, high = estimate.log_ratio - reach, estimate.log_ratio + reach
    interval = f"{percent(confidence)} interval {_change(low)} to {_change(high)}"
    margin = f"the margin of {percent(_exp(limit) - 1)}"
    if verdict == "same":
        return f"{interval} lies within {margin}"
    if verdict != "unclear":
        return f"{interval} lies beyond {margin}"
    if abs(estimate.log_ratio) - reach > limit:
        return f"{interval} lies beyond {margin}, but among so many cells it may be chance"
    return f"{interval} crosses {margin}"


def _remedy(
    estimate: Estimate, noise: Noise, limit: float, alpha: float, needed: int | None
) -> str:
    if needed is not None:
        return f"{needed} rounds per side should settle it"
    if _settles(estimate.with_endless_rounds(), limit, alpha):
        return f"more than {_MAX_ROUNDS} rounds per side would be needed to settle it"
    spread = percent(noise.session_sd)
    return f"no number of rounds settles it, as sessions differ by {spread}: interleave the sides"


def _caveats(estimate: Estimate, noise: Noise) -> list[str]:
    caveats = []
    if estimate.known and any(spread.rounds == 1 for spread in estimate.spreads):
        caveats.append("the spread of a single round is taken from similar cells")
    if estimate.session_variance > 0 and not noise.measured:
        caveats.append(
            "no between-session variance is stored for this GPU; "
            f"{percent(noise.session_sd)} is assumed"
        )
    return caveats


def _change(log_ratio: float) -> str:
    return f"{100 * (_exp(log_ratio) - 1):+z.3g} %"


def _exp(log_ratio: float) -> float:
    """The ratio, limited to the range of a double."""
    return math.exp(min(log_ratio, 700.0))
