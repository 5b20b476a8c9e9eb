"""The difference of a cell's two sides, and its uncertainty.

Everything is in natural logarithms of times, where a ratio is a difference and a spread of 0.01
is one of 1 %.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnbench.stats import student
from attnbench.stats.moderation import VariancePrior, fit_prior

Stratum = Literal["under 20 us", "20 to 200 us", "over 200 us"]

# Rounds that agree to the last digit show a coarse timer, not certainty. Half of the smallest
# spread of round medians seen on a GPU, some 0.1 %, is taken as the spread that the timer hides.
MIN_ROUND_SD = 0.0005
# A sample variance of 0 has no logarithm. The prior is fitted to variances far smaller than the
# above, because to cut their lower tail would make the cells look more alike than they are.
_MIN_FITTED_VARIANCE = 1e-4 * MIN_ROUND_SD**2
# Number of cells that make a prior for the variance of the others.
_MIN_CELLS = 10
_NO_PRIOR = VariancePrior(variance=0.0, df=0.0)


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise of cells of one kind, from comparing a GPU with itself, as spreads of logarithms."""

    session_sd: float  # standard deviation of a session's effect on all its rounds
    measured: bool  # whether session_sd is from selfcheck, not assumed
    floor: float  # the change that equal code shows; 0 if never measured


ASSUMED_NOISE = Noise(session_sd=0.01, measured=False, floor=0.0)


@dataclass(frozen=True, slots=True)
class Cell:
    """One case under one method, measured on both sides.

    base and head hold the median of each round in seconds. paired means that the sides' rounds
    were interleaved in one session, the i-th with the i-th. Raises ValueError for a side without
    rounds and for a time that is not finite and above 0.
    """

    key: str
    base: tuple[float, ...]
    head: tuple[float, ...]
    paired: bool

    def __post_init__(self) -> None:
        if not self.base or not self.head:
            raise ValueError(f"cell {self.key} has a side without rounds")
        if not all(0 < time < math.inf for time in (*self.base, *self.head)):
            raise ValueError(f"cell {self.key} has a time that is not finite and above 0")

    @property
    def stratum(self) -> Stratum:
        """The duration stratum of both sides' geometric mean, within which it is moderated."""
        return duration_stratum(math.sqrt(median(self.base)) * math.sqrt(median(self.head)))

    @property
    def matched(self) -> bool:
        """Whether rounds can be compared one by one: not if a side lacks one."""
        return self.paired and len(self.base) == len(self.head)


def duration_stratum(seconds: float) -> Stratum:
    """The stratum of a duration; within one, cells have similar noise."""
    if seconds < 20e-6:
        return "under 20 us"
    return "20 to 200 us" if seconds <= 200e-6 else "over 200 us"


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of a round's logarithm, and the number of rounds averaged."""

    variance: float  # infinite if unknown
    rounds: int
    prior_df: float  # degrees of freedom from other cells

    @property
    def df(self) -> float:
        """Degrees of freedom of the variance."""
        return self.prior_df + self.rounds - 1

    @property
    def of_mean(self) -> float:
        """The variance of the mean over the rounds."""
        return self.variance / self.rounds


@dataclass(frozen=True, slots=True)
class Estimate:
    """ln(head / base), with the spreads that make it uncertain."""

    log_ratio: float
    spreads: tuple[Spread, ...]  # one of the rounds' log ratios if matched, else one per side
    session_variance: float  # of log_ratio; more rounds do not reduce it

    @property
    def known(self) -> bool:
        """Whether the spreads are known: only then is there an error."""
        return all(spread.df > 0 for spread in self.spreads)

    @property
    def rounds_variance(self) -> float:
        """The part of the variance that more rounds reduce."""
        return sum(spread.of_mean for spread in self.spreads)

    @property
    def standard_error(self) -> float:
        """The standard deviation of log_ratio."""
        return math.sqrt(self.rounds_variance + self.session_variance)

    @property
    def df(self) -> float:
        """Welch and Satterthwaite's degrees of freedom; the session variance counts as known."""
        unsure = sum(spread.of_mean**2 / spread.df for spread in self.spreads)
        return self.standard_error**4 / unsure if unsure > 0 else math.inf

    def reach(self, probability: float) -> float:
        """The quantile of log_ratio's error at a probability."""
        return student.quantile(probability, self.df) * self.standard_error

    def p_beyond(self, limit: float) -> float:
        """The two-sided p-value of a true |log_ratio| of at most limit >= 0."""
        excess = abs(self.log_ratio) - limit
        if excess <= 0:
            return 1.0
        return min(1.0, 2 * student.sf(excess / self.standard_error, self.df))

    def with_rounds(self, rounds: int) -> "Estimate":
        """The estimate with the same spreads and at least this many rounds per side."""
        spreads = (replace(s, rounds=max(s.rounds, rounds)) for s in self.spreads)
        return replace(self, spreads=tuple(spreads))

    def at_rounds(self, rounds: int) -> "Estimate":
        """The estimate with the same spreads and exactly this many rounds per side."""
        return replace(self, spreads=tuple(replace(s, rounds=rounds) for s in self.spreads))

    def with_endless_rounds(self) -> "Estimate":
        """The limit of the estimate for many rounds."""
        return replace(self, spreads=())


def estimate_all(cells: Sequence[Cell], noises: Sequence[Noise]) -> list[Estimate]:
    """Each cell's estimate, in order.

    A variance is moderated by the cells of its stratum whose rounds are matched alike, if at least
    10 of them have one; a side with a single round then takes theirs.
    """
    groups: dict[tuple[Stratum, bool], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.stratum, cell.matched].append(cell)
    priors = {group: _prior(members) for group, members in groups.items()}
    return [
        _estimate(cell, priors[cell.stratum, cell.matched], noise)
        for cell, noise in zip(cells, noises, strict=True)
    ]


def _prior(cells: Sequence[Cell]) -> VariancePrior:
    replicated = [cell for cell in cells if max(len(cell.base), len(cell.head)) > 1]
    if len(replicated) < _MIN_CELLS:
        return _NO_PRIOR
    series = [logs for cell in replicated for logs in _series(cell) if len(logs) > 1]
    variances = [max(_variance(logs), _MIN_FITTED_VARIANCE) for logs in series]
    return fit_prior(variances, [len(logs) - 1 for logs in series])


def _estimate(cell: Cell, prior: VariancePrior, noise: Noise) -> Estimate:
    # A ratio has the hidden spread of two times.
    least = MIN_ROUND_SD**2 * (2 if cell.matched else 1)
    return Estimate(
        log_ratio=float(np.mean(np.log(cell.head)) - np.mean(np.log(cell.base))),
        spreads=tuple(_spread(logs, least, prior) for logs in _series(cell)),
        # One session on each side, unless both share it.
        session_variance=0.0 if cell.paired else 2 * noise.session_sd**2,
    )


def _series(cell: Cell) -> tuple[NDArray[np.float64], ...]:
    """The logarithms whose spread counts: of the rounds' ratios if matched, else of each side."""
    base, head = np.log(cell.base), np.log(cell.head)
    return (head - base,) if cell.matched else (base, head)


def _spread(logs: NDArray[np.float64], least: float, prior: VariancePrior) -> Spread:
    df = len(logs) - 1
    if prior.df + df == 0:
        return Spread(math.inf, len(logs), prior.df)
    variance = prior.posterior(_variance(logs), df)
    return Spread(max(variance, least), len(logs), prior.df)


def _variance(logs: NDArray[np.float64]) -> float:
    """The sample variance; 0 for a single round."""
    return float(np.var(logs, ddof=1)) if len(logs) > 1 else 0.0
