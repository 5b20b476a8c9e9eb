"""Comparing two sides cell by cell, with the rate of false alarms controlled over all cells."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from attnbench.analysis.estimate import MIN_CELLS, Cell, Noise, NoiseOf, estimate_all
from attnbench.analysis.jumps import MIN_STAYED, one_sided, stayed_beside_others
from attnbench.analysis.log_ratio import Estimate
from attnbench.analysis.shift import Shift, as_few, as_unseen, find_shift, scattered, with_modes
from attnbench.analysis.verdict import ALPHA, MARGIN, Comparison, Tested, judge
from attnbench.errors import UsageError
from attnbench.stats.moderation import TAME
from attnbench.stats.multiplicity import benjamini_hochberg
from attnbench.stats.variance import Variance

_ALONE = 0.03  # the level of a finding without others


@dataclass(frozen=True, slots=True)
class Compared:
    """The verdict on each cell, and what all cells show together."""

    comparisons: list[Comparison]
    shift: Shift | None  # of the cells of separate sessions, if they are enough
    more_scatter: bool  # whether they scatter more than the noise known beforehand allows


def compare(cells: Sequence[Cell], noise: NoiseOf, margin: float = MARGIN) -> list[Comparison]:
    """The verdict on each cell, in order; relative changes within `margin` do not matter.

    The time ratio's interval is Student's, from the rounds' log ratios where they are matched,
    else Welch's with the variances of sessions. faster and slower ask for an interval beyond the
    margin and hold the false discovery rate over all cells at 5 %, a single finding at 3 %; same
    asks for equivalence at 5 % (two one-sided tests).
    """
    estimates = estimate_all(cells, list(map(noise, cells)))
    return compare_estimates([cell.key for cell in cells], estimates, margin)


def compare_estimates(
    keys: Sequence[str], estimates: Sequence[Estimate], margin: float = MARGIN
) -> list[Comparison]:
    """The verdict on each estimate, in order, as `compare` gives it."""
    return _judged(keys, estimates, [None] * len(keys), _limit(margin))


def compare_sides(
    cells: Sequence[Cell],
    noise: NoiseOf,
    margin: float = MARGIN,
    is_control: Callable[[Cell], bool] = lambda _: False,
) -> Compared:
    """The same of one piece of code before and after, whose cells mostly have not changed.

    Cells of separate sessions are also held against what moved all of them alike, and against how
    far all of them scatter; `is_control` names those whose code is the same on both sides.
    """
    limit, noises = _limit(margin), list(map(noise, cells))
    estimates = estimate_all(cells, noises)
    apart = [at for at, cell in enumerate(cells) if not cell.paired and estimates[at].known]
    controls = [is_control(cells[at]) for at in apart]
    unseen = [not noises[at].stored for at in apart]
    separate = [estimates[at] for at in apart]
    shift, more_scatter = find_shift(separate, controls), False
    if shift is not None:
        separate, more_scatter = scattered(list(map(as_unseen, separate, unseen)))

    def judged(separate: Sequence[Estimate], shift: Shift | None) -> list[Comparison]:
        replaced = dict(enumerate(estimates)) | dict(zip(apart, separate, strict=True))
        shifts = [None if cell.paired else shift for cell in cells]
        return _judged([cell.key for cell in cells], [*replaced.values()], shifts, limit)

    moved = _moved(separate, shift, limit)
    believed = _changed_ways(moved, controls, [noises[at] for at in apart])
    found = judged(list(map(partial(_as_believed, believed), separate, unseen)), shift)
    if any(unseen) and len(apart) < MIN_CELLS:
        if any(stayed := stayed_beside_others(moved, controls)):
            found = judged(separate, find_shift(separate, stayed, MIN_STAYED))
        else:
            found = _surest(found, judged(list(map(as_few, separate, unseen)), shift), limit)
    return Compared(found, shift, more_scatter)


def _surest(
    known: Sequence[Comparison], unsure: Sequence[Comparison], limit: float
) -> list[Comparison]:
    """Changes by the noise that a machine nobody has seen may have, the rest by what is known."""
    return [
        other if abs(math.log(each.ratio)) > limit else replace(each, detectable=other.detectable)
        for each, other in zip(known, unsure, strict=True)
    ]


def _limit(margin: float) -> float:
    if not 0 <= margin < math.inf:
        raise UsageError(
            f"margin {margin}: expected a relative change of 0 or more that does not matter, "
            "e.g. 0.01 for 1 %"
        )
    return math.log1p(margin)


def _judged(
    keys: Sequence[str],
    estimates: Sequence[Estimate],
    shifts: Sequence[Shift | None],
    limit: float,
) -> list[Comparison]:
    near = [_near(each, shift) for each, shift in zip(estimates, shifts, strict=True)]
    p_values = {
        at: _p(each, near[at], shifts[at], limit) for at, each in enumerate(estimates) if each.known
    }
    q_values = dict(zip(p_values, _adjusted(list(p_values.values())), strict=True))
    findings = sum(q <= ALPHA for q in q_values.values())
    alone = not findings and len(q_values) > 1
    level = (_ALONE if alone else ALPHA) * min(1.0, (findings + 1) / max(1, len(q_values)))
    tests = {at: Tested(p_values[at], q, level, shifts[at]) for at, q in q_values.items()}
    return [judge(key, near[at], limit, tests.get(at)) for at, key in enumerate(keys)]


def _adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's q-values, stricter on one that would be the only finding.

    Where nothing has changed, a false finding is nearly always the only one.
    """
    q_values = benjamini_hochberg(p_values)
    if len(q_values) == 1 or sum(q <= ALPHA for q in q_values) != 1:
        return q_values
    at = min(range(len(q_values)), key=q_values.__getitem__)
    q_values[at] = min(1.0, q_values[at] * ALPHA / _ALONE)
    return q_values


def _changed_ways(
    moved: Sequence[int], controls: Sequence[bool], noises: Sequence[Noise]
) -> frozenset[int]:
    """The directions in which the code changed, by this diff and by what earlier sessions moved."""
    # One disturbance may move several of few cells, so those go by their diff alone.
    earlier = noises if len(moved) >= MIN_CELLS else []
    sessions = math.fsum(each.sessions for each in earlier)
    return one_sided(moved, controls, sessions, sum(each.was_off for each in earlier))


def _as_believed(believed: Collection[int], estimate: Estimate, unseen: bool) -> Estimate:
    """Cells that moved one way have no modes; others of a machine nobody has seen may have some."""
    if math.copysign(1, estimate.log_ratio) in believed:
        return replace(estimate, wild=TAME)
    return with_modes(estimate) if unseen else estimate


def _moved(estimates: Sequence[Estimate], shift: Shift | None, limit: float) -> list[int]:
    """The direction of each cell that moved further than cells without modes do, else 0.

    Each is tested by itself: one that went the other way counts even among many.
    """
    tame = [replace(each, wild=TAME) for each in estimates]
    return [
        (1 if each.log_ratio > 0 else -1)
        if _p(each, _near(each, shift), shift, limit) <= ALPHA
        else 0
        for each in tame
    ]


def _near(estimate: Estimate, shift: Shift | None) -> Estimate:
    """With the uncertainty of the common shift no larger than what the cells show of it."""
    if shift is None:
        return estimate
    seen = Variance(shift.log_ratio**2 + shift.variance.value, shift.variance.df)
    return replace(estimate, common=min(estimate.common, seen, key=lambda each: each.value))


def _p(estimate: Estimate, near: Estimate, shift: Shift | None, limit: float) -> float:
    """The p-value of a change of the code.

    What moves all cells may be the device, and what moves the controls is. A cell has changed if it
    is off beside the others too, or if their shift is beyond what sessions do to all cells.
    """
    by_itself = near.p_beyond(limit)
    if shift is None or by_itself == 1:
        return by_itself
    beside = estimate.without(shift.log_ratio, shift.variance)
    same_way = beside.log_ratio * estimate.log_ratio > 0
    p_beside = beside.p_beyond(limit) if same_way else 1.0
    if shift.by_controls:
        return max(by_itself, p_beside)
    # All cells share that one: beyond it they are one finding together.
    p_shared = estimate.p_beyond(limit) * ALPHA / _ALONE
    return max(by_itself, min(p_beside, p_shared))


def geometric_mean_ratio(comparisons: Sequence[Comparison]) -> float:
    """The geometric mean of the time ratios; raises ValueError for no comparisons."""
    return math.exp(fmean(math.log(comparison.ratio) for comparison in comparisons))
