"""The estimate of how far apart two sides of a cell are, and how well that is known."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attnbench.stats import student
from attnbench.stats.moderation import TAME, Wild
from attnbench.stats.variance import NOTHING, Variance

_LEAST_REACH, _PRECISION = 1e-12, 1e-3


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of a round's logarithm, and how many rounds it averages out over."""

    variance: Variance  # on 0 degrees of freedom where nothing tells it
    rounds: int
    busy: float = 0.0  # the variance between sessions that comes with it, as a multiple of it

    @property
    def of_mean(self) -> Variance:
        """The variance of the mean over the rounds, with what sessions add."""
        return self.variance.times(1 / self.rounds + self.busy)

    def at_rounds(self, rounds: int) -> "Spread":
        """The same variance seen in another number of rounds."""
        df = self.variance.df + rounds - self.rounds
        return replace(self, variance=Variance(self.variance.value, max(df, 1e-3)), rounds=rounds)


@dataclass(frozen=True, slots=True)
class Hiccups:
    """How far single rounds were off from the others of their cell."""

    sizes: NDArray[np.float64]  # the largest of each cell, ascending

    def chance(self, size: float, rounds: int) -> float:
        """That all rounds of a cell are off alike, by `size`.

        A cell in which one round is off shows that its rounds have two modes. Equally likely ones
        put all rounds of one side into one and all of the other side into the other by 2 / 4^R.
        """
        off = len(self.sizes) - int(np.searchsorted(self.sizes, size))
        return float(off / len(self.sizes) * 2 * 0.25**rounds)


@dataclass(frozen=True, slots=True)
class Estimate:
    """ln(head / base), with the variances that blur it."""

    log_ratio: float
    spreads: tuple[Spread, ...]  # one of the rounds' log ratios if matched, else one a side
    session: Variance = NOTHING  # of log_ratio, as are all below; more rounds do not lessen these
    common: Variance = NOTHING
    device: Variance = NOTHING
    wild: Wild = TAME
    hiccups: "Hiccups | None" = None

    @property
    def known(self) -> bool:
        """Whether the spreads are: an error can be given only then."""
        return all(spread.variance.df > 0 for spread in self.spreads)

    @property
    def rounds_variance(self) -> float:
        """The part of the variance that more rounds lessen."""
        return sum(spread.variance.value / spread.rounds for spread in self.spreads)

    @property
    def variances(self) -> list[Variance]:
        """All that blur it, independent of each other."""
        rounds = [spread.of_mean for spread in self.spreads]
        return [*rounds, self.session, self.common, self.device]

    @property
    def standard_error(self) -> float:
        """The standard deviation of log_ratio."""
        return math.sqrt(sum(each.value for each in self.variances))

    @property
    def df(self) -> float:
        """Welch and Satterthwaite's degrees of freedom."""
        unsure = sum(each.value**2 / each.df for each in self.variances if each.value > 0)
        return self.standard_error**4 / unsure if unsure > 0 else math.inf

    def reach(self, probability: float) -> float:
        """The quantile of log_ratio's error at a probability."""
        if self.standard_error == 0:
            return 0.0
        return student.quantile(probability, self.df) * self.standard_error

    def p_beyond(self, limit: float) -> float:
        """The two-sided p-value of a true |log_ratio| of at most limit >= 0."""
        excess = abs(self.log_ratio) - limit
        return 1.0 if excess <= 0 else self.p_of_excess(excess)

    def p_of_excess(self, excess: float) -> float:
        """The two-sided p-value of an error of that size: this cell may be one of the wild ones."""
        p = 2 * student.sf(excess / max(self.standard_error, _LEAST_REACH), self.df)
        if self.wild.share:
            error = math.sqrt(self.wild.variance.value + self.standard_error**2)
            p += self.wild.share * 2 * student.sf(excess / error, self.wild.variance.df)
        if self.hiccups is not None:
            p += self.hiccups.chance(excess, min(spread.rounds for spread in self.spreads))
        return min(1.0, p)

    def reach_at(self, level: float) -> float:
        """The least error whose two-sided p-value is `level`."""
        low, high = 0.0, max(self.reach(1 - level / 2), _LEAST_REACH)
        while self.p_of_excess(high) > level * (1 + _PRECISION):
            low, high = high, 2 * high
        while low and high - low > _PRECISION * high:
            middle = (low + high) / 2
            low, high = (middle, high) if self.p_of_excess(middle) > level else (low, middle)
        return high

    def without(self, shift: float, variance: Variance) -> "Estimate":
        """What is left without the shift of all cells, which is known so well."""
        return replace(self, log_ratio=self.log_ratio - shift, common=variance)

    def within_session(self) -> "Estimate":
        """What the same rounds would give if both sides' were of one session."""
        spreads = tuple(replace(spread, busy=0.0) for spread in self.spreads)
        return replace(
            self, spreads=spreads, session=NOTHING, common=NOTHING, device=NOTHING, wild=TAME
        )

    def with_rounds(self, rounds: int) -> "Estimate":
        """What the same spreads would give with at least so many rounds a side."""
        spreads = (spread.at_rounds(max(spread.rounds, rounds)) for spread in self.spreads)
        return replace(self, spreads=tuple(spreads))

    def at_rounds(self, rounds: int) -> "Estimate":
        """What the same spreads would give with exactly so many rounds a side."""
        return replace(self, spreads=tuple(spread.at_rounds(rounds) for spread in self.spreads))

    def with_endless_rounds(self) -> "Estimate":
        """What no number of rounds can improve on."""
        busy = sum(spread.variance.value * spread.busy for spread in self.spreads)
        session = Variance(self.session.value + busy, self.session.df)
        return replace(self, spreads=(), session=session, hiccups=None)
