"""An implementation at its best setting, judged fairly: no round chooses what it is timed by.

The best of several noisy times is too good. So the setting of each round is the one that the other
rounds found best, and only then its time of that round counts.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, geometric_mean

from attnbench.analysis.estimate import Cell
from attnbench.analysis.series import Series
from attnbench.specs.case import Case, Value

Times = Mapping[int, float]  # seconds by round


@dataclass(frozen=True, slots=True)
class Timed:
    """A case, its tuned knobs taken out, with a time a round; `chosen` is best in all rounds."""

    case: Case
    times: Times
    chosen: tuple[tuple[str, Value], ...] = ()
    num_settings: int = 1

    @property
    def seconds(self) -> float:
        """The geometric mean of the rounds."""
        return geometric_mean(self.times.values())

    @property
    def name(self) -> str:
        """The backend, its other knobs, and what was chosen for it."""
        settings = [f"{name} {value}" for name, value in (*self.case.knobs, *self.chosen)]
        beside = [f"{self.case.layout}"] if self.case.layout else []
        return ", ".join([self.case.backend, *beside, *settings])


def times_of(series: Series) -> dict[int, float]:
    """The median of each timed round."""
    return {each.round: each.median for each in series.timed if each.median is not None}


def tuned(listed: Sequence[Series], knobs: Collection[str]) -> list[Timed]:
    """The series that have a time, those that differ in `knobs` alone as one."""
    groups: dict[Case, list[Series]] = {}
    for series in listed:
        if series.timed:
            groups.setdefault(_without(series.case, knobs), []).append(series)
    return [_best(case, group, knobs) for case, group in groups.items()]


def _without(case: Case, knobs: Collection[str]) -> Case:
    return replace(case, knobs=tuple(knob for knob in case.knobs if knob[0] not in knobs))


def _best(case: Case, group: Sequence[Series], knobs: Collection[str]) -> Timed:
    by_setting = {
        tuple(knob for knob in series.case.knobs if knob[0] in knobs): times_of(series)
        for series in group
    }
    times = cross_fitted(by_setting)
    return Timed(case, times, best_setting(by_setting, times), len(by_setting))


def cross_fitted(settings: Mapping[tuple[tuple[str, Value], ...], Times]) -> dict[int, float]:
    """For each round that all settings have, the time of what the other rounds chose.

    With a single round it is that round's best, which is too good where there are several.
    """
    shared = set.intersection(*(set(times) for times in settings.values()))
    if not shared:  # a setting failed in some rounds: the one with the most rounds stands for all
        most = max(settings, key=lambda setting: len(settings[setting]))
        return dict(settings[most])
    return {
        round_: settings[best_setting(settings, shared - {round_} or shared)][round_]
        for round_ in sorted(shared)
    }


def best_setting(
    settings: Mapping[tuple[tuple[str, Value], ...], Times], rounds: Collection[int]
) -> tuple[tuple[str, Value], ...]:
    """The setting with the least mean ln time over these rounds."""

    def mean(setting: tuple[tuple[str, Value], ...]) -> float:
        logs = [math.log(t) for r, t in settings[setting].items() if r in rounds]
        return fmean(logs) if logs else math.inf

    return min(settings, key=mean)


def cell(key: str, base: Times, head: Times) -> Cell | None:
    """The rounds that both sides have, the i-th with the i-th; None if they share none."""
    shared = sorted(base.keys() & head.keys())
    if not shared:
        return None
    sides = tuple(base[r] for r in shared), tuple(head[r] for r in shared)
    return Cell(key, *sides, paired=True)
