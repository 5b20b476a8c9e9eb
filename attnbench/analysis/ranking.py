"""The best of several contenders, those that tie with it, and the cost of another choice.

One rule for result tables, `report --best`, lines on knobs, studies, winner maps and plots: the
best has the least time over the rounds. Another is slower if `compare` shows it, ties if shown to
be within the margin, and is unclear otherwise. Single rounds rank nothing: the least of them is
only the quickest.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from attnbench.analysis.by_method import by_method
from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.pairing import cell_between
from attnbench.analysis.series import Series, mean_time
from attnbench.analysis.tuning import Contender, Setting, without_knobs
from attnbench.analysis.verdict import MARGIN, Comparison, Verdict
from attnbench.families import family_of

# same work: another threshold that splits the batch like the best's, whatever its time.
# untested: next to the quickest of single rounds.
Place = Literal["best", "quickest", "alone", "tie", "same work", "slower", "unclear", "untested"]
RankingOutcome = Literal["won", "tied", "unclear", "untested", "alone"]
SeriesNoise = Callable[[Series, Cell], Noise]

Rival = tuple[Contender, Cell, Comparison]
T = TypeVar("T")

AUTO: Setting = ()
_PLACES: Mapping[Verdict, Place] = {"slower": "slower", "same": "tie"}
_THRESHOLD = ("threshold",)


@dataclass(frozen=True, slots=True)
class Standing:
    """A contender among those of its workload."""

    contender: Contender
    place: Place
    comparison: Comparison | None = None  # of its times over the best's; None for the best
    is_partial: bool = False  # whether fewer rounds were compared than either has

    @property
    def reach(self) -> float | None:
        """Half the 95 % interval of the ratio, relative to it; None if unknown."""
        found = self.comparison
        if found is None or found.low is None or found.high is None:
            return None
        return found.high / found.ratio - 1


@dataclass(frozen=True, slots=True)
class Ranking:
    """The contenders of one workload, the best first, then from fast to slow; at least one."""

    standings: tuple[Standing, ...]

    @property
    def best(self) -> Contender:
        """The contender with the least time."""
        return self.standings[0].contender

    @property
    def place(self) -> Place:
        """Its place: best, quickest or alone."""
        return self.standings[0].place

    @property
    def ahead(self) -> list[Contender]:
        """Those of a single round that took less in it than the best, which none of them can be.

        Not where the other rounds failed.
        """
        partial = [s for s in self.standings if s.is_partial and not s.contender.series.failures]
        return [each.contender for each in partial if each.comparison and each.comparison.ratio < 1]

    @property
    def fewest_cycles(self) -> Contender | None:
        """The contender with the fewest SM cycles, if another than by time: the clock decided.

        None if it ties with the best, or takes less than 1 % fewer cycles.
        """
        beaten = self.at("slower", "unclear", "untested")
        known = [(cycles, each) for each in beaten if (cycles := each.series.cycles) is not None]
        best = self.best.series.cycles
        if not known or best is None:
            return None
        cycles, found = min(known, key=lambda pair: pair[0])
        return found if cycles * (1 + MARGIN) < best else None

    @property
    def outcome(self) -> RankingOutcome:
        """won: all others are shown to be slower; tied: some tie; unclear: some are neither."""
        places = {each.place for each in self.standings}
        if "alone" in places:
            return "alone"
        if "quickest" in places:
            return "untested"
        if "unclear" in places:
            return "unclear"
        return "tied" if "tie" in places else "won"

    @property
    def next(self) -> Standing | None:
        """The fastest of those shown to be slower, or the second of single rounds."""
        return next((s for s in self.standings if s.place in ("slower", "untested")), None)

    def at(self, *places: Place) -> list[Contender]:
        """The contenders at these places, from fast to slow."""
        return [each.contender for each in self.standings if each.place in places]


def rank(
    contenders: Iterable[Contender], noise: SeriesNoise, beside: Iterable[Contender] = ()
) -> list[Ranking]:
    """The ranking of each workload, in the order of its first contender.

    Those `beside` are tested with them, in workloads of their own, and not returned. Workloads of
    another method are tested apart, as they have a table of their own in `report`.
    """
    groups = _by_workload(contenders)
    tested = [*groups, *_by_workload(beside)]
    methods = [each[0].series.first.method_key for each in tested]
    return by_method(tested, methods, lambda alike: rank_groups(alike, noise))[: len(groups)]


def _by_workload(contenders: Iterable[Contender]) -> list[list[Contender]]:
    groups: dict[object, list[Contender]] = {}
    for each in contenders:
        groups.setdefault(_workload(each.series), []).append(each)
    return list(groups.values())


def rank_groups(groups: Sequence[Sequence[Contender]], noise: SeriesNoise) -> list[Ranking]:
    """The ranking of each group, in order.

    The tests are those of `compare` over all groups at once, which holds the share of false losers
    among all losers at 5 %.
    """
    best = [_best(group) for group in groups]
    rivals = [
        [
            (each, cell_between(f"{at}/{n}", best[at].times, each.times))
            for n, each in enumerate(group)
            if each is not best[at]
        ]
        for at, group in enumerate(groups)
    ]
    noises = {cell.key: noise(rival.series, cell) for listed in rivals for rival, cell in listed}
    cells = [cell for listed in rivals for _, cell in listed]
    found = compare(cells, lambda cell: noises[cell.key])
    by_key = {each.key: each for each in found}
    return [
        _ranking(top, [(rival, cell, by_key[cell.key]) for rival, cell in listed])
        for top, listed in zip(best, rivals, strict=True)
    ]


def _workload(series: Series) -> object:
    """The workload that contenders share: at scope kernel MLA's two paths do unequal work."""
    unequal = family_of(series.case).two_paths and series.case.scope == "kernel"
    split = series.split if unequal else None
    return series.first.workload_key, series.cache_state, series.regime, split


def _best(group: Sequence[Contender]) -> Contender:
    """The contender with the least time over shared rounds, of those that may be the best.

    Times over different rounds do not compare: on a device that slows down, early rounds look good.
    So all are compared with one of them, each over the rounds that it shares with that one. The SQL
    view `results` has the same rule.
    """
    candidates = may_be_best(
        group, lambda each: len(each.times), lambda each: bool(each.series.failures)
    )
    quickest = min(candidates, key=lambda each: each.seconds)

    def beside(each: Contender) -> float:
        cell = cell_between("", quickest.times, each.times)
        return mean_time(cell.head) / mean_time(cell.base)

    return min((quickest, *candidates), key=beside)


def may_be_best(
    group: Sequence[T], rounds: Callable[[T], int], has_failed: Callable[[T], bool]
) -> Sequence[T]:
    """Those of several rounds if two have them; else also those whose single round is their all."""
    several = [each for each in group if rounds(each) > 1]
    if len(several) > 1:
        return several
    return [each for each in group if each in several or not has_failed(each)] or group


def _ranking(best: Contender, rivals: Sequence[Rival]) -> Ranking:
    """The ranking of a group; if no rival was tested, the best is only the quickest.

    Not where one that took less cannot be the best, as its other rounds failed.
    """
    if not rivals:
        return Ranking((Standing(best, "alone"),))
    tested = any(_is_tested(each) or each[2].ratio < 1 for each in rivals)
    found = [_standing(best, each, tested) for each in sorted(rivals, key=lambda r: r[2].ratio)]
    return Ranking((Standing(best, "best" if tested else "quickest"), *found))


def _standing(best: Contender, against: Rival, tested: bool) -> Standing:
    rival, cell, found = against
    is_partial = cell.paired and len(cell.head) < max(len(best.times), len(rival.times))
    if _is_same_work(best.series, rival.series):
        place: Place = "same work"
    elif not tested:
        place = "untested"
    elif _is_tested(against):
        place = _PLACES.get(found.verdict, "unclear")
    else:
        place = "unclear"
    return Standing(rival, place, found, is_partial)


def _is_tested(against: Rival) -> bool:
    """Whether both sides have several rounds with a known spread."""
    _, cell, found = against
    return found.low is not None and cell.least_rounds > 1


def _is_same_work(one: Series, other: Series) -> bool:
    """Whether they differ only in the threshold, and split the batch alike."""
    if one.case.knob("threshold") == other.case.knob("threshold") or one.split != other.split:
        return False
    return without_knobs(one.case, _THRESHOLD) == without_knobs(other.case, _THRESHOLD)
