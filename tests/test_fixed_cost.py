"""The fixed cost of a call and what each token adds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.analysis.fixed_cost import fixed_cost

SIZES = [2**power for power in range(17)]


@given(st.floats(1e-7, 1e-4), st.floats(1e-11, 1e-6))
def test_an_exact_line_is_found(fixed: float, slope: float) -> None:
    found = fixed_cost(SIZES, [fixed + slope * size for size in SIZES])
    assert found is not None
    largest = fixed + slope * SIZES[-1]
    assert found.fixed == pytest.approx(fixed, rel=1e-6, abs=1e-7 * min(fixed, largest))
    assert found.slope == pytest.approx(slope, rel=1e-4, abs=1e-9 * fixed)
    assert found.worst < 1e-6


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng, trials = np.random.default_rng(2), 1000
    held = np.zeros(2)
    for _ in range(trials):
        times = 3e-6 + 2e-9 * np.array(SIZES)
        found = fixed_cost(SIZES, list(times * (1 + 0.03 * rng.standard_normal(len(SIZES)))))
        assert found is not None
        held += [
            abs(found.fixed - 3e-6) <= found.fixed_reach,
            abs(found.slope - 2e-9) <= found.slope_reach,
        ]
    assert (held / trials > 0.93).all()


def test_one_wild_time_does_not_move_the_line() -> None:
    times = [3e-6 + 2e-9 * size for size in SIZES]
    times[8] *= 5
    found = fixed_cost(SIZES, times)
    assert found is not None
    assert found.fixed == pytest.approx(3e-6, rel=0.01)
    assert found.slope == pytest.approx(2e-9, rel=0.01)
    assert found.worst == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("sizes", [[1, 2, 4], [1, 1, 2, 2, 4, 4], []])
def test_fewer_than_four_sizes_make_no_line(sizes: list[int]) -> None:
    assert fixed_cost(sizes, [1e-6 + 1e-9 * size for size in sizes]) is None
