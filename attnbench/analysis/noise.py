"""The measured difference of equal code, and how often it would count as a change."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from attnbench.analysis.compare import compare_sides
from attnbench.analysis.estimate import Cell, Noise, Stratum, estimate_all
from attnbench.analysis.groups import Group
from attnbench.analysis.machine_noise import MachineNoise
from attnbench.analysis.repeats import Repeat, seen, squares_of
from attnbench.analysis.verdict import ALPHA, MARGIN, detectable
from attnbench.stats.binomial import upper_bound

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
    session_sd: float | None  # of what a session does to a ln time; None for fewer than two
    common_sd: float | None  # of what it does to all cells alike
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


def find_noise(cases: Sequence[Repeated], earlier: MachineNoise) -> list[GroupNoise]:
    """The noise of each group, from cases that all have the same number of sessions.

    No comparison is judged by noise that it has a part in itself. The interleaved pair is judged
    by what was known `earlier`. Sessions are compared first with second, third with fourth and so
    on, since one that counted twice would make the bound too narrow; each two are judged by the
    other sessions and what was known earlier.
    """
    groups: dict[Group, list[Repeated]] = defaultdict(list)
    for case in cases:
        groups[case.group].append(case)
    known = {group: earlier.noise(*group) for group in groups}
    now = _with_sessions(earlier, cases, ())
    found = {group: now.noise(*group) for group in groups}
    pairs = [case.pair for case in cases]
    apart = [case.apart(0, 1) for case in cases if len(case.sessions) > 1]
    interleaved = _false_verdicts(cases, pairs, known)
    separate = _false_between_sessions(cases, earlier)
    detectable_in_pairs = _detectable(cases, pairs, found)
    detectable_apart = _detectable(cases, apart, found)
    return [
        GroupNoise(
            *group,
            num_cells=len(members),
            floor=noise_floor([case.pair for case in members]),
            session_sd=_session_sd(members),
            common_sd=found[group].common.sd if apart else None,
            interleaved=FalseVerdicts(interleaved[group], len(members)),
            separate=FalseVerdicts(separate[group], sum(len(c.sessions) // 2 for c in members)),
            found_interleaved=_medians(detectable_in_pairs[group]),
            found_separate=_medians(detectable_apart[group]),
        )
        for group, members in groups.items()
    ]


def _session_sd(cases: Sequence[Repeated]) -> float | None:
    found = seen(list(squares_of(_repeats(cases, ()))[0].values()))
    return None if found is None else found.session().sd


def _repeats(cases: Sequence[Repeated], without: Sequence[int]) -> list[Repeat]:
    return [
        Repeat("selfcheck", "", at, case.family, case.pair.key, tuple(rounds))
        for case in cases
        for at, rounds in enumerate(case.sessions)
        if at not in without
    ]


def _with_sessions(
    earlier: MachineNoise, cases: Sequence[Repeated], without: Sequence[int]
) -> MachineNoise:
    """With what these sessions show too, some of them apart."""
    return replace(earlier, repeats=(*earlier.repeats, *_repeats(cases, without)))


def _false_between_sessions(cases: Sequence[Repeated], earlier: MachineNoise) -> Counter[Group]:
    """The false verdicts of the first session against the second, third against fourth, ..."""
    total: Counter[Group] = Counter()
    for first in range(0, len(cases[0].sessions) - 1 if cases else 0, 2):
        others = _with_sessions(earlier, cases, (first, first + 1))
        noises = {case.group: others.noise(*case.group) for case in cases}
        cells = [case.apart(first, first + 1) for case in cases]
        total += _false_verdicts(cases, cells, noises)
    return total


def _false_verdicts(
    cases: Sequence[Repeated], cells: Sequence[Cell], noises: Mapping[Group, Noise]
) -> Counter[Group]:
    """The number of cells with verdict faster or slower, by group."""
    groups = {case.pair.key: case.group for case in cases}
    found = compare_sides(cells, lambda cell: noises[groups[cell.key]], MARGIN)
    return Counter(groups[c.key] for c in found.comparisons if c.verdict in ("faster", "slower"))


def _detectable(
    cases: Sequence[Repeated], cells: Sequence[Cell], noises: Mapping[Group, Noise]
) -> defaultdict[Group, list[list[float]]]:
    """By group, the changes PLANNED_ROUNDS would find in each cell with a known spread."""
    groups = {case.pair.key: case.group for case in cases}
    of_cells = [noises[groups[cell.key]] for cell in cells]
    found: defaultdict[Group, list[list[float]]] = defaultdict(list)
    limit = math.log1p(MARGIN)
    for cell, estimate in zip(cells, estimate_all(cells, of_cells), strict=True):
        if estimate.known:
            # As one finding in a diff of these cells.
            level = ALPHA / len(cells)
            planned = [detectable(estimate.at_rounds(r), limit, level) for r in PLANNED_ROUNDS]
            found[groups[cell.key]].append(planned)
    return found


def _medians(cells: Sequence[Sequence[float]]) -> list[float | None]:
    if not cells:
        return [None] * len(PLANNED_ROUNDS)
    return [median(column) for column in zip(*cells, strict=True)]
