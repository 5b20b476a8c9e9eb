"""What one field does, over all pairs of series that differ in nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attnbench.analysis.contrast import Contrast, contrasts, judged
from attnbench.analysis.estimate import EXACT
from attnbench.analysis.series import Series, series_of
from attnbench.analysis.tuning import Contender
from attnbench.analysis.verdict import Verdict
from attnbench.db.store import Store
from attnbench.reporting.conclusions import contrast_text
from attnbench.specs.case import Case, Layout, Value
from attnbench.timing.method import Method, Timer
from tests.stored_results import H200, cache_write, measured, store_run, timed

TOKENS = (1, 16, 256, 4096)
Times = Mapping[Case, Sequence[float]]


def series(folder: Path, times: Times) -> list[Series]:
    results = {case: timed(case, *rounds) for case, rounds in times.items()}
    return series_of(measured(folder, results, H200, Method("cudagraph")))


def by_layout(ratios: Sequence[float], rounds: int = 3, noise: float = 0.001) -> Times:
    """HND over NHD as given, a case for each, with rounds that differ a little."""
    rng, found = np.random.default_rng(0), dict[Case, list[float]]()
    for tokens, ratio in zip(TOKENS, ratios, strict=False):
        factors: dict[Layout, float] = {"NHD": 1.0, "HND": ratio}
        for layout, factor in factors.items():
            spread = np.exp(noise * rng.standard_normal(rounds))
            found[cache_write(tokens, layout)] = [float(1e-6 * tokens * factor * s) for s in spread]
    return found


def only(found: Mapping[tuple[Value, Value], Contrast]) -> Contrast:
    (contrast,) = found.values()
    return contrast


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((1.10, 1.11, 1.12, 1.11), "slower"),
        ((0.90, 0.91, 0.90, 0.89), "faster"),
        ((1.0, 1.001, 0.999, 1.0), "same"),
        ((1.0, 1.3, 0.8, 1.1), "unclear"),
        ((1.2,), "slower"),  # of one case by its rounds
        ((1.0,), "same"),
        ((0.9, 0.9), "faster"),
    ],
)
def test_a_verdict_needs_an_interval_clear_of_the_margin(
    tmp_path: Path, ratios: Sequence[float], verdict: str
) -> None:
    found = only(contrasts(series(tmp_path, by_layout(ratios)), "layout", "NHD"))
    assert found.verdict == verdict
    assert found.num_cases == len(ratios)
    assert found.ratio == pytest.approx(float(np.exp(np.mean(np.log(ratios)))), rel=2e-3)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.ratio < found.high
    assert found.least == pytest.approx(min(ratios), rel=3e-3)
    assert found.most == pytest.approx(max(ratios), rel=3e-3)


def test_a_side_against_itself_does_not_make_other_pairs_look_quiet(tmp_path: Path) -> None:
    rng, times = np.random.default_rng(0), dict[Case, list[float]]()
    for tokens in range(1, 13):
        for layout in ("NHD", "HND"):
            times[cache_write(tokens, layout)] = list(1e-5 * np.exp(0.01 * rng.normal(size=2)))
    sides = [Contender.of(each) for each in series(tmp_path, times)]
    pairs = list(zip(sides[::2], sides[1::2], strict=True))
    equal = [(base, base) for base, _ in pairs]
    alone, beside = (
        [(each.estimate.log_ratio, each.estimate.standard_error) for each in found]
        for found in (judged(some, lambda cell: EXACT) for some in (pairs, [*pairs, *equal]))
    )
    assert beside == [*alone, *[(0.0, 0.0)] * 12]


def test_the_interval_covers_the_mean_of_such_cases(tmp_path: Path) -> None:
    rng, covered, trials = np.random.default_rng(1), 0, 200
    listed = series(tmp_path, by_layout((1.0,) * 4, rounds=1))
    for _ in range(trials):
        drawn = []
        for each in listed:
            factor = np.exp(0.1 + 0.05 * rng.standard_normal())
            slower = factor if each.case.layout == "HND" else 1.0
            tokens = each.case.batch.num_tokens
            drawn.append(Series((replace(each.first, median=float(1e-6 * tokens * slower)),)))
        found = only(contrasts(drawn, "layout", "NHD"))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= float(np.exp(0.1)) <= found.high
    assert 0.9 <= covered / trials <= 0.99


def test_a_single_round_of_few_cases_has_no_interval(tmp_path: Path) -> None:
    found = only(contrasts(series(tmp_path, by_layout((1.2,), rounds=1)), "layout", "NHD"))
    assert (found.low, found.high, found.verdict) == (None, None, "unclear")
    assert "no interval: single rounds of 1 case" in contrast_text("NHD", "HND", found)


def test_only_what_is_equal_in_all_else_is_paired(tmp_path: Path) -> None:
    times = dict(by_layout((1.1, 1.1, 1.1)))
    times[replace(cache_write(64, "HND"), kv_cache_dtype="fp8")] = [1.0] * 3
    times[cache_write(64, "NHD")] = [1e-6] * 3
    listed = series(tmp_path, times)
    assert only(contrasts(listed, "layout", "NHD")).num_cases == 3
    assert contrasts(listed, "kv_cache_dtype", "auto") == {}


def test_of_one_workload_only_what_was_timed_alike_is_paired(tmp_path: Path) -> None:
    loaded, burst = (replace(cache_write(64, "NHD"), block_size=size) for size in (16, 32))
    results = {loaded: timed(loaded, 1e-6, labels=("sustained",)), burst: timed(burst, 1e-6)}
    listed = series_of(measured(tmp_path, results, H200, Method("cudagraph")))
    assert contrasts(listed, "block_size") == {}


def test_less_work_may_be_timed_without_load_and_still_be_compared(tmp_path: Path) -> None:
    case = cache_write(64, "NHD")
    less = replace(case, kv_cache_dtype="fp8")
    results = {case: timed(case, 2e-6, labels=("sustained",)), less: timed(less, 1e-6)}
    listed = series_of(measured(tmp_path, results, H200, Method("cudagraph")))
    assert only(contrasts(listed, "kv_cache_dtype", "auto")).ratio == pytest.approx(0.5)


def test_numbers_are_compared_with_the_smallest_and_words_with_the_preferred(
    tmp_path: Path,
) -> None:
    case = cache_write(16, "NHD")
    times = {replace(case, block_size=size): [1e-6 * size] * 3 for size in (32, 16, 64)}
    found = contrasts(series(tmp_path, times), "block_size")
    assert list(found) == [(16, 32), (16, 64)]
    assert [each.ratio for each in found.values()] == pytest.approx([2.0, 4.0])


def test_timers_are_compared_across_methods(tmp_path: Path) -> None:
    case = cache_write(16, "NHD")
    times: dict[Timer, float] = {"eager": 4e-6, "cudagraph": 3e-6}
    with Store.open(tmp_path / "both.db") as store:
        runs = [
            store_run(store, {case: timed(case, *[time] * 3)}, machine=H200, method=Method(timer))
            for timer, time in times.items()
        ]
        listed = series_of(store.measurements(runs))
    ((values, found),) = contrasts(listed, "timer", "eager").items()
    assert values == ("eager", "cudagraph")
    assert found.ratio == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ("slower", "HND takes 1.100x the time of NHD (95 % interval 1.080 to 1.120; 4 cases,"),
        ("same", "HND and NHD take the same time in the mean, 1.100x (95 % interval"),
    ],
)
def test_a_shown_verdict_is_in_words(verdict: Verdict, text: str) -> None:
    contrast = Contrast(4, 1.1, 1.08, 1.12, 1.0, 1.2, verdict)
    assert contrast_text("NHD", "HND", contrast).startswith(text)
    assert contrast_text("NHD", "HND", contrast).endswith("1.00x to 1.20x)")


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.97, 1.05, "HND against NHD is unclear, at 1.008x ("),
        (1.005, 1.012, "HND differs from NHD by +0.5 to +1.2 %, which may or may not exceed the"),
        (0.985, 0.995, "HND differs from NHD by -1.5 to -0.5 %, which may or may not exceed the"),
        (None, None, "HND against NHD is unclear, at 1.008x (no interval"),
    ],
)
def test_what_is_unclear_is_whether_they_differ_or_whether_it_matters(
    low: float | None, high: float | None, text: str
) -> None:
    contrast = Contrast(4, 1.008, low, high, 0.9, 1.2, "unclear")
    assert contrast_text("NHD", "HND", contrast).startswith(text)
