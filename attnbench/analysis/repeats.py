"""How equal code differs between sessions of one machine: sums of squares, and what they make.

The mean log time of a cell in a session is that cell's own, plus what the session does to all
cells, plus what it does to this one, plus what its rounds leave of their spread.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, median

import numpy as np

from attnbench.analysis.estimate import (
    MIN_CELLS,
    MIN_FITTED_VARIANCE,
    MIN_ROUND_SD,
    duration_stratum,
)
from attnbench.analysis.groups import Group
from attnbench.stats.moderation import (
    TAME,
    Moderation,
    VariancePrior,
    fit_prior,
    is_out_of_line,
    moderate,
)
from attnbench.stats.variance import UNKNOWN, Variance

# Sessions minutes apart that repeat one plan agree better than those of other days and plans.
MIN_SESSION_SD = 0.001
MIN_COMMON_SD = 0.0005
# With fewer cells what a session does to all of them is not told from what it does to each.
_MIN_COMMON_CELLS = 5
# Of the variance between sessions at least this part is not that of their rounds.
_MIN_SHARE = 0.1
# How far apart the cells' variances are assumed to be where too few cells show it.
_FEW_CELLS_DF = 4.0
# As many sessions tell how a cell's rounds spread in the next.
_FEW_SESSIONS = 4
_LEAST_DF = 2.0
_WILD_SD = 0.005
# Cards are judged by this quantile of what cells differ by between them.
_TAIL = 0.9


@dataclass(frozen=True, slots=True)
class Repeat:
    """One cell in one session: its rounds, seconds."""

    state: Hashable  # what sessions share whose code, software and machine are equal
    card: Hashable
    session: Hashable
    family: str
    cell: str  # hash of case and method
    rounds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean log time."""
        return fmean(map(math.log, self.rounds))


@dataclass(frozen=True, slots=True)
class Squares:
    """What was seen of one cell, over all sessions: variances with their degrees of freedom."""

    group: Group
    between: Variance  # of the session's mean, what all cells share taken off
    sessions: tuple[Variance, ...]  # of its rounds in each session that has several
    rounds: float  # in a session, on average

    @property
    def within(self) -> Variance:
        """Of its rounds in all sessions."""
        return pooled(self.sessions)

    @property
    def rounds_to_expect(self) -> Variance:
        """Of its rounds in a further session: UNKNOWN from few sessions, as they may differ."""
        if len(self.sessions) < _FEW_SESSIONS:
            return UNKNOWN
        values = [max(each.value, MIN_FITTED_VARIANCE) for each in self.sessions]
        prior = fit_prior(values, [each.df for each in self.sessions])
        return Variance(prior.variance, min(prior.df, _FEW_CELLS_DF))


@dataclass(frozen=True, slots=True)
class Seen:
    """The noise of some cells, as equal code has shown it."""

    between: Moderation  # of the means of sessions
    of_rounds: float  # the part of that which is left of the spread of rounds
    rounds: Variance
    num_cells: int

    def session(self, own: Variance = UNKNOWN) -> Variance:
        """What one session does to a cell that itself has shown `own` between sessions."""
        found = self.between.posterior(own)
        value = max(found.value - self.of_rounds, _MIN_SHARE * found.value, MIN_SESSION_SD**2)
        # As unsure as what it was taken from, in absolute terms.
        df = found.df * min(1.0, value / found.value) ** 2
        return Variance(value, max(_LEAST_DF, df))

    def known_session(self, own: Variance = UNKNOWN) -> Variance:
        """The same as surely as it is known.

        That cells differ in it, which the degrees of freedom of `session` tell too, is left out.
        """
        return Variance(self.session(own).value, self.between.pooled_df)

    def out_of_line(self, cells: Sequence[Squares]) -> list[Variance]:
        """Those of the cells that sessions move unlike the others, and enough to matter.

        Of a single round among several it may be the round that was off, which a diff allows for by
        itself.
        """
        prior = self.between.prior
        prior = VariancePrior(prior.variance, max(prior.df, _FEW_CELLS_DF))
        known = [each for each in cells if each.within.df or not self.rounds.df]
        quiet = [as_quiet(each, self.rounds) for each in known]
        return [
            each for each in quiet if each.df and each.sd > _WILD_SD and is_out_of_line(each, prior)
        ]


def squares_of(repeats: Iterable[Repeat]) -> tuple[dict[str, Squares], Variance]:
    """By cell what sessions do to it, and what they do to all cells alike."""
    states: dict[Hashable, dict[str, list[Repeat]]] = defaultdict(lambda: defaultdict(list))
    for each in repeats:
        states[each.state][each.cell].append(each)
    parts: dict[str, list[Squares]] = defaultdict(list)
    commons = []
    for cells in states.values():
        repeated = {cell: listed for cell, listed in cells.items() if len(listed) > 1}
        shifts = _common_shifts(repeated)
        if len(shifts) > 1:
            commons.append(Variance(float(np.var(list(shifts.values()), ddof=1)), len(shifts) - 1))
        for cell, listed in repeated.items():
            parts[cell].append(_squares(listed, shifts))
    common = pooled(commons)
    common = Variance(max(common.value, MIN_COMMON_SD**2), common.df)
    return {cell: _joined(listed) for cell, listed in parts.items()}, common


def seen(cells: Sequence[Squares]) -> Seen | None:
    """What the cells show together; None for none."""
    cells = [each for each in cells if each.between.df > 0]
    if not cells:
        return None
    within = [each.within for each in cells if each.within.df > 0]
    rounds = _moderated(within) if within else None
    spread = Variance(rounds.prior.variance, _prior_df(rounds)) if rounds else UNKNOWN
    between = _moderated([as_quiet(each, spread) for each in cells])
    left = spread.value / median(each.rounds for each in cells)
    return Seen(between, left, spread, len(cells))


def as_quiet(cell: Squares, rounds: Variance) -> Variance:
    """The variance between sessions if the cell's rounds spread no more than those of others.

    A round that is far off moves its session's mean, which in a diff the rounds themselves show.
    """
    noisy = max(1.0, cell.within.value / rounds.value) if rounds.value and cell.within.df else 1.0
    return Variance(cell.between.value / noisy, cell.between.df)


def between_cards(repeats: Iterable[Repeat]) -> Variance:
    """Of a cell's mean log time between cards of one model, by states that several ran."""
    cells: dict[Hashable, dict[Hashable, list[float]]] = defaultdict(lambda: defaultdict(list))
    for each in repeats:
        cells[each.cell][each.card].append(each.mean)
    means = [[fmean(logs) for logs in by_card.values()] for by_card in cells.values()]
    sizes = [abs(log - listed[0]) for listed in means for log in listed[1:]]
    if not sizes:
        return UNKNOWN
    # Of a few cells cards differ much more than of the rest: a normal's tail goes through theirs.
    tail = float(np.quantile(sizes, _TAIL)) / NormalDist().inv_cdf((1 + _TAIL) / 2)
    cards = {card for by_card in cells.values() if len(by_card) > 1 for card in by_card}
    # A card differs in many cells at once: they are not so many independent cards.
    return Variance(tail**2 / 2, len(cards) - 1)


def pooled(variances: Sequence[Variance]) -> Variance:
    """One variance from independent estimates of it."""
    df = math.fsum(each.df for each in variances)
    squares = math.fsum(each.value * each.df for each in variances)
    return Variance(squares / df, df) if df else UNKNOWN


def _common_shifts(cells: Mapping[str, Sequence[Repeat]]) -> dict[Hashable, float]:
    """By session its shift of all cells, by median polish; empty where too few cells tell it."""
    if len(cells) < _MIN_COMMON_CELLS:
        return {}
    sessions = dict.fromkeys(each.session for listed in cells.values() for each in listed)
    shifts = dict.fromkeys(sessions, 0.0)
    for _ in range(4):
        left: dict[Hashable, list[float]] = defaultdict(list)
        for listed in cells.values():
            centre = fmean(each.mean - shifts[each.session] for each in listed)
            for each in listed:
                left[each.session].append(each.mean - centre)
        shifts = {session: median(logs) for session, logs in left.items()}
    return shifts


def _squares(listed: Sequence[Repeat], shifts: Mapping[Hashable, float]) -> Squares:
    means = [each.mean - shifts.get(each.session, 0.0) for each in listed]
    sessions = tuple(
        Variance(float(np.var(np.log(each.rounds), ddof=1)), len(each.rounds) - 1)
        for each in listed
        if len(each.rounds) > 1
    )
    stratum = duration_stratum(math.exp(fmean(each.mean for each in listed)))
    return Squares(
        group=(listed[0].family, stratum),
        between=Variance(float(np.var(means, ddof=1)), len(means) - 1),
        sessions=sessions,
        rounds=fmean(len(each.rounds) for each in listed),
    )


def _joined(parts: Sequence[Squares]) -> Squares:
    """One cell in several states of the code."""
    return Squares(
        parts[0].group,
        pooled([each.between for each in parts]),
        tuple(session for each in parts for session in each.sessions),
        fmean(each.rounds for each in parts),
    )


def _moderated(variances: Sequence[Variance]) -> Moderation:
    if len(variances) >= MIN_CELLS:
        values = [max(each.value, MIN_FITTED_VARIANCE) for each in variances]
        return moderate(values, [each.df for each in variances])
    all_of_them = pooled(variances)
    value = max(all_of_them.value, MIN_ROUND_SD**2 / 10)
    return Moderation(VariancePrior(value, _FEW_CELLS_DF), all_of_them.df, TAME)


def _prior_df(moderation: Moderation) -> float:
    return min(moderation.prior.df, moderation.pooled_df)
