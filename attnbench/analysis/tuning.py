"""Contenders: a series, or an implementation at its best setting of some knobs.

The best of several noisy times is too good. For a fair judgement of an implementation with several
settings, no round chooses the setting it times: for each round the other rounds choose the best
setting, and its time in that round counts.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from attnbench.analysis.series import Series, Times, mean_time
from attnbench.specs.case import Case, Value

SERVER = ("max_model_len", "mixed_windows")  # knobs that identify the server and its model
AS_SERVED = ("decode_kernel", "served")  # a server's own choice: it needs no name
Setting = tuple[tuple[str, Value], ...]  # knobs by name; empty if all are left to the backend
Round = tuple[int | str, int]  # as in Times


@dataclass(frozen=True, slots=True)
class Contender:
    """A series with a time, or several that differ only in the tuned knobs, as one."""

    series: Series  # at the best setting over all rounds
    times: Times
    knobs: tuple[str, ...] = ()  # the tuned ones
    num_settings: int = 1

    @classmethod
    def of(cls, series: Series) -> "Contender":
        """A series without tuning."""
        return cls(series, series.times)

    @property
    def case(self) -> Case:
        """The case without its tuned knobs."""
        return without_knobs(self.series.case, self.knobs)

    @property
    def chosen(self) -> Setting:
        """The best setting of the tuned knobs over all rounds."""
        return setting_of(self.series.case, self.knobs)

    @property
    def seconds(self) -> float:
        """The geometric mean of the rounds."""
        return mean_time(self.times.values())

    @property
    def name(self) -> str:
        """The backend, its other knobs, and the chosen setting.

        The server and what it does by itself are named only if they were chosen.
        """
        own = [each for each in without_knobs(self.case, SERVER).knobs if each != AS_SERVED]
        settings = [f"{name} {value}" for name, value in (*own, *self.chosen)]
        beside = [f"{self.case.layout}"] if self.case.layout else []
        return ", ".join([self.case.backend, *beside, *settings])


def tuned(listed: Sequence[Series], knobs: Collection[str]) -> list[Contender]:
    """The series with a time; those that differ only in `knobs` become one contender."""
    return [_tuned(settings, tuple(knobs)) for settings in by_setting(listed, knobs)]


def by_setting(listed: Sequence[Series], knobs: Collection[str]) -> list[dict[Setting, Series]]:
    """The series with a time, grouped by all but `knobs`; each group by their values."""
    groups: dict[object, dict[Setting, Series]] = {}
    for series in listed:
        if series.timed:
            rest = without_knobs(series.case, knobs), series.cache_state, series.regime
            groups.setdefault(rest, {})[setting_of(series.case, knobs)] = series
    return list(groups.values())


def without_knobs(case: Case, knobs: Collection[str]) -> Case:
    """The case with these knobs left to the backend."""
    return replace(case, knobs=tuple(knob for knob in case.knobs if knob[0] not in knobs))


def setting_of(case: Case, knobs: Collection[str]) -> Setting:
    """The values of these knobs that the case sets."""
    return tuple(knob for knob in case.knobs if knob[0] in knobs)


def cross_fitted(settings: Mapping[Setting, Times]) -> Times:
    """For each round that all settings have, the time of the setting chosen by the other rounds.

    A single round chooses by itself, which is too good if there are several settings.
    """
    shared = common_rounds(settings)
    if not shared:  # a setting failed in some rounds: use the one with the most rounds
        return max(settings.values(), key=len)
    return {
        round_: settings[best_setting(settings, shared - {round_} or shared)][round_]
        for round_ in min(settings.values(), key=len)
        if round_ in shared
    }


def common_rounds(settings: Mapping[Setting, Times]) -> set[Round]:
    """The rounds in which every setting has a time."""
    return set.intersection(*(set(times) for times in settings.values()))


def best_setting(settings: Mapping[Setting, Times], rounds: Collection[Round]) -> Setting:
    """The setting with the least mean ln time over these rounds."""

    def mean(setting: Setting) -> float:
        logs = [math.log(t) for r, t in settings[setting].items() if r in rounds]
        return fmean(logs) if logs else math.inf

    return min(settings, key=mean)


def _tuned(settings: Mapping[Setting, Series], knobs: tuple[str, ...]) -> Contender:
    by_setting = {setting: series.times for setting, series in settings.items()}
    times = cross_fitted(by_setting)
    best = best_setting(by_setting, times)
    return Contender(settings[best], times, knobs, len(settings))
