"""The false discovery rate of many tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnbench.stats.multiplicity import benjamini_hochberg


@pytest.mark.parametrize(
    ("p", "q"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.02, 0.03], [0.03, 0.03, 0.03]),
        ([0.5, 0.001, 0.04], [0.5, 0.003, 0.06]),
        ([1.0, 1.0], [1.0, 1.0]),
    ],
)
def test_p_values_are_adjusted(p: list[float], q: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(q)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_it_agrees_with_scipy(p: list[float]) -> None:
    expected = stats.false_discovery_control(p)
    assert benjamini_hochberg(p) == pytest.approx(list(np.asarray(expected)))
