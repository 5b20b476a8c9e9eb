"""Cases that are equal but for one field, side by side."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from attnbench.analysis.axes import axis_text
from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Cell, Noise
from attnbench.analysis.pairing import cell_between
from attnbench.analysis.series import Series
from attnbench.analysis.tuning import Contender, tuned
from attnbench.analysis.verdict import Comparison

# Fields that are another's consequence: with another backend these need not be equal.
_FOLLOWS = {
    "backend": ("layout", "block_size"),
    "query_dtype": ("kv_cache_dtype",),
}


@dataclass(frozen=True, slots=True)
class Contrasted:
    """One cell: the second side's time over the first's, with its verdict."""

    base: Contender
    head: Contender
    comparison: Comparison


def contrast(
    listed: Sequence[Series],
    field: str,
    pair: tuple[str, str],
    noise: Callable[[Cell], Noise],
    tune: Sequence[str] = (),
) -> list[Contrasted]:
    """Every two cases that differ in the field alone and have times in common rounds."""
    sides = []
    for value in pair:
        found = [each for each in listed if axis_text(each.case, field) == value]
        sides.append({_rest(each, field): each for each in tuned(found, tune)})
    base, head = sides
    places = [(base[rest], head[rest]) for rest in base if rest in head]
    cells = [cell_between(f"{at}", b.times, h.times) for at, (b, h) in enumerate(places)]
    both = [(place, c) for place, c in zip(places, cells, strict=True) if c.paired]
    comparisons = compare([c for _, c in both], noise)
    return [
        Contrasted(*place, comparison)
        for (place, _), comparison in zip(both, comparisons, strict=True)
    ]


def mean_ratio(cells: Sequence[Contrasted]) -> float:
    """The geometric mean of the time ratios; raises ValueError for no cells."""
    return math.exp(fmean(math.log(each.comparison.ratio) for each in cells))


def _rest(timed: Contender, field: str) -> object:
    return timed.case.without(field, *_FOLLOWS.get(field, ()))
