"""Cases over versions of the code: their times and steps."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import geometric_mean

import numpy as np

from attnbench.analysis.estimate import MIN_ROUND_SD, Noise, duration_stratum
from attnbench.analysis.series import Series, half_range, series_of
from attnbench.analysis.steps import Step, find_steps
from attnbench.analysis.track import Track
from attnbench.db.lookup import find_cases, measurements_of
from attnbench.db.store import Store
from attnbench.errors import UsageError
from attnbench.provenance.git import ancestry
from attnbench.records import Measurement, Run, Status
from attnbench.results.noise import Noises
from attnbench.results.possible import possible
from attnbench.results.versions import in_order_of_release, state_of, version_names
from attnbench.results.where import Condition, case_facts, matching
from attnbench.specs.case import Case
from attnbench.specs.shape import DIMS

# Fields that no backend chooses itself, so cases can be filtered before they are read.
_ASKED = {"family", "backend", "batch", "dtype", "kv_cache_dtype", "scope", *DIMS} | {
    "q_len",
    "kv_len",
    "num_requests",
    "num_tokens",
    "num_kv_tokens",
}


@dataclass(frozen=True)
class Version:
    """One state of the code with the runs that measured it, at least one, oldest first."""

    runs: tuple[Run, ...]
    series: tuple[Series, ...]  # of each run, with a time

    @property
    def commit(self) -> str | None:
        """The full hash; None if the code under test was not in a git tree."""
        return self.runs[0].commit

    @cached_property
    def time(self) -> float:
        """The geometric mean over the runs, seconds per call."""
        return geometric_mean(each.time for each in self.series if each.time)

    @property
    def limits(self) -> tuple[float, float] | None:
        """The range of the rounds' medians over all runs, as `Series.limits`."""
        return Series(tuple(round_ for each in self.series for round_ in each.rounds)).limits

    @property
    def spread(self) -> float | None:
        """Half the distance of the limits, relative to the time."""
        return half_range(self.limits, self.time)


@dataclass(frozen=True)
class History:
    """One case, method, regime and machine model over versions, oldest first."""

    versions: Sequence[Version]
    noise: Noise
    by_ancestry: bool  # whether the order is that of the code; else it is that of measuring

    @property
    def series(self) -> Series:
        """A series, for the facts that all share."""
        return self.versions[0].series[0]

    @property
    def case(self) -> Case:
        """The measured case."""
        return self.series.case

    @cached_property
    def names(self) -> list[str]:
        """A name of each version: its commit, or its release."""
        return version_names([each.runs[0] for each in self.versions])

    @cached_property
    def track(self) -> Track:
        """The data to search for steps."""
        return Track(
            times=[each.time for each in self.versions],
            sessions=[len(each.runs) for each in self.versions],
            sd=max(MIN_ROUND_SD, math.sqrt(self._session_variance() + self._rounds_sd() ** 2)),
            newest=newest[0].number if len(newest := self.versions[-1].runs) == 1 else None,
            wild=self.noise.wild,
            unseen=not self.noise.stored,
        )

    def _session_variance(self) -> float:
        return self.noise.session.value + self.noise.common.value

    def _rounds_sd(self) -> float:
        """The rounds' spread in the mean of one run; 0 if no run has several rounds."""
        logs = [np.log(each.medians) for version in self.versions for each in version.series]
        spread = [each for each in logs if len(each) > 1]
        df = sum(len(each) - 1 for each in spread)
        if not df:
            return 0.0
        variance = sum(float(np.var(each)) * len(each) for each in spread) / df
        return float(np.sqrt(variance / np.mean([len(each) for each in logs])))


def histories(
    store: Store,
    case: str,
    where: Sequence[Condition],
    tree: Path | None,
) -> list[History]:
    """The cases whose key starts with `case` and that meet all conditions, over all versions.

    Versions are in the order of ancestry if `tree` has all commits. Raises UsageError if no
    measurement has a time.
    """
    found = _right(_measurements(store, case, where))
    runs = {run.number: run for run in store.runs({each.run for each in found})}
    found = matching(found, runs, where)
    if not (listed := _grouped(store, found, runs, Noises(store), tree)):
        asked = " ".join([*([f"--case {case}"] if case else []), *map(str, where)])
        raise UsageError(
            f"{asked}: no such case has a time; `attnbench report --ids` shows the keys of cases, "
            "`attnbench report --format csv` their fields"
        )
    return listed


def histories_of(
    store: Store,
    cases: Collection[str],
    runs: Mapping[int, Run],
    noises: Noises,
    tree: Path | None,
) -> list[History]:
    """The histories of the cases with these keys, as far as they have times."""
    return _grouped(store, _right(measurements_of(store, cases)), runs, noises, tree)


def _grouped(
    store: Store,
    found: Sequence[Measurement],
    runs: Mapping[int, Run],
    noises: Noises,
    tree: Path | None,
) -> list[History]:
    by_run: dict[int, list[Measurement]] = defaultdict(list)
    for each in found:
        by_run[each.run].append(each)
    groups: dict[object, list[Series]] = defaultdict(list)
    for series in possible(store, [each for run in by_run.values() for each in series_of(run)]):
        groups[series.key, series.regime].append(series)
    return [_history(noises, listed, runs, tree) for listed in groups.values()]


def _right(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Those with a time, without cases that were incorrect in any round of their run."""
    wrong = {_of_run(each) for each in measurements if each.status is Status.INCORRECT}
    return [each for each in measurements if each.median is not None and _of_run(each) not in wrong]


def _of_run(measurement: Measurement) -> tuple[int, str, str]:
    return measurement.run, measurement.case_key, measurement.method_key


def all_steps(listed: Sequence[History], margin: float) -> list[list[Step]]:
    """The steps of each history, tested together."""
    return find_steps([each.track for each in listed], margin)


def _measurements(store: Store, case: str, where: Sequence[Condition]) -> list[Measurement]:
    early = [condition for condition in where if condition.name in _ASKED]
    keys = [
        key
        for key, each in find_cases(store, case).items()
        if all(condition.holds(case_facts(each)) for condition in early)
    ]
    return measurements_of(store, keys)


def _history(
    noises: Noises, listed: Sequence[Series], runs: Mapping[int, Run], tree: Path | None
) -> History:
    """The history of series, one per run and oldest first, grouped by version."""
    groups: dict[object, list[tuple[Run, Series]]] = defaultdict(list)
    for series in listed:
        run = runs[series.first.run]
        groups[state_of(run)].append((run, series))
    versions = [
        Version(tuple(run for run, _ in pairs), tuple(series for _, series in pairs))
        for pairs in groups.values()
    ]
    ordered = _ordered(versions, tree)
    noise = noises.between(listed[0], duration_stratum((ordered or versions)[0].time))
    return History(ordered or versions, noise, by_ancestry=ordered is not None)


def _ordered(versions: Sequence[Version], tree: Path | None) -> list[Version] | None:
    """The versions by ancestry or release, those that tie as measured; None if unknown."""
    if places := in_order_of_release([each.runs[0] for each in versions]):
        return [versions[place] for place in places]
    order = _ancestry(versions, tree)
    return None if order is None else sorted(versions, key=lambda each: order[each.commit or ""])


def _ancestry(versions: Iterable[Version], tree: Path | None) -> dict[str, int] | None:
    commits = [each.commit for each in versions]
    known = [each for each in commits if each is not None]
    if tree is None or len(known) < len(commits):
        return None
    listed = ancestry(tree, known)
    return None if listed is None else {commit: at for at, commit in enumerate(listed)}
