"""What studies conclude from results that are made up, so that the truth is known."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.contrast import Contrast, contrast_asked, contrasts
from attnbench.analysis.estimate import EXACT
from attnbench.analysis.lint import lint
from attnbench.analysis.optimum import optima, propose
from attnbench.analysis.ranking import AUTO
from attnbench.analysis.series import Series, Times, series_of
from attnbench.analysis.tuning import Setting, best_setting, cross_fitted, tuned
from attnbench.records import Outcome, Status
from attnbench.reporting.ranking import change_with_interval
from attnbench.specs.case import Case
from attnbench.studies.analysis import ContrastAnalysis, OptimumAnalysis, WinnerAnalysis
from attnbench.studies.answers.contrast import answer as contrast_answer
from attnbench.studies.answers.optimum import answer as optimum_answer
from attnbench.studies.answers.winner import answer as winner_answer
from attnbench.studies.charts import Heat
from tests.stored_results import (
    CPU,
    H200,
    attn,
    cache_write,
    failed,
    measured,
    mla,
    timed,
)

NOISE = lambda _: EXACT  # noqa: E731
OF_SERIES = lambda series, cell: EXACT  # noqa: E731


def rounds(seconds: float, spread: float = 0.002, seed: int = 0) -> list[float]:
    at = random.Random(seed)
    return [seconds * math.exp(at.gauss(0, spread)) for _ in range(3)]


def listed(folder: Path, results: dict[Case, list[Outcome]]) -> list[Series]:
    return series_of(measured(folder, results))


def of_each(
    cases: Sequence[tuple[Case, float]], spread: float = 0.002
) -> dict[Case, list[Outcome]]:
    return {
        case: timed(case, *rounds(seconds, spread, at)) for at, (case, seconds) in enumerate(cases)
    }


def test_a_round_is_never_judged_by_its_own_choice() -> None:
    a: Setting = (("k", 1),)
    b: Setting = (("k", 2),)
    first, second, third = (1, 0), (1, 1), (1, 2)
    settings: dict[Setting, Times] = {
        a: {first: 1.0, second: 5.0, third: 1.0},
        b: {first: 2.0, second: 2.0, third: 2.0},
    }
    assert best_setting(settings, settings[a]) == a
    # Without the first or third the other looks better, so the lucky rounds do not count.
    assert cross_fitted(settings) == {first: 2.0, second: 5.0, third: 2.0}


def test_tuning_equal_settings_gains_nothing() -> None:
    at = random.Random(1)
    logs = []
    for _ in range(400):
        settings: dict[Setting, Times] = {
            (("k", k),): {(1, r): math.exp(at.gauss(0, 0.05)) for r in range(3)} for k in range(6)
        }
        logs += [math.log(t) for t in cross_fitted(settings).values()]
    assert abs(sum(logs) / len(logs)) < 0.01  # the best of each would be 0.06 too good


def test_a_contrast_pairs_cells_that_differ_in_the_field_alone(tmp_path: Path) -> None:
    cases = [
        (cache_write(tokens, layout), tokens * 1e-8 * (1.1 if layout == "HND" else 1.0))
        for tokens in (256, 1024, 4096)
        for layout in ("NHD", "HND")
    ]
    asked = ContrastAnalysis("layout", (("NHD", "HND"),))
    found = contrast_asked(
        listed(tmp_path, of_each(cases)), asked.field, ("NHD", "HND"), NOISE, asked.tune
    )
    assert [each.base.case.batch.num_tokens for each in found] == [256, 1024, 4096]
    assert [each.comparison.verdict for each in found] == ["slower"] * 3
    assert all(each.comparison.ratio == pytest.approx(1.1, rel=0.01) for each in found)


def test_a_study_and_a_table_say_the_same_of_one_field(tmp_path: Path) -> None:
    cases = [
        (cache_write(tokens, layout), tokens * 1e-8 * (factor if layout == "HND" else 1.0))
        for tokens, factor in ((256, 1.05), (1024, 1.1), (4096, 1.2))
        for layout in ("NHD", "HND")
    ]
    series = listed(tmp_path, of_each(cases))
    (of_table,) = contrasts(series, "layout", "NHD").values()
    pair = ("NHD", "HND")
    assert Contrast.of(contrast_asked(series, "layout", pair, NOISE)) == of_table
    said = contrast_answer(series, ContrastAnalysis("layout", (pair,)), NOISE).lines[0]
    change = change_with_interval(of_table)
    assert said == f"HND against NHD: {change} time in the geometric mean of 3 cells (3 slower)"


def test_backends_are_contrasted_at_the_same_layout_where_both_have_it(tmp_path: Path) -> None:
    """What follows from the backend may differ only where nothing is equal."""
    nhd, hnd = cache_write(64, "NHD"), cache_write(64, "HND")
    both = [
        (nhd, 1e-5),
        (hnd, 2e-5),
        (replace(hnd, backend="triton"), 4e-5),
        (replace(nhd, backend="triton"), 3e-5),
    ]
    apart = [(cache_write(128, "NHD"), 1e-5)]
    apart += [(replace(cache_write(128, "HND"), backend="triton"), 5e-5)]
    series = listed(tmp_path, of_each([*both, *apart], 1e-9))
    found = contrast_asked(series, "backend", ("torch", "triton"), NOISE)
    assert [round(each.comparison.ratio, 3) for each in found] == [3.0, 2.0, 5.0]


def test_backends_of_a_server_are_contrasted_at_the_same_length(tmp_path: Path) -> None:
    cases = [
        (attn("8q1kv1k", "flash", max_model_len=length), 1e-5 * at)
        for at, length in ((1, 8192), (2, 16384))
    ]
    cases += [
        (attn("8q1kv1k", "flashinfer", max_model_len=n, decode_kernel="served"), 3e-5 * at)
        for at, n in ((1, 8192), (2, 16384))
    ]
    cases += [(attn("8q1kv1k", "triton", max_model_len=32768), 1e-5)]
    series = listed(tmp_path, of_each(cases, 1e-9))
    found = contrast_asked(series, "backend", ("flash", "flashinfer"), NOISE)
    assert [round(each.comparison.ratio, 3) for each in found] == [3.0, 3.0]
    assert contrast_asked(series, "backend", ("flash", "triton"), NOISE) == []


def test_a_sparse_backend_is_contrasted_with_a_dense_one_that_has_no_equal(tmp_path: Path) -> None:
    dense = mla("q4k", "triton_mla", threshold=1)
    sparse = replace(mla("q4k", "flashmla_sparse", force_mqa=True), index_topk=2048)
    window = replace(sparse, topk_pattern="window")
    series = listed(tmp_path, of_each([(dense, 2e-3), (sparse, 1e-3), (window, 3e-3)]))
    pair, tune = ("triton_mla", "flashmla_sparse"), ("threshold", "force_mqa")
    (found,) = contrast_asked(series, "backend", pair, NOISE, tune)
    assert round(found.comparison.ratio, 1) == 0.5


def test_a_cold_cache_is_not_contrasted_with_a_warm_one(tmp_path: Path) -> None:
    warm, cold = cache_write(64, "NHD"), cache_write(64, "HND")
    results = {
        warm: timed(warm, 1e-5, 1e-5, cache_state="mixed"),
        cold: timed(cold, 2e-5, 2e-5),
    }
    assert contrast_asked(listed(tmp_path, results), "layout", ("NHD", "HND"), NOISE) == []


def test_backends_are_contrasted_each_at_its_best_setting(tmp_path: Path) -> None:
    cases = [(attn("8q1kv1k", "naive"), 2e-5)]
    cases += [(attn("8q1kv1k", "sdpa", num_splits=n), 1e-5 * n) for n in (1, 2, 4)]
    asked = ContrastAnalysis("backend", (("naive", "sdpa"),), tune=("num_splits",))
    (found,) = contrast_asked(
        listed(tmp_path, of_each(cases)), asked.field, ("naive", "sdpa"), NOISE, asked.tune
    )
    assert found.comparison.ratio == pytest.approx(0.5, rel=0.01)
    assert found.head.chosen == (("num_splits", 1),)
    assert found.head.num_settings == 3


def test_a_winner_shares_its_place_with_what_noise_cannot_tell_from_it(tmp_path: Path) -> None:
    cases = [
        (attn(spec, backend), seconds)
        for spec in [f"{n}q1kv1k" for n in range(1, 13)]
        for backend, seconds in (("naive", 3e-5), ("sdpa", 2e-5), ("flash", 2.002e-5))
    ]
    found = winner_answer(listed(tmp_path, of_each(cases)), WinnerAnalysis(), NOISE)
    assert found.lines[0] == "Decode: tied in 12 (flash, sdpa)."
    (table,) = found.tables
    assert {*table.columns["best"], *table.columns["ties"]} == {"sdpa", "flash"}
    assert {*table.columns["next"]} == {"naive"}


def test_ragged_batches_have_maps_of_their_own_by_their_mean_length(tmp_path: Path) -> None:
    """Two spreads of the same requests have the same longest one."""
    spreads = ("", "~lognormal", "~sorted", "~onelong")
    cases = [
        (attn(f"{size}q1kv{length}{spread}", backend), seconds)
        for size in (4, 16)
        for length in (128, 512)
        for spread in spreads
        for backend, seconds in (("naive", 3e-5), ("sdpa", 2e-5))
    ]
    found = winner_answer(listed(tmp_path, of_each(cases)), WinnerAnalysis(), NOISE)
    maps = {chart.title: chart for chart in found.charts if isinstance(chart, Heat)}
    assert list(maps) == [
        f"Best backend: spread {spread}" for spread in ("equal", "lognormal", "sorted", "onelong")
    ]
    for chart in maps.values():
        assert (chart.ys, chart.xs) == (["4", "16"], ["128", "512"])
        assert all(text.startswith("sdpa") for row in chart.texts for text in row)


def test_a_backend_that_ran_alone_wins_nothing(tmp_path: Path) -> None:
    both, alone = ("q16", "q32"), ("q64", "q128")
    cases = [(attn(spec), 1e-4) for spec in (*both, *alone)]
    cases += [(attn(spec, "naive"), 2e-4) for spec in both]
    found = winner_answer(listed(tmp_path, of_each(cases)), WinnerAnalysis(), NOISE)
    assert found.lines[0] == (
        "Prefill: sdpa in 2 of 4 (q_len up to 32), 1.99x to 2.00x ahead; "
        "one implementation only in 2."
    )
    (table,) = found.tables
    assert table.columns["spec"] == list(both)
    maps = [chart for chart in found.charts if isinstance(chart, Heat)]
    shown = {cell for chart in maps for row in chart.texts for cell in row}
    assert "only\nsdpa" in shown


def test_rounds_that_do_not_agree_leave_the_winner_unclear(tmp_path: Path) -> None:
    cases = [attn("q1kv1k", "naive"), attn("q1kv1k", "sdpa")]
    times = ((1e-4, 2e-5, 9e-5), (2e-5, 2e-5, 2e-5))
    results = {case: timed(case, *each) for case, each in zip(cases, times, strict=True)}
    found = winner_answer(listed(tmp_path, results), WinnerAnalysis(), NOISE)
    assert found.lines[0] == "Decode: unclear in 1 (naive, sdpa)."
    (chart,) = found.charts
    assert isinstance(chart, Heat)
    assert (chart.texts, chart.values) == ([["unclear\nsdpa\nnaive"]], [[1]])


def test_a_contender_that_was_wrong_in_one_round_cannot_win(tmp_path: Path) -> None:
    right, wrong = attn("q512", "naive"), attn("q512", "sdpa")
    results = {
        right: timed(right, *rounds(2e-3)),
        wrong: [*timed(wrong, *rounds(1e-3)[:2]), *failed(Status.INCORRECT, "off")],
    }
    found = winner_answer(listed(tmp_path, results), WinnerAnalysis(), NOISE)
    assert list(found.lines) == [
        "Prefill: 1 workload of one implementation, so nothing to compare.",
        "sdpa: not answered here: every case failed: off",
    ]


def test_single_rounds_are_quickest_and_no_wins(tmp_path: Path) -> None:
    singles = [attn("q1kv1k", "naive"), attn("q1kv1k", "sdpa")]
    results = {case: timed(case, t) for case, t in zip(singles, (3e-5, 2e-5), strict=True)}
    results |= of_each([(attn("q512", "naive"), 5e-5), (attn("q512", "sdpa"), 4e-5)])
    found = winner_answer(
        listed(tmp_path, results), WinnerAnalysis(("batch_size", "kv_len")), NOISE
    )
    assert found.lines[:2] == [
        "Decode: sdpa quickest in single rounds of 1 of 1, 1.50x ahead.",
        "Prefill: sdpa in 1 of 1, 1.25x ahead.",
    ]
    single, replicated = found.charts
    assert isinstance(single, Heat)
    assert isinstance(replicated, Heat)
    assert single.values == [[1]]
    assert replicated.values[0][0] == pytest.approx(1.25, rel=0.01)
    assert single.texts == [["quickest\nsdpa\n1.50x"]]


def test_an_optimum_of_single_rounds_has_no_ties_and_no_rule(tmp_path: Path) -> None:
    cases = splits("q1kv1k", {None: 3e-5, 1: 3.01e-5, 8: 2e-5})
    results = {case: timed(case, seconds) for case, seconds in cases}
    found = optima(listed(tmp_path, results), "num_splits", OF_SERIES)
    assert [each.at("tie") for each in found] == [[]]
    assert [each.regret for each in found] == [None]
    assert propose(found, lambda case: len(case.batch)) is None


def test_a_workload_of_one_round_with_all_settings_has_no_part_in_a_rule(tmp_path: Path) -> None:
    """No other round chose for its one round: the first setting was taken."""
    results = {case: timed(case, *times) for case, times in CUT_SHORT}
    found = optima(listed(tmp_path, results), "num_splits", OF_SERIES)
    rule = propose(found, lambda case: len(case.batch))
    assert rule is not None
    assert dict(rule.settings) == {1: (("num_splits", 8),)}
    assert rule.ratio == pytest.approx(0.5)


def test_batches_that_have_their_largest_in_common_are_rows_of_their_own(tmp_path: Path) -> None:
    cases = [
        (attn(spec, backend), seconds)
        for spec in ("q512", "q1kv512_q512")
        for backend, seconds in (("naive", 3e-5), ("sdpa", 2e-5))
    ]
    asked = ContrastAnalysis("backend", (("naive", "sdpa"),))
    found = contrast_answer(listed(tmp_path, of_each(cases)), asked, NOISE)
    (chart,) = found.charts
    assert isinstance(chart, Heat)
    shown = [text for line in chart.texts for text in line if text]
    assert len(shown) == 2


def splits(spec: str, times: dict[int | None, float]) -> list[tuple[Case, float]]:
    return [
        (mla(spec, "flashattn_mla", **({} if n is None else {"num_splits": n})), seconds)
        for n, seconds in times.items()
    ]


CUT_SHORT = [
    (mla("q1kv1k", "flashattn_mla", num_splits=8), (1e-5, 1e-5)),
    (mla("q1kv1k", "flashattn_mla"), (2e-5, 2e-5)),
    (mla("64q1kv1k", "flashattn_mla", num_splits=8), (9e-5,)),
    (mla("64q1kv1k", "flashattn_mla"), (3e-5, 3e-5)),
]


def test_an_optimum_tells_the_regret_of_auto_and_a_rule(tmp_path: Path) -> None:
    cases = []
    for length in (1, 4, 16):
        cases += splits(f"q1kv{length}k", {None: 3e-5, 1: 4e-5, 8: 2e-5, 16: 2.001e-5})
        cases += splits(f"64q1kv{length}k", {None: 5e-5, 1: 5e-5, 8: 9e-5, 16: 9e-5})
    found = optima(listed(tmp_path, of_each(cases)), "num_splits", OF_SERIES)
    small, large = found[0], found[1]
    assert small.best in ((("num_splits", 8),), (("num_splits", 16),))
    assert small.regret is not None
    assert small.regret.ratio == pytest.approx(1.5, rel=0.01)
    assert small.regret.verdict == "slower"
    assert large.regret is not None
    assert large.regret.verdict in ("same", "unclear")
    rule = propose(found, lambda case: len(case.batch))
    assert rule is not None
    assert rule.settings[1] != AUTO
    assert rule.ratio == pytest.approx((2 / 3) ** 0.5, rel=0.02)


def test_a_regret_below_nothing_is_no_loss(tmp_path: Path) -> None:
    """One lucky round makes 8 the best, and the rounds that it did not choose take it back."""
    auto, lucky = (case for case, _ in splits("q1kv1k", {None: 1, 8: 1}))
    results = {
        auto: timed(auto, 1e-5, 1e-5, 1e-5),
        lucky: timed(lucky, 0.9e-5, 1.02e-5, 1.02e-5),
    }
    found = optimum_answer(listed(tmp_path, results), OptimumAnalysis("num_splits"), NOISE)
    assert any(line.endswith("its regret is none in the geometric mean") for line in found.lines)
    (table,), (chart,) = found.tables, found.charts
    assert table.columns["auto's regret"][0].startswith("none (-1.3 %")
    assert isinstance(chart, Heat)
    assert (chart.texts, chart.values) == ([["8\nno loss"]], [[0.0]])


@pytest.mark.parametrize(
    ("cases", "doubt"),
    [
        ([(attn("q512"), 4e-4), (attn("q2k"), 3e-4)], "time falls while work doubles"),
        ([(attn("q2k"), 1e-9)], "above the roofline"),
    ],
)
def test_results_that_cannot_be_are_doubted(
    tmp_path: Path, cases: list[tuple[Case, float]], doubt: str
) -> None:
    bf16 = [(replace(case, dtype="bf16"), seconds) for case, seconds in cases]
    found = lint(series_of(measured(tmp_path, of_each(bf16), H200)), H200)
    assert doubt in found


def test_throttled_and_unsteady_rows_are_doubted(tmp_path: Path) -> None:
    case = attn("q2k")
    results = {case: timed(case, 1e-3, 2e-3, 1e-3, labels=("power_limited",))}
    assert {*lint(listed(tmp_path, results), CPU)} == {"power_limited", "rounds over 5 % apart"}


def test_sound_results_raise_no_doubt(tmp_path: Path) -> None:
    cases = [(attn(f"q{n}"), n * n * 1e-9) for n in (512, 1024, 2048)]
    assert lint(listed(tmp_path, of_each(cases)), CPU) == {}


def test_series_are_tuned_over_the_named_knobs_alone(tmp_path: Path) -> None:
    cases = [
        (attn("8q1kv1k", "sdpa", num_splits=n, threshold=t), 1e-5 * n)
        for n in (1, 2)
        for t in (1, 4)
    ]
    found = tuned(listed(tmp_path, of_each(cases)), ("num_splits",))
    assert [each.case.knobs for each in found] == [(("threshold", 1),), (("threshold", 4),)]
