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
   A case may have modes (track.py), as far as its segments do not show that it has none. Where 10
   or more cases share their sessions, noise is as large as they scatter, in the newest session by
   itself; on a machine of which no repeated sessions are stored, what moves all of them is a step
   only beyond what sessions may do.
4. In each case the least certain step goes, its segments are joined and tested again, until each is
   significant; then Benjamini and Hochberg over all cases, in the same way.

docs/reference/method.md has the shares of false steps in simulated histories, and of planted ones
that are found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from attnbench.analysis.segments import LEAST_SESSIONS, better_orders, segment
from attnbench.analysis.track import Noisiness, Track, noisiness
from attnbench.analysis.verdict import MARGIN
from attnbench.stats import student
from attnbench.stats.moderation import VariancePrior
from attnbench.stats.multiplicity import benjamini_hochberg
from attnbench.stats.samples import robust_sd
from attnbench.stats.variance import Variance

_ALPHA = 0.05
_PRIOR_DF = 4.0
# With fewer differing neighbours their variance is not estimated.
_MIN_DIFFERENCES = 4


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
    noises = noisiness(tracks)
    segmented = [_Segmented(*each, margin) for each in zip(tracks, noises, strict=True)]
    found = [each.lasting_steps() for each in segmented]
    while True:
        tested = [(at, step) for at, steps in enumerate(found) for step in steps]
        without = [1.0 for steps in found if not steps]
        q_values = benjamini_hochberg([*(step.q for _, step in tested), *without])[: len(tested)]
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


class _Segmented:
    """A track and the ends of its segments, which are only ever joined."""

    def __init__(self, track: Track, noise: Noisiness, margin: float) -> None:
        self._x = np.log(track.times)
        self._w = np.asarray(track.sessions, dtype=np.float64)
        self._noise = noise
        self._limit = math.log1p(margin)
        self._scale = max(noise.variance, self._neighbours())
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
        prior = VariancePrior(self._noise.variance, _PRIOR_DF)
        variance = Variance(prior.posterior(squares / df if df else 0.0, df), _PRIOR_DF + df)
        return [
            self._step(before, after, change, variance)
            for (before, after), change in zip(
                pairwise(segments), np.diff(means).tolist(), strict=True
            )
        ]

    def _step(self, before: slice, after: slice, change: float, variance: Variance) -> Step:
        sessions = [float(np.sum(self._kept[each])) for each in (before, after)]
        single, inverse = sessions[1] < LEAST_SESSIONS, sum(1 / each for each in sessions)
        scatter = self._noise.newest_scatter if single else 1.0
        error = Variance(scatter * variance.value * inverse, variance.df)
        p = self._p(change, error, inverse, self._together(before, after))
        if single and not self._is_unlike(before, change):
            p = 1.0
        reach = student.quantile(1 - _ALPHA / 2, error.df) * error.sd
        return Step(
            at=after.start,
            ratio=math.exp(change),
            low=math.exp(change - reach),
            high=math.exp(change + reach),
            q=min(1.0, p * (len(self._x) - 1)),
            sessions=int(sessions[1]),
        )

    def _p(self, change: float, error: Variance, inverse: float, together: float) -> float:
        """By itself, and beside the others unless all moved by more than a session does.

        inverse is the sum of the inverse numbers of sessions before and after.
        """
        by_itself = self._p_of(change, error, inverse)
        if (common := self._noise.common) is None or together * change <= 0:
            return by_itself
        beside = change - together
        p_beside = self._p_of(beside, error, inverse) if beside * change > 0 else 1.0
        return max(by_itself, min(p_beside, self._p_beyond(together, common.times(inverse))))

    def _p_of(self, change: float, error: Variance, inverse: float) -> float:
        """Of a case, which may be one of the wild ones as far as its segments do not show it."""
        wild = self._noise.wild.in_one_mode(error.df - _PRIOR_DF)
        variance = error.value + wild.variance.value * inverse
        p_wild = self._p_beyond(change, Variance(variance, wild.variance.df))
        return self._p_beyond(change, error) + wild.share * p_wild

    def _p_beyond(self, change: float, error: Variance) -> float:
        """The two-sided p-value of a true change within the margin."""
        excess = abs(change) - self._limit
        return 1.0 if excess <= 0 else 2 * student.sf(excess / error.sd, error.df)

    def _together(self, before: slice, after: slice) -> float:
        """What moved all cases alike between the two segments."""
        means = [
            float(np.average(self._noise.together[each], weights=self._kept[each]))
            for each in (before, after)
        ]
        return means[1] - means[0]

    def _is_one_session(self) -> bool:
        """Whether the newest version has a single session."""
        return bool(self._w[-1] < LEAST_SESSIONS)

    def _is_unlike(self, before: slice, change: float) -> bool:
        """Whether the newest session is beyond the margin from every one before it."""
        ahead = math.copysign(1.0, change) * (self._x[-1] - self._x[before])
        return bool(np.min(ahead) > self._limit)
