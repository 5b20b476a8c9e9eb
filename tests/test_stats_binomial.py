"""Clopper and Pearson's bound, against SciPy's beta quantiles and by its own promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnbench.stats.binomial import upper_bound


@pytest.mark.parametrize(
    ("hits", "trials", "bound"),
    [(0, 1, 0.95), (0, 300, 0.009936), (4, 300, 0.030250), (3, 3, 1.0), (0, 0, 1.0)],
)
def test_known_bounds(hits: int, trials: int, bound: float) -> None:
    assert upper_bound(hits, trials) == pytest.approx(bound, rel=1e-3)


@given(data=st.data(), trials=st.integers(1, 5000), confidence=st.floats(0.5, 0.999))
def test_it_is_the_beta_quantile(data: st.DataObject, trials: int, confidence: float) -> None:
    hits = data.draw(st.integers(0, min(trials - 1, 40)))
    expected = stats.beta.ppf(confidence, hits + 1, trials - hits)
    assert upper_bound(hits, trials, confidence) == pytest.approx(float(expected), rel=1e-9)


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
