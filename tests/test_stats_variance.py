"""Variances with their degrees of freedom: how two are told apart, and how they become one."""

import math

import pytest
from scipy import stats

from attnbench.stats.variance import NOTHING, UNKNOWN, Variance, f_tail


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        (Variance(6.0, 3.0), Variance(2.0, 5.0), stats.f(3, 5).sf(3)),
        (Variance(6.0, 3.0), Variance(2.0, math.inf), stats.chi2(3).sf(9)),
        (Variance(6.0, math.inf), Variance(2.0, 5.0), stats.chi2(5).cdf(5 / 3)),
        (Variance(6.0, math.inf), Variance(2.0, math.inf), 0.0),
        (Variance(2.0, math.inf), Variance(2.0, math.inf), 1.0),
        (Variance(1.0, 3.0), NOTHING, 0.0),
        (Variance(0.0, 3.0), NOTHING, 1.0),
    ],
)
def test_a_ratio_has_the_tail_of_f(
    numerator: Variance, denominator: Variance, expected: float
) -> None:
    assert f_tail(numerator, denominator) == pytest.approx(expected, rel=1e-6)


def test_two_variances_disagree_where_an_f_test_of_both_sides_at_1_percent_says_so() -> None:
    most = float(stats.f(4, 6).isf(0.005))
    low = Variance(1.0, 6.0)
    for ratio, told in ((0.99 * most, False), (1.01 * most, True)):
        high = Variance(ratio, 4.0)
        assert high.disagrees(low) is low.disagrees(high) is told


def test_what_is_unknown_agrees_with_everything() -> None:
    assert not UNKNOWN.disagrees(Variance(1.0, 9.0))
    assert not Variance(1.0, 9.0).disagrees(UNKNOWN)


@pytest.mark.parametrize(
    ("own", "prior", "pooled"),
    [
        (Variance(4.0, 2.0), Variance(1.0, 4.0), Variance(2.0, 6.0)),
        (Variance(4.0, 2.0), Variance(1.0, 99.0), Variance(1.75, 8.0)),  # worth 6 at most
        (UNKNOWN, Variance(1.0, 99.0), Variance(1.0, 6.0)),
        (Variance(4.0, 2.0), UNKNOWN, Variance(4.0, 2.0)),
        (UNKNOWN, UNKNOWN, UNKNOWN),
        (Variance(4.0, math.inf), Variance(1.0, 4.0), Variance(4.0, math.inf)),
    ],
)
def test_together_two_are_weighted_by_their_degrees_of_freedom(
    own: Variance, prior: Variance, pooled: Variance
) -> None:
    assert own.pooled(prior, prior_df=6.0) == pooled


def test_where_two_disagree_the_larger_one_stands() -> None:
    large, small = Variance(100.0, 8.0), Variance(1.0, 8.0)
    assert large.moderated(small, prior_df=8.0) == large
    assert small.moderated(large, prior_df=8.0) == large
    assert large.moderated(small, prior_df=1.0) == large.pooled(small, prior_df=1.0)
