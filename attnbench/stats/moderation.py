"""Variances that borrow strength from those of similar cells.

The empirical Bayes model of limma (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3, sections 3 and
6.2): each cell's variance is drawn from a scaled inverse chi-squared prior, fitted to the sample
variances of all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class VariancePrior:
    """A variance as estimated from the other cells, worth `df` degrees of freedom.

    df is real, infinite where the cells do not differ; df = 0 says nothing.
    """

    variance: float
    df: float

    def posterior(self, variance: float, df: float) -> float:
        """The variance of a cell that measured `variance` on df >= 0 degrees of freedom.

        It has self.df + df degrees of freedom. Raises ValueError if both are 0.
        """
        if self.df + df <= 0:
            raise ValueError("neither the cell nor the prior knows a variance")
        if math.isinf(self.df):
            return self.variance
        return (self.df * self.variance + df * variance) / (self.df + df)


def fit_prior(variances: Sequence[float], dfs: Sequence[float]) -> VariancePrior:
    """The prior of sample variances, each > 0 on its own df > 0.

    The moments of their logarithms are matched. Raises ValueError for fewer than two, or for a
    variance or df that is not positive.
    """
    from scipy import special

    if len(variances) < 2:
        raise ValueError(f"a prior needs two variances or more, got {len(variances)}")
    if min(variances) <= 0 or min(dfs) <= 0:
        raise ValueError("variances and degrees of freedom must be above 0")
    half_dfs = np.asarray(dfs, dtype=np.float64) / 2
    logs = np.log(variances) - special.digamma(half_dfs) + np.log(half_dfs)
    # The spread of the true variances: the part that sampling alone does not explain.
    excess = float(np.var(logs, ddof=1) - np.mean(special.zeta(2, half_dfs)))
    if excess <= 0:
        return VariancePrior(math.exp(logs.mean()), math.inf)
    half_df = _inverse_trigamma(excess)
    log_variance = float(logs.mean() + special.digamma(half_df)) - math.log(half_df)
    return VariancePrior(math.exp(log_variance), 2 * half_df)


def _inverse_trigamma(y: float) -> float:
    """The x > 0 at which trigamma(x), the zeta function of 2 and x, is y > 0.

    Between the roots of 1/x + 1/(2x^2) = y and 1/x + 1/x^2 = y: trigamma, the sum of 1/(x+k)^2
    over k >= 0, lies between these two (its integral and the trapezoids on it).
    """
    from scipy import special

    low = (1 + math.sqrt(1 + 2 * y)) / (2 * y)
    high = (1 + math.sqrt(1 + 4 * y)) / (2 * y)
    while low < (middle := (low + high) / 2) < high:
        if special.zeta(2, middle) > y:
            low = middle
        else:
            high = middle
    return middle
