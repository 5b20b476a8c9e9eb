"""What moved all cells of a diff alike, and how far its unchanged cells scatter about that.

Both are robust: they hold while more than half of the cells that they go by are unchanged. Cells
whose code is the same on both sides, the controls, are the better witnesses, if they are enough.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from attnbench.analysis.estimate import MIN_CELLS
from attnbench.analysis.log_ratio import Estimate
from attnbench.stats import student
from attnbench.stats.moderation import Wild
from attnbench.stats.samples import robust_sd
from attnbench.stats.variance import Variance

MIN_CONTROLS = 5
# A median absolute deviation of n normal values is as good as a variance on 0.37 n of them.
_MAD_EFFICIENCY = 0.37
# A median's variance over a mean's.
_MEDIAN_COST = math.pi / 2
# What the noise known beforehand weighs beside the scatter of the diff itself.
_PRIOR_DF = 20.0
_SURPRISE_DF = 4.0


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


def find_shift(estimates: Sequence[Estimate], controls: Sequence[bool]) -> Shift | None:
    """The median of the controls, 5 or more, else of all cells, 10 or more; else None."""
    by_controls = sum(controls) >= MIN_CONTROLS
    chosen = [each for each, control in zip(estimates, controls, strict=True) if control]
    chosen = chosen if by_controls else list(estimates)
    if not by_controls and len(chosen) < MIN_CELLS:
        return None
    logs = np.asarray([each.log_ratio for each in chosen])
    shift = float(np.median(logs))
    expected = float(np.median([_cell_variance(each) for each in chosen]))
    scatter = max(robust_sd(logs - shift) ** 2, expected)
    variance = Variance(_MEDIAN_COST * scatter / len(chosen), len(chosen) - 1)
    return Shift(shift, variance, len(chosen), by_controls)


def scattered(estimates: Sequence[Estimate], shift: Shift) -> tuple[list[Estimate], bool]:
    """With as much variance between sessions as the cells scatter, and whether noise foresaw less.

    The variance that was known counts as the prior of what is seen; where they disagree the larger
    holds, for all cells alike.
    """
    if len(estimates) < MIN_CELLS:
        return list(estimates), False
    squares = [_cell_variance(each) for each in estimates]
    scores = np.asarray(
        [
            (each.log_ratio - shift.log_ratio) / math.sqrt(square)
            for each, square in zip(estimates, squares, strict=True)
        ]
    )
    seen = Variance(robust_sd(scores) ** 2, _MAD_EFFICIENCY * len(scores))
    known = Variance(1.0, _PRIOR_DF)
    factor = seen.moderated(known, _PRIOR_DF).value
    if factor <= 1:
        return list(estimates), False
    extra = (factor - 1) * float(np.median(squares))
    # How the noise that nobody foresaw is distributed over cells is not known either.
    surprise = Variance(extra, min(seen.df, _SURPRISE_DF))
    wider = [_wider(each, surprise, factor) for each in estimates]
    return wider, seen.disagrees(known)


def _cell_variance(estimate: Estimate) -> float:
    """Of what moves a cell by itself."""
    return estimate.standard_error**2 - estimate.common.value


def _wider(estimate: Estimate, extra: Variance, factor: float) -> Estimate:
    """With extra variance; wild cells vary as much more as the others do."""
    value = estimate.session.value + extra.value
    unsure = sum(each.value**2 / each.df for each in (estimate.session, extra) if each.value > 0)
    session = Variance(value, value**2 / unsure if unsure else math.inf)
    wild = Wild(estimate.wild.share, estimate.wild.variance.times(factor))
    return replace(estimate, session=session, wild=wild)
