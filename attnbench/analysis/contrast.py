"""What one field does: pairs of series that differ in it alone, put together into one ratio."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from attnbench.analysis.estimate import ASSUMED_NOISE, Estimate, estimate_all
from attnbench.analysis.pairing import Pair, cell_of
from attnbench.analysis.series import Series
from attnbench.analysis.verdict import MARGIN, Verdict
from attnbench.families import family_of
from attnbench.specs.case import Value
from attnbench.stats import student

# With fewer cases their own spread tells nothing, and that of the rounds has to do.
MIN_CASES = 3


@dataclass(frozen=True, slots=True)
class Contrast:
    """Times of one value of a field over those of another; ratios above 1 are slower.

    ratio is the geometric mean over the cases, low and high its 95 % interval: how far the mean of
    such cases may be off. It comes from the spread of the cases, in which that of their rounds is
    contained; of fewer than three cases from the rounds alone, and is None where those are single.
    """

    field: str
    base: Value
    head: Value
    num_cases: int
    ratio: float
    low: float | None
    high: float | None
    least: float  # the ratios of single cases
    most: float
    verdict: Verdict


def contrasts(
    listed: Iterable[Series], field: str, preferred: Value | None = None
) -> list[Contrast]:
    """Every other value of `field` against one: `preferred`, else the first, or smallest number.

    Series are paired where all else is equal: the case, the method, the model of machine, and what
    was reached of the cache. `field` is one of the case, of the method, or of what ran.
    """
    groups: dict[frozenset[tuple[str, Value]], dict[Value, Series]] = {}
    for series in listed:
        told = facts(series)
        if series.time is not None and field in told:
            value = told.pop(field)
            groups.setdefault(frozenset(told.items()), {})[value] = series
    values = dict.fromkeys(value for group in groups.values() for value in group)
    if len(values) < 2:
        return []
    base = preferred if preferred in values else _first(values)
    return [
        found
        for head in values
        if head != base and (found := _contrast(field, base, head, groups.values())) is not None
    ]


def facts(series: Series) -> dict[str, Value]:
    """All that tells a series from others, by name; what ran goes before what was asked for."""
    case = series.case
    ran = {n: v for n, v in series.resolved.items() if n in ("block_size", "layout")}
    fields = {name: value for name, value in case.fields().items() if value is not None}
    told = family_of(case).named(case, fields)
    return {
        **series.first.method,
        **told,
        **ran,
        "machine": series.first.machine_model,
        "cache state": series.cache_state,
    }


def _first(values: Iterable[Value]) -> Value:
    listed = list(values)
    numbers = [value for value in listed if isinstance(value, int | float)]
    return min(numbers) if len(numbers) == len(listed) else listed[0]


def _contrast(
    field: str, base: Value, head: Value, groups: Iterable[Mapping[Value, Series]]
) -> Contrast | None:
    pairs = [Pair(group[base], group[head]) for group in groups if base in group and head in group]
    if not pairs:
        return None
    cells = [cell_of(pair, {}) for pair in pairs]
    estimates = estimate_all(cells, [ASSUMED_NOISE] * len(cells))
    ratios = [estimate.log_ratio for estimate in estimates]
    mean, error = fmean(ratios), _error(estimates)
    reach = None if error is None else error[0] * student.quantile(0.975, error[1])
    return Contrast(
        field=field,
        base=base,
        head=head,
        num_cases=len(pairs),
        ratio=math.exp(mean),
        low=None if reach is None else math.exp(mean - reach),
        high=None if reach is None else math.exp(mean + reach),
        least=math.exp(min(ratios)),
        most=math.exp(max(ratios)),
        verdict=_verdict(mean, error),
    )


def _error(estimates: Sequence[Estimate]) -> tuple[float, float] | None:
    """The standard error of the mean log ratio with its degrees of freedom, if anything tells."""
    count = len(estimates)
    if count >= MIN_CASES:
        spread = stdev(estimate.log_ratio for estimate in estimates)
        return max(spread, 1e-9) / math.sqrt(count), count - 1
    if not all(estimate.known for estimate in estimates):
        return None
    error = math.sqrt(sum(estimate.standard_error**2 for estimate in estimates)) / count
    return error, min(estimate.df for estimate in estimates)


def _verdict(mean: float, error: tuple[float, float] | None) -> Verdict:
    """As of a single cell: beyond the margin at 5 %, or within it at 5 % on either side."""
    if error is None:
        return "unclear"
    size, df = error
    margin = math.log1p(MARGIN)
    if abs(mean) - size * student.quantile(0.975, df) > margin:
        return "slower" if mean > 0 else "faster"
    return "same" if abs(mean) + size * student.quantile(0.95, df) < margin else "unclear"
