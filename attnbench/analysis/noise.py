"""The measured difference of equal code, and how often it would count as a change."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import numpy as np

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Cell, Noise, Stratum, estimate_all
from attnbench.analysis.verdict import MARGIN, detectable
from attnbench.stats.binomial import upper_bound

Group = tuple[str, Stratum]  # a family and a duration stratum
Rounds = Sequence[float]  # the median of each round of a run, seconds

# Numbers of rounds for which the smallest detectable change is given.
PLANNED_ROUNDS = (3, 5, 10)
_FLOOR_QUANTILE = 0.95
_MIN_PERCENTILE_CELLS = 20  # with fewer that percentile is the largest


@dataclass(frozen=True, slots=True)
class Repeated:
    """One case measured repeatedly with nothing changed."""

    family: str
    pair: Cell  # two interleaved runs
    sessions: Sequence[Rounds]  # separate runs, oldest first

    @property
    def group(self) -> Group:
        """The group that shares its noise."""
        return self.family, self.pair.stratum

    def apart(self, first: int, second: int) -> Cell:
        """A comparison of two of the sessions."""
        sides = tuple(self.sessions[first]), tuple(self.sessions[second])
        return Cell(self.pair.key, *sides, paired=False)


@dataclass(frozen=True, slots=True)
class FalseVerdicts:
    """The number of comparisons of equal code, and of those with verdict faster or slower."""

    count: int
    comparisons: int

    @property
    def upper(self) -> float:
        """The 95 % upper bound of their share."""
        return upper_bound(self.count, self.comparisons)


@dataclass(frozen=True, slots=True)
class GroupNoise:
    """The noise of one family and duration stratum."""

    family: str
    stratum: Stratum
    num_cells: int
    floor: float  # |ln ratio| that 95 % of interleaved pairs stay within
    session_sd: float | None  # of a session's effect on ln times; None for fewer than two
    interleaved: FalseVerdicts
    separate: FalseVerdicts
    # The smallest relative change that PLANNED_ROUNDS would find in the median cell, four times
    # in five; None if unknown.
    found_interleaved: Sequence[float | None]
    found_separate: Sequence[float | None]

    @property
    def floor_is_largest(self) -> bool:
        """Whether there are too few cells for a percentile, so the floor is the largest."""
        return self.num_cells < _MIN_PERCENTILE_CELLS


def noise_floor(pairs: Sequence[Cell]) -> float:
    """The 95th percentile of |mean ln ratio|: with fewer than 20 pairs the largest."""
    changes = [abs(float(np.mean(np.log(p.head)) - np.mean(np.log(p.base)))) for p in pairs]
    return float(np.quantile(changes, _FLOOR_QUANTILE, method="inverted_cdf"))


def session_sd(cases: Sequence[Sequence[Rounds]]) -> float | None:
    """The standard deviation of a session's effect on the ln times of all its rounds.

    `cases` holds each case's sessions. It is the variance of the sessions' means minus the part
    explained by the rounds' own variance, averaged over the cases and never below 0. A session of
    one round has no variance of its own, so nothing is subtracted. None without cases, or with
    fewer than two sessions.
    """
    if not cases or min(map(len, cases)) < 2:
        return None
    return math.sqrt(max(0.0, fmean(map(_between_sessions, cases))))


def _between_sessions(sessions: Sequence[Rounds]) -> float:
    logs = [np.log(rounds) for rounds in sessions]
    within = fmean(float(np.var(each, ddof=1)) / len(each) if len(each) > 1 else 0 for each in logs)
    return float(np.var([each.mean() for each in logs], ddof=1)) - within


def find_noise(
    cases: Sequence[Repeated], earlier: Callable[[Group], Noise], margin: float = MARGIN
) -> list[GroupNoise]:
    """The noise of each group, from cases that all have the same number of sessions.

    No comparison is judged by noise that it contributed to. The interleaved pair is judged by the
    `earlier` noise. Sessions are compared first with second, third with fourth and so on, since
    counting one twice would make the bound too narrow; each pair is judged by the interleaved
    pair's floor and the variance of the other sessions, or the earlier one if there are fewer than
    two others.
    """
    groups: dict[Group, list[Repeated]] = defaultdict(list)
    for case in cases:
        groups[case.group].append(case)
    known = {group: earlier(group) for group in groups}
    floors = {group: noise_floor([c.pair for c in each]) for group, each in groups.items()}
    sds = {group: session_sd([c.sessions for c in each]) for group, each in groups.items()}
    found = {group: Noise(sds[group] or 0.0, True, floors[group]) for group in groups}
    pairs = [case.pair for case in cases]
    apart = [case.apart(0, 1) for case in cases if len(case.sessions) > 1]
    interleaved = _false_verdicts(cases, pairs, known, margin)
    separate = _false_between_sessions(groups, known, floors, margin)
    detectable_in_pairs = _detectable(cases, pairs, found, margin)
    detectable_apart = _detectable(cases, apart, found, margin)
    return [
        GroupNoise(
            *group,
            num_cells=len(members),
            floor=floors[group],
            session_sd=sds[group],
            interleaved=FalseVerdicts(interleaved[group], len(members)),
            separate=FalseVerdicts(separate[group], sum(len(c.sessions) // 2 for c in members)),
            found_interleaved=_medians(detectable_in_pairs[group]),
            found_separate=_medians(detectable_apart[group]),
        )
        for group, members in groups.items()
    ]


def _false_between_sessions(
    groups: Mapping[Group, Sequence[Repeated]],
    known: Mapping[Group, Noise],
    floors: Mapping[Group, float],
    margin: float,
) -> Counter[Group]:
    """The false verdicts of the first session against the second, third against fourth, ..."""
    cases = [case for members in groups.values() for case in members]
    total: Counter[Group] = Counter()
    for first in range(0, len(cases[0].sessions) - 1 if cases else 0, 2):
        noises = {
            group: _noise_without(first, members, replace(known[group], floor=floors[group]))
            for group, members in groups.items()
        }
        cells = [case.apart(first, first + 1) for case in cases]
        total += _false_verdicts(cases, cells, noises, margin)
    return total


def _noise_without(first: int, cases: Sequence[Repeated], otherwise: Noise) -> Noise:
    """The noise with the variance of all sessions but that one and the next, if known."""
    sd = session_sd([[*case.sessions[:first], *case.sessions[first + 2 :]] for case in cases])
    return otherwise if sd is None else replace(otherwise, session_sd=sd, measured=True)


def _false_verdicts(
    cases: Sequence[Repeated], cells: Sequence[Cell], noises: Mapping[Group, Noise], margin: float
) -> Counter[Group]:
    """The number of cells with verdict faster or slower, by group."""
    groups = {case.pair.key: case.group for case in cases}
    comparisons = compare(cells, lambda cell: noises[groups[cell.key]], margin)
    return Counter(groups[c.key] for c in comparisons if c.verdict in ("faster", "slower"))


def _detectable(
    cases: Sequence[Repeated], cells: Sequence[Cell], noises: Mapping[Group, Noise], margin: float
) -> defaultdict[Group, list[list[float]]]:
    """By group, the changes PLANNED_ROUNDS would find in each cell with a known spread."""
    groups = {case.pair.key: case.group for case in cases}
    of_cells = [noises[groups[cell.key]] for cell in cells]
    found: defaultdict[Group, list[list[float]]] = defaultdict(list)
    for cell, noise, estimate in zip(cells, of_cells, estimate_all(cells, of_cells), strict=True):
        limit = max(math.log1p(margin), noise.floor)
        if estimate.known:
            planned = [detectable(estimate.at_rounds(r), limit) for r in PLANNED_ROUNDS]
            found[groups[cell.key]].append(planned)
    return found


def _medians(cells: Sequence[Sequence[float]]) -> list[float | None]:
    if not cells:
        return [None] * len(PLANNED_ROUNDS)
    return [median(column) for column in zip(*cells, strict=True)]
