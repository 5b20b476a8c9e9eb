"""Weighted sums of times, such as those of all steps of a server, and how well they are known."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.estimate import MIN_ROUND_SD
from attnbench.analysis.log_ratio import Estimate, Spread
from attnbench.analysis.series import Times
from attnbench.analysis.tuning import Round
from attnbench.stats.variance import UNKNOWN, Variance

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """Parts of a sum, each with the logarithms of its times in the same rounds."""

    logs: Floats  # of seconds [parts, rounds]
    weights: Floats  # [parts]

    @classmethod
    def of(
        cls, times: Sequence[Times], weights: Sequence[float], rounds: Collection[Round]
    ) -> Self:
        """One or more parts, each of which has these rounds, at least one."""
        chosen = sorted(rounds, key=lambda each: each[1])
        logs = np.log([[part[at] for at in chosen] for part in times])
        return cls(logs, np.asarray(weights, dtype=np.float64))

    @property
    def parts(self) -> Floats:
        """The weighted seconds of each part, from the geometric mean of its rounds [parts]."""
        seconds: Floats = self.weights * np.exp(self.logs.mean(axis=1))
        return seconds

    @property
    def seconds(self) -> float:
        """The sum."""
        return float(self.parts.sum())

    @property
    def shares(self) -> Floats:
        """Of each part in the sum [parts]."""
        shares: Floats = self.parts / self.seconds
        return shares

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the sum, from the rounds alone; None for one round."""
        spread = _spread(self.shares[:, None] * self.logs, self.shares**2)
        estimate = Estimate(math.log(self.seconds), (spread,))
        if not estimate.known:
            return None
        reach = estimate.reach(0.975)
        return self.seconds * math.exp(-reach), self.seconds * math.exp(reach)


def log_ratio(base: WeightedSum, head: WeightedSum) -> Estimate:
    """ln(head / base) of two sums over the same parts and rounds, with the same weights.

    Rounds are paired: what one does to both sides cancels.
    """
    errors = head.shares[:, None] * head.logs - base.shares[:, None] * base.logs
    spread = _spread(errors, base.shares**2 + head.shares**2)
    return Estimate(math.log(head.seconds / base.seconds), (spread,))


def _spread(errors: Floats, timer: Floats) -> Spread:
    """Of a round's sum of errors [parts, rounds].

    What a round does to all parts alike shows in the rounds' sums, of which there are few;
    independent errors show in every part. The wider of both intervals holds in either case. `timer`
    is the factor of the variance that the timer may hide in each part.
    """
    rounds = errors.shape[1]
    if rounds < 2:
        return Spread(UNKNOWN, rounds)
    df = rounds - 1
    own = np.maximum(errors.var(axis=1, ddof=1), timer * MIN_ROUND_SD**2)
    each = float(own.sum())
    together = max(float(errors.sum(axis=0).var(ddof=1)), float(timer.sum()) * MIN_ROUND_SD**2)
    found = (
        Spread(Variance(each, df * each**2 / float((own**2).sum())), rounds),
        Spread(Variance(together, df), rounds),
    )
    return max(found, key=lambda spread: Estimate(0.0, (spread,)).reach(0.975))
