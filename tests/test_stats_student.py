"""Student's t against SciPy's, from heavy tails to the normal."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from attnbench.stats import student

DFS = [0.5, 1.0, 1.7, 2.0, 3.0, 7.3, 39.9, 40.1, 1e3, 1e6, 2e7, math.inf]
DEVIATES = [0.0, 1e-9, 0.01, 1.0, 1.72, 1.74, 2.5, 5.0, 30.0, 1e4]


@pytest.mark.parametrize("df", DFS)
@pytest.mark.parametrize("t", DEVIATES)
def test_tails_agree_with_scipy(t: float, df: float) -> None:
    lower = special.ndtr(-t) if math.isinf(df) else special.stdtr(df, -t)
    assert student.sf(t, df) == pytest.approx(lower, rel=1e-9, abs=1e-300)
    assert student.cdf(-t, df) == student.sf(t, df)
    assert student.cdf(t, df) == pytest.approx(1 - lower, rel=1e-9)


@pytest.mark.parametrize("df", DFS)
@pytest.mark.parametrize("p", [1e-12, 1e-4, 0.025, 0.05, 0.2, 0.49, 0.5, 0.8, 0.975, 0.9999])
def test_quantiles_agree_with_scipy(p: float, df: float) -> None:
    expected = stats.norm.ppf(p) if math.isinf(df) else stats.t.ppf(p, df)
    assert student.quantile(p, df) == pytest.approx(expected, rel=1e-8, abs=1e-15)


@given(
    p=st.floats(1e-100, 1 - 1e-9),
    df=st.floats(0.5, 1e12),
)
def test_a_quantile_has_the_probability_asked_for(p: float, df: float) -> None:
    assert student.cdf(student.quantile(p, df), df) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("df", [0.01, 1.0, 1e16, math.inf])
def test_an_infinite_t_is_never_exceeded(df: float) -> None:
    assert student.sf(math.inf, df) == 0
    assert student.cdf(math.inf, df) == 1


def test_a_quantile_beyond_all_use_is_infinite() -> None:
    assert student.quantile(0.999, 0.01) == math.inf
    assert student.quantile(0.001, 0.01) == -math.inf


@pytest.mark.parametrize(("t", "df"), [(1.0, 0.0), (1.0, -3.0), (1.0, math.nan), (math.nan, 3.0)])
def test_what_is_no_distribution_is_refused(t: float, df: float) -> None:
    with pytest.raises(ValueError, match="df above 0"):
        student.sf(t, df)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 1e-200, math.nan])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        student.quantile(p, 3.0)
