"""Cells, what is known of their noise, and the estimate of how far apart their two sides are.

Everything is in natural logarithms of times, where a ratio is a difference and a spread of 0.01
is one of 1 %.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.log_ratio import Estimate, Hiccups, Spread
from attnbench.stats.moderation import TAME, Moderation, VariancePrior, Wild, moderate
from attnbench.stats.variance import NOTHING, UNKNOWN, Variance

Stratum = Literal["under 20 us", "20 to 200 us", "over 200 us"]
STRATA: tuple[Stratum, ...] = ("under 20 us", "20 to 200 us", "over 200 us")

# Rounds that agree to the last digit show a coarse timer, not certainty. Half of the smallest
# spread of round medians seen on a GPU, some 0.1 %, is taken as the spread that the timer hides.
MIN_ROUND_SD = 0.0005
# A sample variance of 0 has no logarithm. The prior is fitted to variances far smaller than the
# above, because to cut their lower tail would make the cells look more alike than they are.
MIN_FITTED_VARIANCE = 1e-4 * MIN_ROUND_SD**2
# So many cells make a prior for the variance of the others.
MIN_CELLS = 10
# Two rounds a side show too little: without rounds seen earlier only a large change is believed.
# Two groups of rounds are two modes if they are so many times further apart than each is wide, and
# than rounds spread in most cells.
_JUMP = 6.0
_MIN_HICCUP_CELLS = 2
_FEW_ROUNDS, _FEW_ROUNDS_DF = 2, 4.0
# Rounds vary so many times more than their samples tell, in the median of 3266 stored cells of
# H200s, and by cells as unlike as variances on so many degrees of freedom.
_ROUND_PER_SAMPLES, _ROUND_DF = 2.4**2, 2.0


@dataclass(frozen=True, slots=True)
class Noise:
    """How far equal code measures apart in cells of a kind, as variances of ln(time)."""

    session: Variance  # of what one session does to one cell, beside what it does to all
    common: Variance = NOTHING  # of what one session does to all cells alike
    device: Variance = NOTHING  # of a cell between cards of one model
    wild: Wild = TAME  # cells that sessions move unlike the others
    rounds: Variance = UNKNOWN  # of a round in a session
    per_round: float = 0.0  # of a session beside the above, per variance of the cell's rounds
    stored: bool = True  # whether this database shows it; else it comes from elsewhere
    sessions: float = 0.0  # of this very cell with equal code, beside those of the diff
    was_off: bool = False  # whether one of them moved it unlike the others


EXACT = Noise(session=NOTHING)


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
    sessions: tuple[int, int] = (1, 1)  # that the rounds of each side come from
    same_device: bool = True
    by_samples: tuple[float, float] = (0.0, 0.0)  # the variance of a round's ln(time) by its own

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

    @property
    def least_rounds(self) -> int:
        """The rounds of the side that has fewer."""
        return min(len(self.base), len(self.head))

    @property
    def of_sessions(self) -> float:
        """The factor from a session's variance to that of the log ratio."""
        return 0.0 if self.paired else sum(1 / each for each in self.sessions)


NoiseOf = Callable[[Cell], Noise]


def duration_stratum(seconds: float) -> Stratum:
    """The stratum of a duration; within one, cells have similar noise."""
    if seconds < 20e-6:
        return "under 20 us"
    return "20 to 200 us" if seconds <= 200e-6 else "over 200 us"


def estimate_all(cells: Sequence[Cell], noises: Sequence[Noise]) -> list[Estimate]:
    """Each cell's estimate, in order.

    A variance is moderated by those of the cells of its stratum whose rounds are matched alike, if
    10 or more of them have one, and where they are fewer by the rounds that its noise tells of.
    """
    groups: dict[tuple[Stratum, bool], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.stratum, cell.matched].append(cell)
    moderations = {group: _moderation(members) for group, members in groups.items()}
    hiccups = {matched: _hiccups(cells, matched) for matched in (False, True)}
    return [
        replace(
            _estimate(cell, moderations[cell.stratum, cell.matched], noise),
            hiccups=hiccups[cell.matched],
        )
        for cell, noise in zip(cells, noises, strict=True)
    ]


def _hiccups(cells: Sequence[Cell], matched: bool) -> Hiccups | None:
    """None where too few cells have rounds enough to tell which is off.

    Rounds of fewer than 10 cells do not moderate each other, so a jump among them counts as such
    whether most of them jump or not.
    """
    series = [_series(cell) for cell in cells if cell.matched == matched]
    series = [sides for sides in series if min(map(len, sides)) > 1]
    if len(series) < _MIN_HICCUP_CELLS:
        return None
    typical = median(math.sqrt(_variance(logs)) for sides in series for logs in sides)
    jumps = np.sort([max(map(_jump, sides)) for sides in series])
    least = _JUMP * typical if len(series) >= MIN_CELLS else 0.0
    return Hiccups(np.where(jumps > least, jumps, 0.0))


def _jump(logs: NDArray[np.float64]) -> float:
    """How far two groups of rounds are apart, each of which agrees well; 0 if they form none."""
    gaps = np.diff(np.sort(logs))
    jump = float(np.max(gaps))
    return jump if float(np.sum(gaps)) - jump <= jump / _JUMP else 0.0


def _moderation(cells: Sequence[Cell]) -> Moderation | None:
    """None where too few cells have a spread."""
    replicated = [cell for cell in cells if max(len(cell.base), len(cell.head)) > 1]
    if len(replicated) < MIN_CELLS:
        return None
    series = [logs for cell in replicated for logs in _series(cell) if len(logs) > 1]
    variances = [max(_variance(logs), MIN_FITTED_VARIANCE) for logs in series]
    return moderate(variances, [len(logs) - 1 for logs in series])


def _estimate(cell: Cell, moderation: Moderation | None, noise: Noise) -> Estimate:
    # A ratio holds what the timer hides of two times.
    sides = 2 if cell.matched else 1
    owns = [Variance(_variance(logs), len(logs) - 1) for logs in _series(cell)]
    variances = [
        _with_samples(_posterior(own, moderation, noise, sides), own, by_samples)
        for own, by_samples in zip(owns, _by_samples(cell), strict=True)
    ]
    return Estimate(
        log_ratio=float(np.mean(np.log(cell.head)) - np.mean(np.log(cell.base))),
        spreads=tuple(
            Spread(variance, len(logs), busy)
            for variance, logs, busy in zip(
                variances, _series(cell), _busy(cell, noise), strict=True
            )
        ),
        session=noise.session.times(cell.of_sessions),
        common=noise.common.times(cell.of_sessions),
        device=NOTHING if cell.same_device else noise.device.times(2),
        wild=_scaled(noise.wild, cell),
    )


def _busy(cell: Cell, noise: Noise) -> tuple[float, ...]:
    """A machine that is busy differs between its sessions as well as between its rounds."""
    if cell.paired:
        return (0.0,) * len(_series(cell))
    return tuple(noise.per_round / sessions for sessions in cell.sessions)


def _scaled(wild: Wild, cell: Cell) -> Wild:
    factor = cell.of_sessions
    return Wild(wild.share, wild.variance.times(factor)) if factor else TAME


def _posterior(own: Variance, moderation: Moderation | None, noise: Noise, sides: int) -> Variance:
    few = own.df < _FEW_ROUNDS and not noise.stored
    if moderation is None:
        # What other machines' rounds spread by helps where a cell's own are too few.
        rounds = noise.rounds.times(sides) if few or noise.stored else UNKNOWN
        moderation = Moderation(VariancePrior(rounds.value, rounds.df), math.inf, TAME)
    if moderation.prior.df + own.df == 0:
        return UNKNOWN
    found = moderation.posterior(own)
    df = min(found.df, _FEW_ROUNDS_DF) if few else found.df
    return Variance(max(found.value, sides * MIN_ROUND_SD**2), df)


def _with_samples(found: Variance, own: Variance, by_samples: float) -> Variance:
    """No less than the samples of one or two rounds foresee; three show how far rounds spread."""
    if own.df >= _FEW_ROUNDS or found.df == 0:
        return found
    if own.df > 0:
        return Variance(max(found.value, by_samples), found.df)
    single = Variance(_ROUND_PER_SAMPLES * by_samples, min(found.df, _ROUND_DF))
    return max(found, single, key=lambda each: each.value)


def _by_samples(cell: Cell) -> tuple[float, ...]:
    """Of each of the cell's series."""
    return (sum(cell.by_samples),) if cell.matched else cell.by_samples


def _series(cell: Cell) -> tuple[NDArray[np.float64], ...]:
    """The logarithms whose spread counts: of the rounds' ratios if matched, else of each side."""
    base, head = np.log(cell.base), np.log(cell.head)
    return (head - base,) if cell.matched else (base, head)


def _variance(logs: NDArray[np.float64]) -> float:
    """The sample variance; 0 for a single round."""
    return float(np.var(logs, ddof=1)) if len(logs) > 1 else 0.0
