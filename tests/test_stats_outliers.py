"""Which samples are called outliers."""

import numpy as np
import pytest

from attnbench.stats.outliers import outlier_count
from attnbench.stats.spread import robust_sd


@pytest.mark.parametrize(
    ("samples", "count"),
    [
        ([], 0),
        ([1.0], 0),
        ([1.0, 1.0, 1.0], 0),
        ([1.0, 1.1, 1.2, 1.3, 1.4, 9.0], 1),
        ([1.0, 1.1, 1.2, 1.3, 1.4, 3.4], 0),
        ([-7.0, 1.0, 1.1, 1.2, 1.3, 1.4, 9.0], 2),
        # A coarse timer: most samples alike, so that the MAD is 0.
        ([1.0] * 99 + [1.5], 1),
        ([1.0] * 80 + [1.5] * 20, 0),
    ],
)
def test_outliers_are_counted(samples: list[float], count: int) -> None:
    assert outlier_count(samples) == count


def test_normal_samples_have_none() -> None:
    rng = np.random.default_rng(1)
    assert sum(outlier_count(rng.normal(5, 1, 100).tolist()) for _ in range(200)) == 0


def test_the_robust_spread_of_normal_samples_is_their_standard_deviation() -> None:
    deviations = np.random.default_rng(2).normal(0, 3, 20_000)
    assert robust_sd(deviations) == pytest.approx(3, rel=0.03)


def test_without_deviations_there_is_no_spread() -> None:
    with pytest.raises(ValueError, match="no deviations"):
        robust_sd(np.array([]))
