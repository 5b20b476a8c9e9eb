"""Clopper and Pearson's bound, at known values and by its own promise, and the tail of hits."""

import numpy as np
import pytest

from attnbench.stats.binomial import upper_bound, upper_tail


@pytest.mark.parametrize(
    ("hits", "trials", "bound"),
    [(0, 1, 0.95), (0, 300, 0.009936), (4, 300, 0.030250), (3, 3, 1.0), (0, 0, 1.0)],
)
def test_known_bounds(hits: int, trials: int, bound: float) -> None:
    assert upper_bound(hits, trials) == pytest.approx(bound, rel=1e-3)


def test_the_true_rate_lies_below_it_95_times_in_100() -> None:
    hits = np.random.default_rng(1).binomial(200, 0.03, 500)
    held = np.mean([upper_bound(int(each), 200) >= 0.03 for each in hits])
    assert held >= 0.95


@pytest.mark.parametrize(
    ("hits", "trials", "confidence"), [(-1, 3, 0.95), (4, 3, 0.95), (0, 3, 1.0)]
)
def test_what_is_no_count_is_refused(hits: int, trials: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="0 <= hits <= trials"):
        upper_bound(hits, trials, confidence)


@pytest.mark.parametrize(
    ("hits", "trials", "rate", "chance"),
    [(0, 5, 0.5, 1.0), (5, 5, 0.5, 1 / 32), (7, 8, 0.5, 9 / 256), (1, 3, 0.1, 0.271)],
)
def test_the_chance_of_so_many_hits_or_more(
    hits: int, trials: int, rate: float, chance: float
) -> None:
    assert upper_tail(hits, trials, rate) == pytest.approx(chance)
