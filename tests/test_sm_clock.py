"""Two stamps to a clock: only where one SM took both, and long enough apart."""

import pytest

from attnbench.timing.sm_clock import between


@pytest.mark.parametrize(
    ("before", "after", "clocks"),
    [
        ([0, 1_000, 3], [1_000_000, 1_981_000, 3], [1.98e9]),
        ([5, 7, 0], [2_000_005, 3_400_007, 0], [1.7e9]),
        ([0, 1_000, 3], [1_000_000, 1_981_000, 4], []),  # another SM counts from elsewhere
        ([0, 0, 3], [100_000, 198_000, 3], []),  # the timer's steps would show
    ],
)
def test_a_pair_of_stamps_tells_the_clock(
    before: list[int], after: list[int], clocks: list[float]
) -> None:
    assert between([(before, after)]) == pytest.approx(clocks)
