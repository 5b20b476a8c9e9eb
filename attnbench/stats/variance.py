"""Variances that are known with so many degrees of freedom, and how several become one."""

import math
from dataclasses import dataclass

# Two variances that differ so much by chance alone do in one of a hundred comparisons.
_SURPRISE = 0.01


@dataclass(frozen=True, slots=True)
class Variance:
    """An estimate of a variance on `df` degrees of freedom: infinite if exact, 0 if unknown."""

    value: float
    df: float

    @property
    def sd(self) -> float:
        """The standard deviation."""
        return math.sqrt(self.value)

    def times(self, factor: float) -> "Variance":
        """The variance of that many independent draws' sum."""
        return Variance(self.value * factor, self.df)

    def disagrees(self, other: "Variance") -> bool:
        """Whether an F test at 1 % tells the two apart."""
        if self.df == 0 or other.df == 0:
            return False
        high, low = sorted((self, other), key=lambda each: each.value, reverse=True)
        return f_tail(high, low) < _SURPRISE / 2

    def pooled(self, prior: "Variance", prior_df: float) -> "Variance":
        """Both together, the prior worth `prior_df` degrees of freedom at most."""
        prior = Variance(prior.value, min(prior.df, prior_df))
        df = self.df + prior.df
        if df == 0 or math.isinf(df):
            return prior if self.df == 0 else self
        return Variance((self.value * self.df + prior.value * prior.df) / df, df)

    def moderated(self, prior: "Variance", prior_df: float) -> "Variance":
        """The same, or the larger of both where they disagree."""
        prior = Variance(prior.value, min(prior.df, prior_df))
        if self.disagrees(prior):
            return max(self, prior, key=lambda each: each.value)
        return self.pooled(prior, prior_df)


UNKNOWN = Variance(0.0, 0.0)
NOTHING = Variance(0.0, math.inf)


def f_tail(numerator: Variance, denominator: Variance) -> float:
    """The chance that equal true variances show such a ratio or a larger one."""
    from scipy import special

    if denominator.value <= 0:
        return 0.0 if numerator.value > 0 else 1.0
    ratio = numerator.value / denominator.value
    if math.isinf(denominator.df):
        if math.isinf(numerator.df):
            return float(ratio <= 1)
        return float(special.chdtrc(numerator.df, numerator.df * ratio))
    # SciPy's tail of F has no infinite degrees of freedom.
    return float(special.fdtrc(min(numerator.df, 1e9), denominator.df, ratio))
