"""Variances that borrow strength from those of similar cells.

The empirical Bayes model of limma (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3:3, sections 3 and
6.2): each cell's variance is drawn from a scaled inverse chi-squared prior, fitted to the sample
variances of all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnbench.stats.variance import Variance, f_tail

# A variance that its prior makes this unlikely belongs to a cell unlike the others.
_OUT_OF_LINE = 0.01
# Where none of n cells was out of line, a share of so many / n may be: the mean of Jeffreys' prior.
NONE_SEEN = 0.5
# The tail of wild cells is at least this short: one such cell would give it that of a Cauchy.
_WILD_DF = 4.0


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


@dataclass(frozen=True, slots=True)
class Wild:
    """Cells that vary unlike the rest: which share of all they are, and how much they vary."""

    share: float
    variance: Variance

    def in_one_mode(self, df: float) -> "Wild":
        """As it is for a cell that has varied like the rest on so many degrees of freedom.

        A wild cell may have two modes, and so many further measurements fall into the first one's
        mode with a chance of 1 / 2^df: beside the share that was found, so many are hidden.
        """
        if df <= 0 or not self.share:
            return self
        hidden = self.share / (2**df - 1)
        return Wild(min(self.share, hidden / (1 - self.share)), self.variance)

    def now_and_then(self, df: float) -> "Wild":
        """The same where any cell may be off for once, seldom and the further.

        Of df + 1 measurements of each cell one was off in as many cells as are wild, and a
        comparison has two more.
        """
        if df <= 0:
            return self
        times = (df + 1) / 2
        return Wild(self.share / times, self.variance.times(times))


TAME = Wild(0.0, Variance(0.0, math.inf))


@dataclass(frozen=True, slots=True)
class Moderation:
    """The prior of most cells, and what is known of those that are out of line with it."""

    prior: VariancePrior
    pooled_df: float  # of all the cells that made the prior
    wild: Wild

    def is_out_of_line(self, own: Variance) -> bool:
        """Whether a cell's own variance is too large for the prior."""
        return is_out_of_line(own, self.prior)

    def posterior(self, own: Variance) -> Variance:
        """A cell's variance: its own if it is out of line, else moderated by the others.

        It is never known better than by all cells together.
        """
        if own.df > 0 and self.is_out_of_line(own):
            return own
        value = self.prior.posterior(own.value, own.df)
        return Variance(value, min(self.prior.df + own.df, self.pooled_df))


def is_out_of_line(own: Variance, prior: VariancePrior) -> bool:
    """Whether an F test at 1 % finds a cell's own variance too large for the prior."""
    return f_tail(own, Variance(prior.variance, prior.df)) < _OUT_OF_LINE


def moderate(variances: Sequence[float], dfs: Sequence[float]) -> Moderation:
    """The prior, fitted without the cells out of line with it, which are told apart; two or more.

    Its degrees of freedom are those of all cells: the tail of the others is not made lighter.
    """
    owns = [Variance(v, df) for v, df in zip(variances, dfs, strict=True)]
    prior = every = fit_prior(variances, dfs)
    for _ in range(3):
        tame = [own for own in owns if not is_out_of_line(own, prior)]
        if len(tame) < max(2, len(owns) / 2):
            break
        prior = fit_prior([each.value for each in tame], [each.df for each in tame])
    wild = [own for own in owns if is_out_of_line(own, prior)]
    prior = VariancePrior(prior.variance, min(prior.df, every.df))
    return Moderation(prior, math.fsum(dfs), wild_of(wild, len(owns)))


def wild_of(wild: Sequence[Variance], count: int) -> Wild:
    """Of so many cells those that are out of line."""
    if not wild:
        return TAME
    df = math.fsum(each.df for each in wild)
    value = math.fsum(each.value * each.df for each in wild) / df
    return Wild(len(wild) / count, Variance(value, max(df, _WILD_DF)))


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
