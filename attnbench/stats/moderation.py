"""Variances that borrow strength from those of similar cells.

The empirical Bayes model of limma (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3, sections 3 and
6.2): each cell's variance is drawn from a scaled inverse chi-squared prior, fitted to the sample
variances of all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnbench.stats.gamma import digamma, inverse_trigamma, trigamma


@dataclass(frozen=True, slots=True)
class VariancePrior:
    """What the other cells say of a variance: its value, worth `df` degrees of freedom.

    df is real, infinite where the cells do not differ; df = 0 says nothing.
    """

    variance: float
    df: float

    def posterior(self, variance: float, df: float) -> float:
        """The variance of a cell that measured `variance` on df >= 0 degrees of freedom.

        It has self.df + df of them. Raises ValueError where both are 0.
        """
        if self.df + df <= 0:
            raise ValueError("neither the cell nor the prior knows a variance")
        if math.isinf(self.df):
            return self.variance
        return (self.df * self.variance + df * variance) / (self.df + df)


def fit_prior(variances: Sequence[float], dfs: Sequence[float]) -> VariancePrior:
    """The prior that sample variances (each > 0, on its own df > 0) seem drawn from.

    The moments of their logarithms are matched. Raises ValueError for fewer than two, or for a
    variance or df that is not positive.
    """
    if len(variances) < 2:
        raise ValueError(f"a prior needs two variances or more, got {len(variances)}")
    if min(variances) <= 0 or min(dfs) <= 0:
        raise ValueError("variances and degrees of freedom must be above 0")
    logs = np.array(
        [
            math.log(variance) - digamma(df / 2) + math.log(df / 2)
            for variance, df in zip(variances, dfs, strict=True)
        ]
    )
    # How much the true variances differ: what sampling alone does not explain.
    excess = float(np.var(logs, ddof=1)) - float(np.mean([trigamma(df / 2) for df in dfs]))
    if excess <= 0:
        return VariancePrior(math.exp(logs.mean()), math.inf)
    half_df = inverse_trigamma(excess)
    log_variance = float(logs.mean()) + digamma(half_df) - math.log(half_df)
    return VariancePrior(math.exp(log_variance), 2 * half_df)
