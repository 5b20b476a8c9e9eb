"""What samples say of themselves: spread, outliers, two modes, and the labels for them."""

from collections.abc import Callable

import numpy as np
import pytest

from attnbench.stats.samples import is_bimodal, outlier_count, robust_sd, sample_labels

US = 1e-6
STEADY = [US * (10 + i % 7 / 100) for i in range(100)]
TWO_MODES = [US * (10 + i % 7 / 100 + (i % 2)) for i in range(100)]


@pytest.mark.parametrize(
    ("samples", "labels"),
    [
        ([], ()),
        ([US], ()),
        ([US] * 20, ()),
        (STEADY, ()),
        ([*STEADY, 50 * US], ()),  # one straggler of a hundred
        ([*STEADY, *(50 * US * i for i in range(1, 9))], ("outliers",)),
        (TWO_MODES, ("bimodal",)),
        ([*STEADY[:18], 50 * US, 51 * US], ("outliers",)),  # too few for a second mode
    ],
)
def test_samples_are_labelled_by_what_their_median_hides(
    samples: list[float], labels: tuple[str, ...]
) -> None:
    assert sample_labels(samples) == labels


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


Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(100, 1, n)


def skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    return 100 + rng.exponential(1, n)


def ticks(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.round(rng.normal(100, 0.6, n))


def flagged(draw: Draw, n: int, times: int) -> float:
    rng = np.random.default_rng(5)
    return float(np.mean([is_bimodal(draw(rng, n).tolist()) for _ in range(times)]))


@pytest.mark.parametrize("n", [20, 30, 50, 100, 1000])
def test_normal_samples_are_flagged_in_under_2_percent(n: int) -> None:
    assert flagged(normal, n, 1000) < 0.02


@pytest.mark.parametrize(("draw", "n"), [(skewed, 50), (skewed, 200), (ticks, 20), (ticks, 200)])
def test_neither_a_tail_nor_a_coarse_timer_is_two_modes(draw: Draw, n: int) -> None:
    assert flagged(draw, n, 500) < 0.02


@pytest.mark.parametrize("n", [20, 50, 100, 1000])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_two_groups_are_found_equal_ones_too(n: int, share: float) -> None:
    def two_groups(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.normal(100, 1, n) + 10 * (rng.permutation(n) < share * n)

    assert flagged(two_groups, n, 100) > 0.95


def test_a_straggler_in_the_gap_hides_nothing() -> None:
    rng = np.random.default_rng(6)
    samples = [*rng.normal(100, 1, 50), 110.0, *rng.normal(120, 1, 49)]
    assert is_bimodal(samples)


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [1.0] * 30,
        [1.0] * 18 + [5.0] * 1,  # too few
        [*np.linspace(100, 101, 30), 150.0, 151.0],  # outliers, not a group
        [*np.linspace(100, 100.01, 30), *np.linspace(100.1, 100.11, 30)],  # 0.1 % apart
    ],
)
def test_what_is_not_two_modes(samples: list[float]) -> None:
    assert not is_bimodal(samples)
