"""What moved all cells of a diff alike, and how far its unchanged cells scatter about that.

Both are robust: they hold while more than half of the cells that they go by are unchanged. Cells
whose code is the same on both sides, the controls, are the better witnesses, if they are enough.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attnbench.analysis.estimate import MIN_CELLS
from attnbench.analysis.log_ratio import Estimate
from attnbench.stats import student
from attnbench.stats.moderation import TAME, Wild
from attnbench.stats.samples import robust_sd
from attnbench.stats.variance import Variance

Values = NDArray[np.float64]

MIN_CONTROLS = 5
# A median absolute deviation of n normal values is as good as a variance on 0.37 n of them.
_MAD_EFFICIENCY = 0.37
# A median's variance over a mean's.
_MEDIAN_COST = math.pi / 2
# A cell so many robust standard deviations off (Iglewicz and Hoaglin 1993) is set aside, and the
# middle taken again, so often.
_FAR, _TIMES, _ROUNDING = 3.5, 3, 1e-9
# What the noise known beforehand weighs beside the scatter of the diff itself.
_PRIOR_DF = 20.0
_SURPRISE_DF = 4.0
# Of a machine that nobody has seen a few cells may have modes, some percent apart.
CAUTIOUS_WILD = Wild(0.03, Variance(0.025**2, 10.0))
CAUTIOUS_COMMON = Variance(0.0075**2, 5.0)
# Of one case by itself, where fewer than 10 are compared.
CAUTIOUS_SESSION = Variance(0.012**2, 5.0)


@dataclass(frozen=True, slots=True)
class Shift:
    """ln(head / base) that cells of separate sessions have in common."""

    log_ratio: float
    variance: Variance
    num_cells: int
    by_controls: bool

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        reach = student.quantile(0.975, self.variance.df) * self.variance.sd
        return self.log_ratio - reach, self.log_ratio + reach


def find_shift(
    estimates: Sequence[Estimate], controls: Sequence[bool], least: int = MIN_CONTROLS
) -> Shift | None:
    """The median of the controls, `least` or more, else of all cells, 10 or more; else None."""
    by_controls = sum(controls) >= least
    chosen = [each for each, control in zip(estimates, controls, strict=True) if control]
    chosen = chosen if by_controls else list(estimates)
    if not by_controls and len(chosen) < MIN_CELLS:
        return None
    centre, scores, weights = _middle(chosen)
    scatter = max(robust_sd(scores) ** 2, 1.0)
    variance = _MEDIAN_COST * scatter / float(weights.sum())
    # Kish's effective number: noisy cells hardly count.
    count = float(weights.sum() ** 2 / (weights**2).sum())
    return Shift(centre, Variance(variance, max(count - 1, 1.0)), len(chosen), by_controls)


def scattered(estimates: Sequence[Estimate]) -> tuple[list[Estimate], bool]:
    """With as much variance between sessions as the cells scatter, and whether noise foresaw less.

    The variance that was known counts as the prior of what is seen; where they disagree the larger
    holds, for all cells alike.
    """
    if len(estimates) < MIN_CELLS:
        return list(estimates), False
    _, scores, _ = _middle(estimates)
    seen = Variance(robust_sd(scores) ** 2, _MAD_EFFICIENCY * len(scores))
    known = Variance(1.0, _PRIOR_DF)
    factor = seen.moderated(known, _PRIOR_DF).value
    if factor <= 1:
        return list(estimates), False
    extra = (factor - 1) * float(np.median([_cell_variance(each) for each in estimates]))
    # How the noise that nobody foresaw is distributed over cells is not known either.
    surprise = Variance(extra, min(seen.df, _SURPRISE_DF))
    unforeseen = seen.disagrees(known)
    least = CAUTIOUS_WILD if unforeseen else TAME
    return [_wider(each, surprise, factor, least) for each in estimates], unforeseen


def _middle(estimates: Sequence[Estimate]) -> tuple[float, Values, Values]:
    """The median log ratio, and the scores and weights of the cells that are not far from it.

    A change of some cells is no shift and no scatter of the others, so it is taken again without
    those that are far off. Each weighs by the inverse of its variance.
    """
    logs = np.asarray([each.log_ratio for each in estimates])
    sds = np.sqrt([_cell_variance(each) for each in estimates])
    kept = np.full(len(logs), True)
    for _ in range(_TIMES):
        centre = _weighted_median(logs[kept], sds[kept] ** -2.0)
        scores = (logs - centre) / sds
        kept = np.abs(scores) <= _FAR * robust_sd(scores[kept]) + _ROUNDING
    return centre, scores[kept], sds[kept] ** -2.0


def _weighted_median(values: Values, weights: Values) -> float:
    """The value that parts the weights in two halves, between two values if they meet there."""
    order = np.argsort(values)
    below = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(weights.sum() / 2, below, values[order]))


def _cell_variance(estimate: Estimate) -> float:
    """Of what moves a cell by itself."""
    return estimate.standard_error**2 - estimate.common.value


def as_unseen(estimate: Estimate, unseen: bool) -> Estimate:
    """On a machine of which nothing is stored, sessions may move all cells further."""
    if not unseen:
        return estimate
    common = max(estimate.common, CAUTIOUS_COMMON, key=lambda each: each.value)
    return replace(estimate, common=common)


def as_few(estimate: Estimate, unseen: bool) -> Estimate:
    """Nor do few cells show how far its sessions move each of them, or whether it has modes."""
    if not unseen:
        return estimate
    session = max(estimate.session, CAUTIOUS_SESSION, key=lambda each: each.value)
    return with_modes(replace(estimate, session=session))


def with_modes(estimate: Estimate) -> Estimate:
    """Of a machine whose cells may have modes."""
    return replace(estimate, wild=at_least(estimate.wild, CAUTIOUS_WILD))


def _wider(estimate: Estimate, extra: Variance, factor: float, least: Wild) -> Estimate:
    """With extra variance; wild cells vary as much more as the others do."""
    value = estimate.session.value + extra.value
    unsure = sum(each.value**2 / each.df for each in (estimate.session, extra) if each.value > 0)
    session = Variance(value, value**2 / unsure if unsure else math.inf)
    wild = Wild(estimate.wild.share, estimate.wild.variance.times(factor))
    return replace(estimate, session=session, wild=at_least(wild, least))


def at_least(wild: Wild, least: Wild) -> Wild:
    variance = max(wild.variance, least.variance, key=lambda each: each.value)
    return Wild(max(wild.share, least.share), variance)
