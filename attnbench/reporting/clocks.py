"""Workloads whose backends ran at different clocks, and rank differently by cycles than by time."""

from attnbench.analysis.ranking import Ranking
from attnbench.results.cohort import Cohort
from attnbench.units import change_in_percent, clock_column

MOST = 5  # workloads listed in full


def cycle_lines(cohort: Cohort) -> list[str]:
    """A line per workload with another best by cycles, and the number of further ones."""
    found = [each for each in cohort.rankings if each.fewest_cycles is not None]
    more = [f"by SM cycles another leads in {len(found) - MOST} more"] if len(found) > MOST else []
    return [*(_line(cohort, each) for each in found[:MOST]), *more]


def _line(cohort: Cohort, ranking: Ranking) -> str:
    """E.g. "fa2 q1k: best by time; by SM cycles flash q1k (-2.4 %, at 1.64, not 1.72 GHz)"."""
    best, rival = ranking.best.series, ranking.fewest_cycles
    assert rival is not None
    pair = [(each.cycles or 0.0, each.time or 1.0) for each in (rival.series, best)]
    (fewer, _), (more, _) = pair
    unit, (slow, fast) = clock_column([cycles / time for cycles, time in pair])
    best_name, name = (cohort.fields.describe(each.case) for each in (best, rival))
    return (
        f"{best_name}: {ranking.place} by time; by SM cycles {name} "
        f"({change_in_percent(fewer / more)} %, at {slow}, not {fast} {unit})"
    )
