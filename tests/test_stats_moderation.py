"""Variances that borrow from each other."""

import math

import numpy as np
import pytest
from scipy import optimize, special

from attnbench.stats.moderation import TAME, VariancePrior, Wild, fit_prior, moderate
from attnbench.stats.variance import Variance


def sampled_variances(
    rng: np.random.Generator, prior: VariancePrior, dfs: np.ndarray
) -> np.ndarray:
    """Sample variances of normal cells whose true variances are drawn from the prior."""
    true = prior.variance * prior.df / rng.chisquare(prior.df, len(dfs))
    variances: np.ndarray = true * rng.chisquare(dfs) / dfs
    return variances


@pytest.mark.parametrize("df", [2.0, 4.0, 12.0])
def test_the_prior_that_variances_were_drawn_from_is_found(df: float) -> None:
    rng = np.random.default_rng(1)
    dfs = rng.integers(1, 6, 20_000).astype(float)
    fitted = fit_prior(sampled_variances(rng, VariancePrior(1e-5, df), dfs).tolist(), dfs.tolist())
    assert fitted.df == pytest.approx(df, rel=0.15)
    assert fitted.variance == pytest.approx(1e-5, rel=0.05)


def test_the_fit_solves_the_published_equations() -> None:
    rng = np.random.default_rng(2)
    variances = sampled_variances(rng, VariancePrior(2.0, 3.0), np.full(50, 2.0))
    e = np.log(variances) - special.digamma(1) + math.log(1)
    excess = np.var(e, ddof=1) - special.polygamma(1, 1)
    df = 2 * optimize.brentq(lambda x: special.polygamma(1, x) - excess, 1e-3, 1e3, xtol=1e-14)
    variance = math.exp(e.mean() + special.digamma(df / 2) - math.log(df / 2))
    fitted = fit_prior(variances.tolist(), [2.0] * 50)
    assert (fitted.df, fitted.variance) == pytest.approx((df, variance), rel=1e-9)


def test_cells_that_differ_no_more_than_by_chance_share_one_variance() -> None:
    fitted = fit_prior([1.0, 1.1, 0.9, 1.0], [4.0] * 4)
    assert fitted.df == math.inf
    assert fitted.posterior(99.0, 4.0) == fitted.variance


@pytest.mark.parametrize(
    ("variance", "df", "expected"), [(4.0, 2.0, 2.0), (4.0, 0.0, 1.0), (0.0, 12.0, 0.25)]
)
def test_a_posterior_is_weighted_by_degrees_of_freedom(
    variance: float, df: float, expected: float
) -> None:
    assert VariancePrior(1.0, 4.0).posterior(variance, df) == pytest.approx(expected)


def test_a_prior_that_says_nothing_changes_nothing() -> None:
    assert VariancePrior(0.0, 0.0).posterior(3.0, 2.0) == 3.0
    with pytest.raises(ValueError, match="neither"):
        VariancePrior(0.0, 0.0).posterior(0.0, 0.0)


@pytest.mark.parametrize(
    ("variances", "dfs", "told"),
    [([1.0], [2.0], "two"), ([1.0, 0.0], [2.0, 2.0], "above 0"), ([1.0, 1.0], [2.0, 0.0], "above")],
)
def test_what_cannot_be_fitted_is_refused(
    variances: list[float], dfs: list[float], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        fit_prior(variances, dfs)


def test_a_cell_out_of_line_keeps_its_variance_and_leaves_the_prior_to_the_others() -> None:
    others = sampled_variances(np.random.default_rng(3), VariancePrior(1e-6, 8.0), np.full(20, 4.0))
    wild, dfs = Variance(1e-2, 4.0), [4.0] * 21
    found = moderate([*others.tolist(), wild.value], dfs)
    alone = fit_prior(others.tolist(), dfs[1:])
    assert found.prior.variance == alone.variance
    assert found.prior.df == fit_prior([*others.tolist(), wild.value], dfs).df < alone.df
    assert found.posterior(wild) == wild
    assert found.wild.share == 1 / 21
    assert found.wild.variance.value == pytest.approx(wild.value)
    tame = Variance(2e-6, 4.0)
    moderated = found.posterior(tame)
    assert alone.variance < moderated.value < tame.value
    assert moderated.df == found.prior.df + tame.df


def test_no_cell_is_known_better_than_by_all_together() -> None:
    found = moderate([1.0, 1.1, 0.9, 1.0], [4.0] * 4)
    assert found.posterior(Variance(1.1, 4.0)) == Variance(found.prior.variance, 16.0)
    assert found.wild == TAME


def test_cells_that_varied_on_no_degrees_of_freedom_hide_nothing() -> None:
    wild = Wild(0.1, Variance(4e-4, 4.0))
    assert wild.in_one_mode(0) == wild.now_and_then(0) == wild


@pytest.mark.parametrize("df", [1, 2, 5])
def test_of_the_cells_that_were_tame_so_many_are_wild(df: int) -> None:
    """Of many cells, some with two modes, those that were in one mode all the time."""
    rng = np.random.default_rng(5)
    two_modes = rng.random(400_000) < 0.1
    modes = rng.integers(0, 2, (len(two_modes), df + 1))
    one_mode = ~two_modes | (modes == modes[:, :1]).all(axis=1)
    found = Wild(1 - one_mode.mean(), Variance(4e-4, 4.0)).in_one_mode(df)
    assert found.share == pytest.approx(two_modes[one_mode].mean(), rel=0.06)


@pytest.mark.parametrize("df", [1, 2, 5])
def test_of_cells_that_are_off_now_and_then_two_more_measurements_show_so_many(df: int) -> None:
    rng = np.random.default_rng(5)
    off = 0.04 * (rng.random((400_000, df + 3)) < 0.002)
    seen, further = off[:, :-2], off[:, -2:]
    wild = seen.any(axis=1)
    variance = float(np.var(seen[wild], axis=1, ddof=1).mean())
    found = Wild(wild.mean(), Variance(variance, 4.0)).now_and_then(df)
    moved = further[~wild, 1] - further[~wild, 0]
    assert found.share == pytest.approx(np.mean(moved != 0), rel=0.1)
    assert 2 * found.variance.value == pytest.approx(np.mean(moved[moved != 0] ** 2), rel=0.1)
