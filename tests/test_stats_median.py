"""The interval of a median: its ranks, how often it holds, and what autocorrelation takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from attnbench.stats.autocorrelation import effective_count, lag1
from attnbench.stats.median import median_interval


def autoregressive(rng: np.random.Generator, n: int, correlation: float) -> np.ndarray:
    """A series of n samples of unit variance, each correlated with the one before."""
    shocks = rng.normal(size=n) * np.sqrt(1 - correlation**2)
    series: np.ndarray = signal.lfilter([1.0], [1.0, -correlation], shocks)
    return series


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.6, 0.9])
def test_the_correlation_of_a_series_is_found(correlation: float) -> None:
    series = autoregressive(np.random.default_rng(1), 5000, correlation)
    assert lag1(series.tolist()) == pytest.approx(correlation, abs=0.05)


def test_a_spike_does_not_hide_correlation() -> None:
    series = autoregressive(np.random.default_rng(2), 1000, 0.9)
    series[500] = 1e6
    assert lag1(series.tolist()) > 0.8


@pytest.mark.parametrize("samples", [[], [1.0], [1.0, 2.0], [3.0, 3.0, 3.0, 3.0]])
def test_too_little_to_correlate_is_none(samples: list[float]) -> None:
    assert lag1(samples) == 0
    assert effective_count(samples) == len(samples)


@pytest.mark.parametrize(
    ("samples", "correlation"),
    [
        ([1.0, 1.0, 2.0, 2.0], 0.25),  # ranks 1.5 1.5 3.5 3.5: ties share theirs
        ([10.0, 20.0, 31.0], 0.0),
        ([1.0, 2.0, 1.0, 2.0], -0.75),
    ],
)
def test_correlations_by_hand(samples: list[float], correlation: float) -> None:
    assert lag1(samples) == pytest.approx(correlation)


def test_a_trend_is_worth_few_samples_and_alternation_no_more_than_all() -> None:
    assert effective_count([float(i) for i in range(1000)]) == pytest.approx(1000 * 0.01 / 1.99)
    assert effective_count([1.0, 2.0] * 50) == 100


@pytest.mark.parametrize(
    ("n", "low", "high"),
    [(1, 1, 1), (5, 1, 5), (6, 1, 6), (20, 5, 16), (100, 40, 61), (1000, 469, 532)],
)
def test_the_ends_are_samples_of_these_ranks(n: int, low: int, high: int) -> None:
    samples = [float(rank) for rank in range(n, 0, -1)]
    assert median_interval(samples, n_effective=n) == (low, high)


def test_fewer_effective_samples_widen_it() -> None:
    samples = [float(rank) for rank in range(1, 101)]
    assert median_interval(samples, n_effective=25) == (30, 71)
    assert median_interval(samples, n_effective=5.9) == (1, 100)


def test_no_samples_have_no_median() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median_interval([])


@given(st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=60))
def test_it_encloses_the_median(samples: list[float]) -> None:
    low, high = median_interval(samples)
    assert low <= np.median(samples) <= high


@pytest.mark.parametrize(
    ("n", "correlation", "least"),
    [(6, 0.0, 0.94), (20, 0.0, 0.95), (200, 0.0, 0.93), (50, 0.6, 0.93), (200, 0.9, 0.93)],
)
def test_it_covers_the_median_95_times_in_100(n: int, correlation: float, least: float) -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(500):
        low, high = median_interval(autoregressive(rng, n + 50, correlation)[50:].tolist())
        covered += low <= 0 <= high
    assert covered / 500 >= least


def test_rare_spikes_do_not_narrow_it() -> None:
    # One-sided spikes move the median too, so the truth is that of a long series.
    rng = np.random.default_rng(4)

    def spiked(n: int) -> np.ndarray:
        return autoregressive(rng, n, 0.6) + 8 * (rng.random(n) < 0.02) * rng.exponential(size=n)

    truth = np.median(spiked(200_000))
    intervals = [median_interval(spiked(200).tolist()) for _ in range(400)]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.93
