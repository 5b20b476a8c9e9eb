"""Where each implementation of a workload stands: the best, tied with it, or slower."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.pairing import Pair, cell_of
from attnbench.analysis.series import Series
from attnbench.analysis.verdict import Comparison
from attnbench.families import family_of

Place = Literal["best", "tie", "slower", "unknown", "alone"]


@dataclass(frozen=True, slots=True)
class Standing:
    """A series among those of its workload.

    `comparison` is of its times over the best's; None for the best itself, and where there is no
    other.
    """

    series: Series
    best: Series
    rivals: int  # other implementations of the workload
    comparison: Comparison | None

    @property
    def place(self) -> Place:
        """tie: no difference from the best beyond the margin is shown; unknown: no spread is."""
        if self.comparison is None:
            return "best" if self.rivals else "alone"
        if self.comparison.low is None:
            return "unknown"
        return "slower" if self.comparison.verdict == "slower" else "tie"

    @property
    def reach(self) -> float | None:
        """Half the 95 % interval of the ratio, relative to it; None where it is not known."""
        found = self.comparison
        if found is None or found.low is None or found.high is None:
            return None
        return found.high / found.ratio - 1


def standings(
    timed: Sequence[Series], noise: Callable[[Series, Cell], Noise], margin: float = 0.01
) -> list[Standing]:
    """Each series against the best of its workload, in order; all of them have a time.

    The best is the one of least mean time; what met another state of the cache is no rival. The
    tests are those of `compare` over all cells at once, so that the share of false losers among
    all losers stays at 5 %.
    """
    groups: dict[tuple[str, str, object], list[Series]] = defaultdict(list)
    for each in timed:
        groups[_workload(each)].append(each)
    best = {key: min(listed, key=_mean_time) for key, listed in groups.items()}
    pairs = [Pair(best[key], each) for each in timed if best[key := _workload(each)] is not each]
    cells = [cell_of(pair, {}) for pair in pairs]
    noises = {c.key: noise(pair.head, c) for c, pair in zip(cells, pairs, strict=True)}
    found = compare(cells, lambda cell: noises[cell.key], margin)
    compared = {id(pair.head): each for pair, each in zip(pairs, found, strict=True)}
    return [
        Standing(
            series=each,
            best=best[_workload(each)],
            rivals=len(groups[_workload(each)]) - 1,
            comparison=compared.get(id(each)),
        )
        for each in timed
    ]


def _workload(series: Series) -> tuple[str, str, object]:
    """What rows must share to be ranked: at scope kernel MLA's two paths do unequal work."""
    unequal = family_of(series.case).two_paths and series.case.scope == "kernel"
    split = series.timed[0].outcome.decode_requests if unequal else None
    return series.first.workload_key, series.cache_state, split


def _mean_time(series: Series) -> float:
    assert series.mean_time is not None
    return series.mean_time
