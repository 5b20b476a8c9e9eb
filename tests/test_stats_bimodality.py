"""When samples are called bimodal, and when not."""

from collections.abc import Callable

import numpy as np
import pytest

from attnbench.stats.bimodality import is_bimodal

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
