"""Verdicts on an estimate: faster, slower, same or unclear, and why."""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import Literal

from attnbench.analysis.log_ratio import Estimate
from attnbench.analysis.shift import Shift
from attnbench.stats import student
from attnbench.stats.moderation import TAME
from attnbench.units import percent

Verdict = Literal["faster", "slower", "same", "unclear"]

# Of a time: unless another is asked for, a smaller change does not matter. Whatever else runs on a
# CPU moves the times of a run by some percent.
MARGIN, CPU_MARGIN = 0.01, 0.05
ALPHA = 0.05  # the level of a test
_POWER = 0.8  # its chance to find what it is planned for
# What to ask for where no spread is known.
FIRST_ROUNDS = 3
_MAX_ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Comparison:
    """The verdict on a cell. Ratios are of times, head over base: above 1 is slower.

    low and high are the 95 % interval of the ratio, p the two-sided p-value of a change within
    the margin, q the same adjusted for all cells, detectable the smallest relative change that
    would be found four times in five among these cells. They are None where nothing tells the
    spread of rounds. rounds_needed is how many rounds a side should settle an unclear verdict,
    rounds_interleaved how many if the sides' rounds are interleaved; None for the other verdicts,
    and where no number of rounds can.
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
    rounds_interleaved: int | None
    reason: str  # for the reader
    doubt: str = ""  # why it is unclear though the interval lies beyond the margin


@dataclass(frozen=True, slots=True)
class Tested:
    """The test of a change beyond the limit."""

    p: float
    q: float  # adjusted for all cells
    level: float  # that one more finding among them would need
    shift: Shift | None = None  # what the p-value allows for


def judge(key: str, estimate: Estimate, limit: float, test: Tested | None) -> Comparison:
    """The verdict on a cell, where a |log_ratio| up to `limit` does not matter.

    test is None where the estimate's spread is not known.
    """
    if test is None:
        return _without_spread(key, estimate, limit)
    verdict = _verdict(estimate, limit, test.q)
    doubt = _doubt(estimate, limit, test) if verdict == "unclear" else ""
    finding, needed, interleaved = _finding(verdict, estimate, limit, doubt), None, None
    if verdict == "unclear":
        # Shared with many other cells, a test must pass a stricter level than its own.
        alpha = ALPHA * test.p / test.q
        needed = _rounds_needed(estimate, limit, alpha)
        interleaved = _rounds_interleaved(estimate, limit, alpha)
        finding += "; " + _remedy(estimate, limit, alpha, needed)
    reach = estimate.reach(1 - ALPHA / 2)
    return Comparison(
        key=key,
        verdict=verdict,
        ratio=_exp(estimate.log_ratio),
        low=_exp(estimate.log_ratio - reach),
        high=_exp(estimate.log_ratio + reach),
        p=test.p,
        q=test.q,
        detectable=detectable(estimate, limit, test.level),
        rounds_needed=needed,
        rounds_interleaved=interleaved,
        reason="; ".join([finding, *_caveats(estimate)]),
        doubt=doubt,
    )


def detectable(estimate: Estimate, limit: float, level: float) -> float:
    """The smallest relative change that would be told from `limit` four times in five."""
    return _exp(limit + estimate.reach_at(level) + estimate.reach(_POWER)) - 1


def _without_spread(key: str, estimate: Estimate, limit: float) -> Comparison:
    settles = _settles(estimate.with_endless_rounds(), limit, ALPHA)
    needed = FIRST_ROUNDS if settles else None
    finding = "a single round shows no spread, and too few similar cells have one to borrow"
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
        rounds_interleaved=FIRST_ROUNDS,
        reason=f"{finding}; {_remedy(estimate, limit, ALPHA, needed)}",
    )


def _verdict(estimate: Estimate, limit: float, q: float) -> Verdict:
    # This implies p <= 0.05, which is to say that the 95 % interval clears the margin.
    if q <= ALPHA:
        return "slower" if estimate.log_ratio > 0 else "faster"
    # Two one-sided tests at 5 %: their interval is the 90 % one (Schuirmann 1987).
    same = abs(estimate.log_ratio) + estimate.reach(1 - ALPHA) < limit
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


def _rounds_interleaved(estimate: Estimate, limit: float, alpha: float) -> int | None:
    """The same, from 3 on, for sides that take turns: sessions and cards then move both alike."""
    alternating = estimate.within_session()
    rounds = range(FIRST_ROUNDS, _MAX_ROUNDS + 1)
    found = bisect_left(
        rounds, True, key=lambda each: _settles(alternating.at_rounds(each), limit, alpha)
    )
    return rounds[found] if found < len(rounds) else None


def _settles(estimate: Estimate, limit: float, alpha: float) -> bool:
    """Whether a new estimate of this precision would get its verdict four times in five."""
    distance = abs(estimate.log_ratio) - limit
    luck = student.quantile(_POWER, estimate.df) * math.sqrt(estimate.rounds_variance)
    # Beyond the margin both directions are tested at once, within it each by itself.
    if distance > 0:
        return distance > luck and estimate.p_of_excess(distance - luck) < alpha
    return -distance > estimate.reach(1 - ALPHA) + luck


def _finding(verdict: Verdict, estimate: Estimate, limit: float, doubt: str) -> str:
    confidence = 0.9 if verdict == "same" else 0.95
    reach = estimate.reach((1 + confidence) / 2)
    low, high = estimate.log_ratio - reach, estimate.log_ratio + reach
    interval = f"{percent(confidence)} interval {_change(low)} to {_change(high)}"
    margin = f"the margin of {percent(_exp(limit) - 1)}"
    if verdict == "same":
        return f"{interval} lies within {margin}"
    if verdict == "unclear" and not doubt:
        return f"{interval} crosses {margin}"
    return f"{interval} lies beyond {margin}" + (f", but {doubt}" if doubt else "")


def _doubt(estimate: Estimate, limit: float, test: Tested) -> str:
    """Why an interval beyond the margin is no finding; empty for one that is not beyond it."""
    if abs(estimate.log_ratio) - estimate.reach(1 - ALPHA / 2) <= limit:
        return ""
    if test.shift is not None and test.p > ALPHA:
        return f"the other cases moved by {_change(test.shift.log_ratio)}, as a device moves them"
    if replace(estimate, wild=TAME).p_beyond(limit) <= test.level < estimate.p_beyond(limit):
        return "a few cases of a machine may have modes, some percent apart from run to run"
    return "among so many cases it may be chance"


def _remedy(estimate: Estimate, limit: float, alpha: float, needed: int | None) -> str:
    if needed is not None:
        return f"{needed} rounds per side should settle it"
    best = estimate.with_endless_rounds()
    if _settles(best, limit, alpha):
        return f"more than {_MAX_ROUNDS} rounds per side would be needed to settle it"
    spread = percent(math.sqrt((best.session.value + best.common.value) / 2))
    return f"no number of rounds settles it, as sessions differ by {spread}: interleave the sides"


def _caveats(estimate: Estimate) -> list[str]:
    if any(spread.rounds == 1 for spread in estimate.spreads):
        return ["the spread of a single round is taken from similar cells"]
    return []


def _change(log_ratio: float) -> str:
    return f"{100 * (_exp(log_ratio) - 1):+z.3g} %"


def _exp(log_ratio: float) -> float:
    """The ratio, limited to the range of a double."""
    return math.exp(min(log_ratio, 700.0))
