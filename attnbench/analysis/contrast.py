"""The effect of one field: pairs of series that differ only in it, combined into one ratio.

Used for lines below tables and for studies, with different pairs: tables pair by what ran, studies
by the request, with each side tuned if the study says so.
"""

import math
import operator
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from statistics import fmean, stdev

from attnbench.analysis.across import FOLLOWING, same_server
from attnbench.analysis.axes import axis_text
from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import EXACT, Cell, NoiseOf, estimate_all
from attnbench.analysis.fields import named_fields
from attnbench.analysis.log_ratio import Estimate
from attnbench.analysis.pairing import cell_between
from attnbench.analysis.partners import partners
from attnbench.analysis.series import Series
from attnbench.analysis.tuning import Contender, tuned
from attnbench.analysis.verdict import MARGIN, Comparison, Verdict
from attnbench.specs.case import WORKLOAD_FIELDS, Value
from attnbench.stats import student

_Error = tuple[float, float]  # standard error, degrees of freedom
_EQUAL = Estimate(0.0, ())  # of a side against itself
# With fewer cases their own spread says nothing, and the rounds' is used.
MIN_CASES = 3


@dataclass(frozen=True, slots=True)
class Contrasted:
    """A pair that differs in only one field, with the rounds of both."""

    base: Contender
    head: Contender
    cell: Cell
    estimate: Estimate  # of head over base


@dataclass(frozen=True, slots=True)
class Judged(Contrasted):
    """The same with its verdict."""

    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Contrast:
    """Times of one value of a field over those of another; ratios above 1 are slower.

    ratio is the geometric mean over the cases, low and high its 95 % interval for the mean of such
    cases. It comes from the spread of the cases, which includes their rounds' spread; for fewer
    than three cases from the rounds only, and is None if those are single.
    """

    num_cases: int
    ratio: float
    low: float | None
    high: float | None
    least: float  # smallest and largest ratio of a case
    most: float
    verdict: Verdict

    @classmethod
    def of(cls, pairs: Sequence[Contrasted], weights: Sequence[float] = ()) -> "Contrast":
        """The mean of one or more pairs; with weights of these alone, not of such cases."""
        estimates = [each.estimate for each in pairs]
        ratios = [estimate.log_ratio for estimate in estimates]
        mean = fmean(ratios, weights or None)
        error = _own_error(estimates, weights) if weights else _error(estimates)
        reach = None if error is None else error[0] * student.quantile(0.975, error[1])
        return cls(
            num_cases=len(pairs),
            ratio=math.exp(mean),
            low=None if reach is None else math.exp(mean - reach),
            high=None if reach is None else math.exp(mean + reach),
            least=math.exp(min(ratios)),
            most=math.exp(max(ratios)),
            verdict=_verdict(mean, error),
        )


def contrasts(
    listed: Iterable[Series], field: str, preferred: Value | None = None
) -> dict[tuple[Value, Value], Contrast]:
    """Each value of `field` against a baseline: `preferred`, else the first or smallest number.

    Keys are both values. Series are paired if all else is equal: the case, the method, the machine
    model, the cache state and, for one workload, the regime. `field` is one of the case, of the
    method, or of the resolved settings.
    """
    groups: dict[Hashable, dict[Value, Series]] = {}
    for series in listed:
        by_name = facts(series)
        if series.time is not None and field in by_name:
            value = by_name.pop(field)
            rest = frozenset(by_name.items()), _regime(series, (field,))
            groups.setdefault(rest, {})[value] = series
    values = dict.fromkeys(value for group in groups.values() for value in group)
    if len(values) < 2:
        return {}
    base = preferred if preferred in values else _first(values)
    found = {
        (base, head): _contrasted(
            (Contender.of(group[base]), Contender.of(group[head]))
            for group in groups.values()
            if base in group and head in group
        )
        for head in values
        if head != base
    }
    return {both: Contrast.of(pairs) for both, pairs in found.items() if pairs}


def contrast_asked(
    listed: Sequence[Series],
    field: str,
    values: tuple[str, str],
    noise: NoiseOf,
    tune: Sequence[str] = (),
) -> list[Judged]:
    """All pairs of cases with these values that differ in nothing else and share rounds.

    If no partner is equal in all else, fields that follow from this one may differ.
    """
    base, head = (
        tuned([each for each in listed if axis_text(each.case, field) == value], tune)
        for value in values
    )
    return judged(_partners(base, head, field), noise)


def judged(pairs: Iterable[tuple[Contender, Contender]], noise: NoiseOf) -> list[Judged]:
    """Each pair that shares rounds, head over base, with its verdict."""
    paired = [each for each in _contrasted(pairs) if each.cell.paired]
    found = compare([each.cell for each in paired], noise)
    return [
        Judged(each.base, each.head, each.cell, each.estimate, comparison)
        for each, comparison in zip(paired, found, strict=True)
    ]


def facts(series: Series) -> dict[str, Value]:
    """All facts that distinguish series, by name; resolved settings override requested ones."""
    ran = {n: v for n, v in series.resolved.items() if n in ("block_size", "layout")}
    return {
        **series.first.method,
        **named_fields(series.case),
        **ran,
        "machine": series.first.machine_model,
        "cache state": series.cache_state,
    }


def _contrasted(pairs: Iterable[tuple[Contender, Contender]]) -> list[Contrasted]:
    """The pairs with their estimates, whose spreads are moderated together.

    A side against itself has none: its differences of 0 would make the others look quiet.
    """
    listed = list(pairs)
    cells = [cell_between(f"{at}", b.times, h.times) for at, (b, h) in enumerate(listed)]
    apart = [at for at, (base, head) in enumerate(listed) if base is not head]
    estimates = estimate_all([cells[at] for at in apart], [EXACT] * len(apart))
    found = dict(zip(apart, estimates, strict=True))
    return [
        Contrasted(base, head, cells[at], found.get(at, _EQUAL))
        for at, (base, head) in enumerate(listed)
    ]


def _partners(
    base: Sequence[Contender], head: Sequence[Contender], field: str
) -> list[tuple[Contender, Contender]]:
    """Pairs in the order of the base; those equal in all else are matched first."""
    differ = accumulate(FOLLOWING.get(field, ()), operator.add, initial=(field,))
    found = partners(
        base,
        head,
        [partial(_rest, names) for names in differ],
        lambda each, other: same_server(each.case, other.case, field),
    )
    return [(each, found[id(each)]) for each in base if id(each) in found]


def _rest(names: Sequence[str], contender: Contender) -> Hashable:
    series = contender.series
    return contender.case.without(*names), series.cache_state, _regime(series, names)


def _regime(series: Series, names: Collection[str]) -> str:
    """The regime, unless fields of the workload may differ: other work may need another one."""
    return series.regime if WORKLOAD_FIELDS.isdisjoint(names) else ""


def _first(values: Iterable[Value]) -> Value:
    listed = list(values)
    numbers = [value for value in listed if isinstance(value, int | float)]
    return min(numbers) if len(numbers) == len(listed) else listed[0]


def _error(estimates: Sequence[Estimate]) -> _Error | None:
    """The standard error of the mean log ratio with its degrees of freedom, if known."""
    count = len(estimates)
    if count >= MIN_CASES:
        spread = stdev(estimate.log_ratio for estimate in estimates)
        return max(spread, 1e-9) / math.sqrt(count), count - 1
    if not all(estimate.known for estimate in estimates):
        return None
    error = math.sqrt(sum(estimate.standard_error**2 for estimate in estimates)) / count
    return error, min(estimate.df for estimate in estimates)


def _own_error(estimates: Sequence[Estimate], weights: Sequence[float]) -> _Error | None:
    """As `_error`, from the rounds alone."""
    parts = [w * e.standard_error for w, e in zip(weights, estimates, strict=True) if e.known]
    if len(parts) < len(estimates):
        return None
    return math.hypot(*parts) / sum(weights), min(estimate.df for estimate in estimates)


def _verdict(mean: float, error: _Error | None) -> Verdict:
    """As for a single cell: beyond the margin at 5 %, or within it at 5 % on either side."""
    if error is None:
        return "unclear"
    size, df = error
    margin = math.log1p(MARGIN)
    if abs(mean) - size * student.quantile(0.975, df) > margin:
        return "slower" if mean > 0 else "faster"
    return "same" if abs(mean) + size * student.quantile(0.95, df) < margin else "unclear"
