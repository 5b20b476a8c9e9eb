"""Where along a sweep another implementation becomes the best, as studies find crossovers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from attnbench.analysis.crossover import Crossover, Rounds, find_crossover, points_of
from attnbench.analysis.fields import Fields
from attnbench.analysis.pairing import cell_between
from attnbench.analysis.ranking import Ranking
from attnbench.analysis.series import Series
from attnbench.reporting.html.sweeps import Sweep, choices_of
from attnbench.results.cohort import Cohort

Line = Mapping[int, Series]  # by place on the axis
Curve = tuple[int, str, int]  # sweep, who wins after a change, and from which place on


@dataclass(frozen=True, slots=True)
class Crossing:
    """A change of the best; `found.low` is the last place before it, `found.high` the first after.

    Between them neither is shown to be faster.
    """

    name: str  # of the implementation that is the best from there on
    found: Crossover


def crossings(cohort: Cohort, listed: Sequence[Sweep]) -> list[list[Crossing]]:
    """The changes of the best along each sweep, between workloads with one that is shown to win.

    All are judged together, as the curves of a study are.
    """
    rankings = {id(each.best.series): each for each in cohort.rankings if each.outcome == "won"}
    curves: dict[Curve, Mapping[int, tuple[Rounds, Rounds]]] = {}
    for at, sweep in enumerate(listed):
        lines = _lines(sweep, cohort.fields)
        for (low, before), (high, after) in pairwise(_winners(lines, rankings)):
            if before != after:
                curves[at, after, high] = _rounds(lines[before], lines[after], low, high)
    points = points_of(curves, lambda cell: cohort.noise_of(cohort.timed[0], cell))
    found: list[list[Crossing]] = [[] for _ in listed]
    for (at, after, _), own in points.items():
        crossover = find_crossover(own)
        if crossover.estimate is not None:
            found[at].append(Crossing(after, crossover))
    return found


def _lines(sweep: Sweep, fields: Fields) -> Mapping[str, Line]:
    """By implementation; none along a setting of an implementation, which is no workload."""
    if sweep.axis in choices_of(sweep.points[0][1].case, fields):
        return {}
    return {
        name: {int(place): series for place, series in points}
        for name, points in sweep.lines(fields).items()
    }


def _winners(lines: Mapping[str, Line], rankings: Mapping[int, Ranking]) -> list[tuple[int, str]]:
    """The implementations that are shown to win, by place."""
    return sorted(
        (place, name)
        for name, line in lines.items()
        for place, series in line.items()
        if id(series) in rankings
    )


def _rounds(before: Line, after: Line, low: int, high: int) -> Mapping[int, tuple[Rounds, Rounds]]:
    places = [x for x in before if x in after and low <= x <= high]
    cells = {x: cell_between("", before[x].times, after[x].times) for x in places}
    return {x: (cell.base, cell.head) for x, cell in cells.items() if cell.paired}
