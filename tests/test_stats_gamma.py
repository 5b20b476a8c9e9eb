"""The gamma function's relatives against SciPy's."""

import math
from collections.abc import Callable

import pytest
from scipy import special

from attnbench.stats.gamma import digamma, inverse_trigamma, log_gamma_half_step, trigamma

ARGUMENTS = [1e-5, 0.1, 0.5, 1.0, 1.4616, 2.5, 9.99, 10.0, 42.0, 1e4, 1e9]


@pytest.mark.parametrize("x", ARGUMENTS)
def test_digamma_and_trigamma_agree_with_scipy(x: float) -> None:
    assert digamma(x) == pytest.approx(special.digamma(x), rel=1e-13, abs=1e-14)
    assert trigamma(x) == pytest.approx(special.polygamma(1, x), rel=1e-13)


@pytest.mark.parametrize("x", ARGUMENTS)
def test_inverse_trigamma_undoes_trigamma(x: float) -> None:
    assert inverse_trigamma(trigamma(x)) == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize("x", [0.25, 1.0, 19.99, 20.0, 300.0])
def test_the_half_step_is_a_difference_of_log_gammas(x: float) -> None:
    expected = math.lgamma(x + 0.5) - math.lgamma(x)
    assert log_gamma_half_step(x) == pytest.approx(expected, abs=1e-12)


def test_the_half_step_keeps_its_digits_where_log_gammas_lose_them() -> None:
    assert log_gamma_half_step(1e12) == pytest.approx(math.log(1e12) / 2 - 1.25e-13, rel=1e-15)


@pytest.mark.parametrize("function", [digamma, trigamma, inverse_trigamma, log_gamma_half_step])
@pytest.mark.parametrize("x", [0.0, -1.0, math.nan])
def test_only_positive_numbers_are_taken(function: Callable[[float], float], x: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        function(x)
