"""Student's t, against printed tables and by its own promise."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.stats import student


@pytest.mark.parametrize(
    ("df", "t"),
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (10, 2.228),
        (30, 2.042),
        (120, 1.980),
        (math.inf, 1.960),
    ],
)
def test_two_sided_95_percent_points_are_those_of_the_tables(df: float, t: float) -> None:
    assert student.quantile(0.975, df) == pytest.approx(t, abs=5e-4)
    assert student.sf(t, df) == pytest.approx(0.025, rel=1e-3)


@pytest.mark.parametrize(
    ("t", "df", "tail"),
    [
        (1.0, 1.0, 0.25),  # Cauchy: 1/2 - atan(t)/pi
        (1e4, 1.0, 1 / (math.pi * 1e4)),
        (2.0, 2.0, (1 - 2 / math.sqrt(6)) / 2),
        (10.0, math.inf, math.erfc(10 / math.sqrt(2)) / 2),
    ],
)
def test_tails_with_a_closed_form(t: float, df: float, tail: float) -> None:
    assert student.sf(t, df) == pytest.approx(tail, rel=1e-7)
    assert student.sf(-t, df) == pytest.approx(1 - tail, rel=1e-12)


@given(p=st.floats(1e-12, 1 - 1e-9), df=st.floats(0.5, 1e12))
def test_a_quantile_has_the_probability_asked_for(p: float, df: float) -> None:
    assert student.sf(-student.quantile(p, df), df) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("df", [0.01, 1.0, 1e16, math.inf])
def test_an_infinite_t_is_never_exceeded(df: float) -> None:
    assert student.sf(math.inf, df) == 0


@pytest.mark.parametrize(("t", "df"), [(1.0, 0.0), (1.0, -3.0), (1.0, math.nan), (math.nan, 3.0)])
def test_a_tail_of_no_distribution_is_refused(t: float, df: float) -> None:
    with pytest.raises(ValueError, match="df above 0"):
        student.sf(t, df)


@pytest.mark.parametrize(("p", "df"), [(0, 3), (1, 3), (-0.1, 3), (math.nan, 3), (0.5, 0)])
def test_a_quantile_of_no_probability_is_refused(p: float, df: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        student.quantile(p, df)
