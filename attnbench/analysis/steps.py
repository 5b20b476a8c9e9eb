"""Lasting changes in the time of a case over versions of the code.

The sessions (runs) are the replicates. Of n versions with mean log times over w sessions:

1. Segments of least cost (segments.py), by the larger of the known noise and the variance between
   neighbours, which a few steps do not move. A segment has two sessions or more, so one slow
   session is not a step; only the newest version may be a segment of one, if it is beyond all
   sessions of the segment before.
2. The order must matter: where more than 5 % of 99 random orders of the same sessions have segments
   of less cost, as with sessions of two modes, only the newest session may still be a step.
3. Each step between two segments is tested by Student's t against a change within the margin, with
   the moderated variance (d0 s0^2 + v s_r^2) / (d0 + v): s0^2 the known noise, worth d0 = 4 degrees
   of freedom, s_r^2 the residual variance on v = n - segments. Its p is multiplied by n - 1,
   since the place was chosen.
   Where 10 or more cases share the newest session and scatter in it by more than the known noise,
   a step to it needs as much more.
4. In each case the least certain step goes, its segments are joined and tested again, until each is
   significant; then Benjamini and Hochberg over all steps of all cases, in the same way.

docs/reference/method.md has the shares of false steps in simulated histories, and of planted ones
that are found.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.estimate import MIN_CELLS
from attnbench.analysis.segments import LEAST_SESSIONS, better_orders, segment
from attnbench.analysis.verdict import MARGIN
from attnbench.stats import student
from attnbench.stats.moderation import VariancePrior
from attnbench.stats.multiplicity import benjamini_hochberg
from attnbench.stats.samples import robust_sd
from attnbench.stats.variance import Variance

Logs = NDArray[np.float64]

_ALPHA = 0.05
_PRIOR_DF = 4.0
_FAR = 3.5  # robust standard deviations (Iglewicz and Hoaglin 1993)
# With fewer differing neighbours their variance is not estimated.
_MIN_DIFFERENCES = 4


@dataclass(frozen=True, slots=True)
class Track:
    """One case over versions, oldest first; spreads are of natural logarithms."""

    times: Sequence[float]  # seconds of each version, the geometric mean over its sessions
    sessions: Sequence[int]  # number of sessions of each time
    sd: float  # of one session, by the known noise; above 0
    newest: Hashable = None  # the session of the newest version, if it has one, which others share


@dataclass(frozen=True, slots=True)
class Step:
    """A lasting change: ratios are of times, after over before, with their 95 % interval."""

    at: int  # the first version that has it
    ratio: float
    low: float
    high: float
    q: float
    sessions: int  # that show it; a single one, the newest, may be an outlier


def find_steps(tracks: Sequence[Track], margin: float = MARGIN) -> list[list[Step]]:
    """The steps of each track, in order; relative changes within `margin` do not count."""
    scatter = _newest_scatter(tracks)
    segmented = [_Segmented(each, margin, scatter.get(each.newest, 1.0)) for each in tracks]
    found = [each.lasting_steps() for each in segmented]
    while True:
        tested = [(at, step) for at, steps in enumerate(found) for step in steps]
        q_values = benjamini_hochberg([step.q for _, step in tested])
        worst = max(range(len(tested)), key=q_values.__getitem__, default=None)
        if worst is None or q_values[worst] <= _ALPHA:
            break
        at, step = tested[worst]
        segmented[at].join(step)
        found[at] = segmented[at].steps()
    listed = [list[Step]() for _ in tracks]
    for (at, step), q in zip(tested, q_values, strict=True):
        listed[at].append(replace(step, q=q))
    return listed


def _newest_scatter(tracks: Sequence[Track]) -> dict[Hashable, float]:
    """By newest session how far the cases scatter in it, as a multiple of the known variance.

    Other programs on the machine move many cases of one session, each by itself.
    """
    scores: dict[Hashable, list[float]] = defaultdict(list)
    for each in tracks:
        if each.newest is not None and len(each.times) > 1:
            *before, last = np.log(each.times).tolist()
            known = each.sd * math.sqrt(1 + 1 / len(before))
            scores[each.newest].append((last - median(before)) / known)
    return {
        newest: max(1.0, _usual_sd(np.asarray(listed)) ** 2)
        for newest, listed in scores.items()
        if len(listed) >= MIN_CELLS
    }


def _usual_sd(scores: Logs) -> float:
    """Of the cases that have not changed: those far from the median are set aside, and again."""
    for _ in range(3):
        off = scores - np.median(scores)
        scores = scores[np.abs(off) <= _FAR * robust_sd(off)]
    return robust_sd(scores - np.median(scores))


class _Segmented:
    """A track and the ends of its segments, which are only ever joined."""

    def __init__(self, track: Track, margin: float, newest_scatter: float) -> None:
        self._x = np.log(track.times)
        self._w = np.asarray(track.sessions, dtype=np.float64)
        self._variance, self._newest_scatter = track.sd**2, newest_scatter
        self._limit = math.log1p(margin)
        self._scale = max(self._variance, self._neighbours())
        found = segment(self._x, self._w, self._scale)
        self._kept = self._w * found.kept
        self._ends = list(found.ends)

    def _neighbours(self) -> float:
        """The variance estimated from neighbouring versions."""
        if len(self._x) <= _MIN_DIFFERENCES:
            return 0.0
        scale = np.sqrt(1 / self._w[1:] + 1 / self._w[:-1])
        return robust_sd(np.diff(self._x) / scale) ** 2

    def lasting_steps(self) -> list[Step]:
        """The steps of which each is significant among the places of this track.

        If the same sessions in a random order often look as if they had steps, only one to the
        newest session may be one.
        """
        found = self._significant()
        if found and better_orders(self._x, self._w, self._scale) > _ALPHA:
            self._ends = [end for end in self._ends if end >= len(self._x) - self._is_one_session()]
            self._kept = self._w
            found = self._significant()
        return found

    def _significant(self) -> list[Step]:
        while found := self.steps():
            worst = max(found, key=lambda step: step.q)
            if worst.q <= _ALPHA:
                break
            self.join(worst)
        return found

    def join(self, step: Step) -> None:
        """Join the segments on both sides of a step."""
        self._ends.remove(step.at)

    def steps(self) -> list[Step]:
        """The steps, with p times the number of possible places in place of q."""
        segments = [slice(start, end) for start, end in pairwise([0, *self._ends])]
        means = [float(np.average(self._x[s], weights=self._kept[s])) for s in segments]
        df = int(np.sum(self._kept > 0)) - len(segments)
        squares = sum(
            float(np.sum(self._kept[s] * (self._x[s] - mean) ** 2))
            for s, mean in zip(segments, means, strict=True)
        )
        prior = VariancePrior(self._variance, _PRIOR_DF)
        variance = Variance(prior.posterior(squares / df if df else 0.0, df), _PRIOR_DF + df)
        return [
            self._step(before, after, change, variance)
            for (before, after), change in zip(
                pairwise(segments), np.diff(means).tolist(), strict=True
            )
        ]

    def _step(self, before: slice, after: slice, change: float, variance: Variance) -> Step:
        sessions = [float(np.sum(self._kept[each])) for each in (before, after)]
        scatter = self._newest_scatter if sessions[1] < LEAST_SESSIONS else 1.0
        error = math.sqrt(scatter * variance.value * sum(1 / each for each in sessions))
        excess = (abs(change) - self._limit) / error
        p = 1.0 if excess <= 0 else 2 * student.sf(excess, variance.df)
        if sessions[1] < LEAST_SESSIONS and not self._is_unlike(before, change):
            p = 1.0
        reach = student.quantile(1 - _ALPHA / 2, variance.df) * error
        return Step(
            at=after.start,
            ratio=math.exp(change),
            low=math.exp(change - reach),
            high=math.exp(change + reach),
            q=min(1.0, p * (len(self._x) - 1)),
            sessions=int(sessions[1]),
        )

    def _is_one_session(self) -> bool:
        """Whether the newest version has a single session."""
        return bool(self._w[-1] < LEAST_SESSIONS)

    def _is_unlike(self, before: slice, change: float) -> bool:
        """Whether the newest session is beyond the margin from every one before it."""
        ahead = math.copysign(1.0, change) * (self._x[-1] - self._x[before])
        return bool(np.min(ahead) > self._limit)
