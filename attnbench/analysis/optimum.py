"""The best value of a knob for each workload, auto's loss against it, and a simple rule."""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from attnbench.analysis.ranking import (
    AUTO,
    Place,
    Ranking,
    SeriesNoise,
    Standing,
    rank_groups,
)
from attnbench.analysis.regret import regrets
from attnbench.analysis.series import Series, Times
from attnbench.analysis.tuning import (
    Contender,
    Round,
    Setting,
    by_setting,
    common_rounds,
    setting_of,
    without_knobs,
)
from attnbench.analysis.verdict import Comparison
from attnbench.specs.case import Case


@dataclass(frozen=True, slots=True)
class Optimum:
    """One workload of one backend, with times for at least two settings of the knob."""

    knob: str
    ranking: Ranking
    settings: Mapping[Setting, Times]
    regret: Comparison | None  # auto's time over the cross-fitted best's; None if unknown

    @property
    def case(self) -> Case:
        """The case without the knob."""
        return without_knobs(self.ranking.best.series.case, (self.knob,))

    @property
    def standings(self) -> dict[Setting, Standing]:
        """The standing of each setting, the best first."""
        return {
            setting_of(each.contender.series.case, (self.knob,)): each
            for each in self.ranking.standings
        }

    @property
    def best(self) -> Setting:
        """The setting with the least time."""
        return next(iter(self.standings))

    def at(self, *places: Place) -> list[Setting]:
        """The settings at these places, from fast to slow."""
        return [setting for setting, each in self.standings.items() if each.place in places]


@dataclass(frozen=True, slots=True)
class Rule:
    """A setting for each value of an axis, and its time over auto's, judged by other rounds."""

    settings: Mapping[Hashable, Setting]
    ratio: float  # geometric mean over the workloads
    worst: float


def optima(listed: Sequence[Series], knob: str, noise: SeriesNoise) -> list[Optimum]:
    """The optimum of each case with times for at least two settings of the knob."""
    groups = [group for group in by_setting(listed, (knob,)) if len(group) > 1]
    settings = [{s: series.times for s, series in group.items()} for group in groups]
    rankings = rank_groups([[*map(Contender.of, group.values())] for group in groups], noise)
    firsts = [next(iter(group.values())) for group in groups]
    lost = regrets(settings, lambda at, cell: noise(firsts[at], cell))
    return [
        Optimum(knob, ranking, times, regret)
        for ranking, times, regret in zip(rankings, settings, lost, strict=True)
    ]


def propose(found: Sequence[Optimum], axis: Callable[[Case], Hashable]) -> Rule | None:
    """For each value of an axis the setting with the least mean ln time; None without auto.

    Each round judges the setting that the other rounds would have chosen, so workloads of which
    fewer than two rounds have all settings do not count.
    """
    usable = [e for e in found if AUTO in e.settings and len(common_rounds(e.settings)) > 1]
    if not usable:
        return None
    groups: dict[Hashable, list[Optimum]] = defaultdict(list)
    for each in usable:
        groups[axis(each.case)].append(each)
    ratios = [ratio for members in groups.values() for ratio in _ratios(members)]
    settings = {value: _common_best(members, None) for value, members in groups.items()}
    return Rule(settings, math.exp(fmean(map(math.log, ratios))), max(ratios))


def _ratios(members: Sequence[Optimum]) -> list[float]:
    """For each workload the time of the setting that other rounds chose, over auto's."""
    found = []
    for each in members:
        logs = []
        for round_, auto in each.settings[AUTO].items():
            time = each.settings[_common_best(members, round_)].get(round_)
            if time is not None:
                logs.append(math.log(time / auto))
        found.append(math.exp(fmean(logs)) if logs else 1.0)
    return found


def _common_best(members: Sequence[Optimum], without: Round | None) -> Setting:
    """The setting with the least mean ln time, among those of all workloads."""
    shared = [s for s in members[0].settings if all(s in each.settings for each in members)]

    def mean(setting: Setting) -> float:
        logs = [
            math.log(each.settings[setting][round_])
            for each in members
            for round_ in common_rounds(each.settings) - {without}
        ]
        return fmean(logs) if logs else math.inf

    return min(shared, key=mean)
