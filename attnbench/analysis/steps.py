"""Lasting changes in the time of a case over versions of the code.

The sessions (runs) are the replicates. Of n versions with mean log times x_i over w_i sessions:

1. Segments: those that minimise sum w_i (x_i - mean of its segment)^2 / s^2 + b (segments - 1),
   found exactly by dynamic programming (Jackson et al. 2005, IEEE Signal Process. Lett. 12:105).
   s^2 is the larger of the known noise and the variance between neighbours, which a few steps do
   not move. b is the squared normal quantile at 5 % two-sided, shared among n - 1 places.
2. Each step between two segments is tested by Student's t against a change within the margin, with
   the moderated variance (d0 s0^2 + v s_r^2) / (d0 + v): s0^2 the known noise, worth d0 = 4 degrees
   of freedom, s_r^2 the residual variance on v = n - segments. Its p is multiplied by n - 1,
   since the place was chosen.
3. Benjamini and Hochberg over all steps of all cases; the least certain goes, its segments are
   joined and all is tested again, until every q is at most 5 %.

In simulation, a case without a change shows a step in under 5 % of histories of any length. If its
noise is twice the known noise, in up to 14 % for five or fewer versions and under 5 % from 15 on.
With 0.5 % noise, a change of 3 % amid ten versions is found in 99 %, one of 5 % in only the newest
version always (tests/test_steps.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.verdict import MARGIN
from attnbench.stats import student
from attnbench.stats.moderation import VariancePrior
from attnbench.stats.multiplicity import benjamini_hochberg
from attnbench.stats.samples import robust_sd

_ALPHA = 0.05
_PRIOR_DF = 4.0
# With fewer differing neighbours their variance is not estimated.
_MIN_DIFFERENCES = 4


@dataclass(frozen=True, slots=True)
class Track:
    """One case over versions, oldest first; spreads are of natural logarithms."""

    times: Sequence[float]  # seconds of each version, the geometric mean over its sessions
    sessions: Sequence[int]  # number of sessions of each time
    sd: float  # of one session, by the known noise; above 0


@dataclass(frozen=True, slots=True)
class Step:
    """A lasting change: ratios are of times, after over before, with their 95 % interval."""

    at: int  # the first version that has it
    ratio: float
    low: float
    high: float
    q: float


def find_steps(tracks: Sequence[Track], margin: float = MARGIN) -> list[list[Step]]:
    """The steps of each track, in order; relative changes within `margin` do not count."""
    segmented = [_Segmented(track, margin) for track in tracks]
    while True:
        tested = [(each, step) for each in segmented for step in each.steps()]
        q_values = benjamini_hochberg([step.q for _, step in tested])
        worst = max(range(len(tested)), key=q_values.__getitem__, default=None)
        if worst is None or q_values[worst] <= _ALPHA:
            break
        track, step = tested[worst]
        track.ends.remove(step.at)
    found = {id(each): list[Step]() for each in segmented}
    for (track, step), q in zip(tested, q_values, strict=True):
        found[id(track)].append(Step(step.at, step.ratio, step.low, step.high, q))
    return list(found.values())


class _Segmented:
    """A track and the ends of its segments, which are only ever joined."""

    def __init__(self, track: Track, margin: float) -> None:
        self._x = np.log(track.times)
        self._w = np.asarray(track.sessions, dtype=np.float64)
        self._variance = track.sd**2
        self._limit = math.log1p(margin)
        self.ends = _segment_ends(self._x, self._w, max(self._variance, self._neighbours()))

    def _neighbours(self) -> float:
        """The variance estimated from neighbouring versions."""
        if len(self._x) <= _MIN_DIFFERENCES:
            return 0.0
        scale = np.sqrt(1 / self._w[1:] + 1 / self._w[:-1])
        return robust_sd(np.diff(self._x) / scale) ** 2

    def steps(self) -> list[Step]:
        """The steps, with p times the number of possible places in place of q."""
        bounds = [0, *self.ends]
        segments = [slice(start, end) for start, end in pairwise(bounds)]
        means = [float(np.average(self._x[s], weights=self._w[s])) for s in segments]
        df = len(self._x) - len(segments)
        squares = sum(
            float(np.sum(self._w[s] * (self._x[s] - mean) ** 2))
            for s, mean in zip(segments, means, strict=True)
        )
        prior = VariancePrior(self._variance, _PRIOR_DF)
        variance = prior.posterior(squares / df if df else 0.0, df)
        return [
            self._step(before, after, change, variance, _PRIOR_DF + df)
            for (before, after), change in zip(
                pairwise(segments), np.diff(means).tolist(), strict=True
            )
        ]

    def _step(self, before: slice, after: slice, change: float, variance: float, df: float) -> Step:
        sessions = [float(np.sum(self._w[each])) for each in (before, after)]
        error = math.sqrt(variance * sum(1 / each for each in sessions))
        excess = (abs(change) - self._limit) / error
        p = 1.0 if excess <= 0 else 2 * student.sf(excess, df)
        reach = student.quantile(1 - _ALPHA / 2, df) * error
        return Step(
            at=after.start,
            ratio=math.exp(change),
            low=math.exp(change - reach),
            high=math.exp(change + reach),
            q=min(1.0, p * (len(self._x) - 1)),
        )


def _segment_ends(x: NDArray[np.float64], w: NDArray[np.float64], variance: float) -> list[int]:
    """The end of each segment of the least cost, the last being len(x)."""
    n = len(x)
    if n == 1:
        return [1]
    penalty = NormalDist().inv_cdf(1 - _ALPHA / 2 / (n - 1)) ** 2
    weights, sums, squares = (
        np.concatenate([[0.0], np.cumsum(w * x**power)]) for power in (0, 1, 2)
    )
    least = np.full(n + 1, -penalty)
    start = np.zeros(n + 1, dtype=np.int64)
    for end in range(1, n + 1):
        weight, total = weights[end] - weights[:end], sums[end] - sums[:end]
        within = squares[end] - squares[:end] - total**2 / weight
        costs = least[:end] + within / variance + penalty
        start[end] = np.argmin(costs)
        least[end] = costs[start[end]]
    ends = [n]
    while start[ends[0]] > 0:
        ends.insert(0, int(start[ends[0]]))
    return ends
