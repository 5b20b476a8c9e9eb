"""The best value of a knob for each workload, what auto loses against it, and a simple rule."""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.series import Series
from attnbench.analysis.tuning import Times, best_setting, cell, cross_fitted, times_of
from attnbench.analysis.verdict import Comparison
from attnbench.specs.case import Case, Value

Setting = tuple[tuple[str, Value], ...]
AUTO: Setting = ()


@dataclass(frozen=True, slots=True)
class Optimum:
    """One workload of one backend; the case is without the knob."""

    case: Case
    settings: Mapping[Setting, Times]
    best: Setting
    ties: tuple[Setting, ...]  # others not slower outside noise, as far as rounds can tell
    regret: Comparison | None  # auto's time over the tuned one's; None without auto

    def ratio(self, setting: Setting) -> float:
        """A setting's time over auto's, the geometric mean over common rounds."""
        base, head = self.settings[AUTO], self.settings[setting]
        shared = base.keys() & head.keys()
        return math.exp(fmean(math.log(head[r] / base[r]) for r in shared))


@dataclass(frozen=True, slots=True)
class Rule:
    """A setting for each value of an axis, and its time over auto's, judged by other rounds."""

    settings: Mapping[Hashable, Setting]
    ratio: float  # geometric mean over the workloads
    worst: float


def optima(listed: Sequence[Series], knob: str, noise: Callable[[Cell], Noise]) -> list[Optimum]:
    """The optimum of each case that has times for two settings of the knob or more."""
    groups: dict[Case, dict[Setting, Times]] = defaultdict(dict)
    for series in listed:
        if series.timed:
            rest = tuple(each for each in series.case.knobs if each[0] != knob)
            setting = tuple(each for each in series.case.knobs if each[0] == knob)
            groups[replace(series.case, knobs=rest)][setting] = times_of(series)
    several = {case: settings for case, settings in groups.items() if len(settings) > 1}
    best = {case: best_setting(s, _rounds(s)) for case, s in several.items()}
    ties = _ties(several, best, noise)
    regrets = _regrets(several, noise)
    return [
        Optimum(case, settings, best[case], tuple(ties[case]), regrets.get(case))
        for case, settings in several.items()
    ]


def _ties(
    groups: Mapping[Case, Mapping[Setting, Times]],
    best: Mapping[Case, Setting],
    noise: Callable[[Cell], Noise],
) -> dict[Case, list[Setting]]:
    places = [
        (case, setting, found)
        for case, settings in groups.items()
        for setting, times in settings.items()
        if setting != best[case]
        and (found := cell(case.key, settings[best[case]], times)) is not None
    ]
    ties: dict[Case, list[Setting]] = {case: [] for case in groups}
    verdicts = compare([found for *_, found in places], noise)
    for (case, setting, _), verdict in zip(places, verdicts, strict=True):
        if verdict.low is not None and verdict.verdict != "slower":
            ties[case].append(setting)
    return ties


def _regrets(
    groups: Mapping[Case, Mapping[Setting, Times]], noise: Callable[[Cell], Noise]
) -> dict[Case, Comparison]:
    """Auto against the tuned time, whose rounds were chosen by the others."""
    places = [
        (case, found)
        for case, settings in groups.items()
        if AUTO in settings
        and (found := cell(case.key, cross_fitted(settings), settings[AUTO])) is not None
    ]
    verdicts = compare([found for _, found in places], noise)
    return {case: verdict for (case, _), verdict in zip(places, verdicts, strict=True)}


def propose(found: Sequence[Optimum], axis: Callable[[Case], Hashable]) -> Rule | None:
    """For each value of an axis the setting with the least mean ln time; None without auto.

    Each round is judged by what the others would have chosen; None too where none has others.
    """
    usable = [each for each in found if len(each.settings.get(AUTO, ())) > 1]
    if not usable:
        return None
    groups: dict[Hashable, list[Optimum]] = defaultdict(list)
    for each in usable:
        groups[axis(each.case)].append(each)
    ratios = [ratio for members in groups.values() for ratio in _ratios(members)]
    settings = {value: _common_best(members, None) for value, members in groups.items()}
    return Rule(settings, math.exp(fmean(map(math.log, ratios))), max(ratios))


def _ratios(members: Sequence[Optimum]) -> list[float]:
    """For each workload the time of what the other rounds chose for the group over auto's."""
    found = []
    for each in members:
        logs = []
        for round_, auto in each.settings[AUTO].items():
            time = each.settings[_common_best(members, round_)].get(round_)
            if time is not None:
                logs.append(math.log(time / auto))
        found.append(math.exp(fmean(logs)) if logs else 1.0)
    return found


def _common_best(members: Sequence[Optimum], without: int | None) -> Setting:
    """The setting, of those that all workloads have, with the least mean ln time."""
    shared = [s for s in members[0].settings if all(s in each.settings for each in members)]

    def mean(setting: Setting) -> float:
        logs = [
            math.log(time)
            for each in members
            for round_, time in each.settings[setting].items()
            if round_ != without
        ]
        return fmean(logs) if logs else math.inf

    return min(shared, key=mean)


def _rounds(settings: Mapping[Setting, Times]) -> set[int]:
    shared = set.intersection(*(set(times) for times in settings.values()))
    return shared or set.union(*(set(times) for times in settings.values()))
