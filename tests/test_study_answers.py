"""What studies conclude from results that are made up, so that the truth is known."""

import importlib.util
import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from attnbench.analysis.contrast import Contrast, contrast_asked, contrasts
from attnbench.analysis.estimate import EXACT
from attnbench.analysis.lint import lint
from attnbench.analysis.optimum import optima, propose
from attnbench.analysis.ranking import AUTO
from attnbench.analysis.series import Series, Times, series_of
from attnbench.analysis.tuning import Setting, best_setting, cross_fitted, tuned
from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.db.transfer import export
from attnbench.errors import AttnbenchError, UsageError
from attnbench.records import Outcome, Status
from attnbench.reporting.html.palette import LIGHT, TINTS
from attnbench.reporting.ranking import change_with_interval
from attnbench.results.report import read_report
from attnbench.specs.case import Case
from attnbench.studies.analysis import ContrastAnalysis, OptimumAnalysis, WinnerAnalysis
from attnbench.studies.answers.contrast import answer as contrast_answer
from attnbench.studies.answers.optimum import answer as optimum_answer
from attnbench.studies.answers.winner import answer as winner_answer
from attnbench.studies.charts import Heat, Lines
from attnbench.studies.conclusion import Conclusion, conclude, conclusion_text
from attnbench.studies.heat import TIE
from attnbench.studies.page import study_parts
from attnbench.studies.plots import write_plots
from attnbench.timing.method import Method
from tests.stored_results import (
    CPU,
    H200,
    ON_CPU,
    attn,
    cache_write,
    failed,
    measured,
    mla,
    store_run,
    timed,
)

NOISE = lambda _: EXACT  # noqa: E731
OF_SERIES = lambda series, cell: EXACT  # noqa: E731
SM100 = "needs SM100; this is SM90 (NVIDIA H200)"


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


LAYOUTS = """\
question: Is HND worth it?
family: cache-write
answer: {contrast: {field: layout, pairs: [[NHD, HND]], by: [q_len]}}
sweep:
- {backend: torch, batch: ['q{q_len}'], q_len: [256, 4k], layout: [NHD, HND], dtype: bf16}
"""
SPLITS = """\
question: Should the heuristic be reverted?
family: mla
answer: {optimum: {knob: num_splits}}
sweep:
- {backend: [cutlass_mla, flashattn_mla], kv_len: 1k, knobs: {num_splits: [auto, 1, 8]}}
"""


def run_of(store: Store, text: str, results: dict[Case, list[Outcome]], **facts: object) -> int:
    run = store_run(store, results, machine=H200)
    study = {"name": "mine", "text": text, "left_out": {}, **facts}
    plan = {"study": study, "methods": [ON_CPU.as_facts()]}
    store.replan(run, plan)
    return run


def test_a_conclusion_has_numbers_intervals_and_counts(tmp_path: Path) -> None:
    cases = [
        (cache_write(tokens, layout), tokens * 1e-8 * (1.1 if layout == "HND" else 1.0))
        for tokens in (256, 4096)
        for layout in ("NHD", "HND")
    ]
    with Store.open(tmp_path / "results.db") as store:
        run = run_of(store, LAYOUTS, of_each(cases), is_quick=True, left_out={"too large": 3})
        found = conclude(store, run)
        stored = store.conclusion(run)
    assert stored is not None
    assert conclusion_text(Conclusion.from_facts(stored)) == conclusion_text(found)
    assert stored == json.loads(json.dumps(found.as_facts()))
    text = conclusion_text(found)
    assert text.startswith("mine: Is HND worth it?\n\nrun 1 on NVIDIA H200 (SM90); 3 rounds")
    assert "a pilot: the sweep is thinned" in text
    assert "HND against NHD: +10." in text
    assert "] time in the geometric mean of 2 cells (2 slower)" in " ".join(text.split())
    assert "HND against NHD, q_len 4k: " in text
    assert "4 of 4 cases have a time" in text
    assert "left out: 3: too large" in text
    (chart,) = found.charts
    assert isinstance(chart, Heat)
    assert chart.xs == ["256", "4k"]
    assert [[text[:4] for text in line] for line in chart.texts] == [["+10.", "+9.9"]]


def test_a_study_goes_by_its_first_method(tmp_path: Path) -> None:
    cases = [(cache_write(256, layout), 1e-5) for layout in ("NHD", "HND")]
    with Store.open(tmp_path / "results.db") as store:
        run = run_of(store, LAYOUTS, of_each(cases))
        alone = conclude(store, run)
        for at, (case, _) in enumerate(cases):
            (outcome,) = timed(case, 1e-6 * (1 + at))
            store.add(run, case, Method("kernel"), 0, at, outcome)
        assert conclude(store, run) == alone


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], ""),
        ([{"between": "layer"}], "between nothing alone, the first of 2 methods"),
        ([{"timer": "kernel"}], "timer cpu alone, the first of 2 methods"),
        (
            [{"cache": "hot"}, {"timer": "kernel"}],
            "timer cpu, cache cold alone, the first of 3 methods",
        ),
    ],
)
def test_a_study_of_several_methods_says_by_which_it_goes(
    tmp_path: Path, others: Sequence[dict[str, Any]], said: str
) -> None:
    cases = [(cache_write(256, layout), 1e-5) for layout in ("NHD", "HND")]
    with Store.open(tmp_path / "results.db") as store:
        run = run_of(store, LAYOUTS, of_each(cases))
        methods = [ON_CPU, *(replace(ON_CPU, **each) for each in others)]
        store.replan(run, {"methods": [each.as_facts() for each in methods]})
        where = conclude(store, run).where
    report = ": `attnbench report --run 1` has all"
    assert where.rpartition("3 rounds at most")[2] == (said and f"; concluded from {said}{report}")


def test_what_this_hardware_cannot_answer_is_said_beside_what_it_can(tmp_path: Path) -> None:
    results = of_each(splits("q1kv1k", {None: 3e-5, 1: 4e-5, 8: 2e-5}))
    for case in list(results):
        results[replace(case, backend="cutlass_mla")] = failed(Status.REFUSED, SM100)
    with Store.open(tmp_path / "results.db") as store:
        found = conclude(store, run_of(store, SPLITS, results))
    assert f"cutlass_mla: not answered here: {SM100}" in found.answer
    assert any(
        line.startswith("flashattn_mla: best num_splits over 1 cell: 8") for line in found.answer
    )
    assert f"refused: 3 of cutlass_mla: {SM100}" in found.cells
    (chart,) = found.charts
    assert isinstance(chart, Heat)
    ((text,),) = chart.texts
    assert text.startswith("8\n+49.")


def test_nothing_but_refusals_is_no_answer(tmp_path: Path) -> None:
    results = {
        replace(case, backend="cutlass_mla"): failed(Status.REFUSED, SM100)
        for case, _ in splits("q1kv1k", {None: 1, 1: 1, 8: 1})
    }
    with Store.open(tmp_path / "results.db") as store:
        found = conclude(store, run_of(store, SPLITS, results))
    assert found.answer == [f"cutlass_mla: not answered here: {SM100}"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("winner: {}", "Prefill: sdpa in 3 of 3, 2.00x ahead."),
        ("growth: {layers: 32}", "sdpa: 32 layers take 96.0 ms at q2k; from 1k to 2k it grows as"),
    ],
)
def test_each_analysis_ends_in_a_sentence(tmp_path: Path, answer: str, expected: str) -> None:
    text = f"question: x\nfamily: attn\nanswer: {{{answer}}}\nsweep:\n- {{q_len: [512, 1k, 2k]}}\n"
    cases = [
        (attn(spec, backend), seconds * factor)
        for spec, seconds in (("q512", 3e-4), ("q1k", 1e-3), ("q2k", 3e-3))
        for backend, factor in (("sdpa", 1.0), ("naive", 2.0))
    ]
    with Store.open(tmp_path / "results.db") as store:
        found = conclude(store, run_of(store, text, of_each(cases, 1e-9)))
    assert any(line.startswith(expected) for line in found.answer), found.answer
    assert found.tables
    assert found.charts


def test_a_conclusion_travels_with_its_run(tmp_path: Path) -> None:
    cases = [(cache_write(256, layout), 1e-5) for layout in ("NHD", "HND")]
    with Store.open(tmp_path / "results.db") as store:
        run = run_of(store, LAYOUTS, of_each(cases))
        facts = conclude(store, run).as_facts()
        export(store, [run], tmp_path / "other.db")
    with Store.open(tmp_path / "other.db", create=False) as other:
        assert other.conclusion(1) == json.loads(json.dumps(facts))
        other.delete(1)
        with pytest.raises(UsageError):
            other.run(1)


def test_without_matplotlib_plots_are_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    folder = tmp_path / "plots"
    words = ["study", "prefill-length", "--plots", str(folder), "--dry-run"]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "'--plots': plots need matplotlib, which is not installed" in done.stderr
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = Conclusion("s", "?", (), "here", (), (), (), (), (Lines("t", "x", "y", {}),))
    with pytest.raises(AttnbenchError, match="could not be written"):
        write_plots(found, tmp_path / "file" / "plots", "png")


def test_every_kind_of_chart_is_drawn(tmp_path: Path) -> None:
    lines = Lines("A", "x", "y", {"a": [(1, 2, 1.5, None), (1024, 9, None, None)], "b": []}, True)
    heat = Heat("B", "x", "y", ["1", "2"], ["3"], [["a", ""]], [[1.0, None]], "z")
    found = Conclusion("mine", "x?", [], "run 1", [], [], [], [], [lines, heat])
    paths = write_plots(found, tmp_path, "png")
    assert [path.name for path in paths] == ["mine-1-a.png", "mine-2-b.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_picture_and_a_page_colour_a_winner_alike(tmp_path: Path) -> None:
    """By the place of its first case, and the stronger, the larger its lead; ties are striped."""
    results = of_each(
        [
            (attn(spec, backend), seconds)
            for spec, times in (
                ("q1kv1k", (3e-5, 1.5e-5, 1e-5)),
                ("q1kv2k", (3e-5, 1.03e-5, 1e-5)),
                ("q1kv4k", (3e-5, 1e-5, 1e-5)),
            )
            for backend, seconds in zip(("naive", "sdpa", "flash"), times, strict=True)
        ]
    )
    text = "question: x\nfamily: attn\nanswer: {winner: {}}\nsweep:\n- {kv_len: [1k, 2k, 4k]}\n"
    with Store.open(tmp_path / "results.db") as store:
        run = run_of(store, text, results)
        found = conclude(store, run)
        (part,) = study_parts(store, read_report(store, [str(run)]))
    ((_, cells),) = part.maps[0].rows
    styles = [(each.style, sorted(each.slots)) for each in cells if each]
    assert styles == [("slot2 strength2", []), ("slot2 strength0", []), ("tied", [1, 2])]
    (path,) = write_plots(found, tmp_path, "svg")
    drawn = set(re.findall(r"fill: (#[0-9a-f]{6})", path.read_text()))
    mixes = [(2, TINTS["light"][2]), (2, TINTS["light"][0]), (2, TIE / 100), (1, TIE / 100)]
    assert {mixed(LIGHT[slot], part) for slot, part in mixes} <= drawn


def mixed(colour: str, part: float) -> str:
    levels = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - (255 - level) * part):02x}" for level in levels)


def test_a_picture_has_the_answer_above_and_its_origin_below(tmp_path: Path) -> None:
    heat = Heat("B", "x", "y", ["1"], ["3"], [["+9 %"]], [[9.0]], "and regret, %")
    answer = ["a: not answered here: needs SM100", "b loses 9 %"]
    found = Conclusion("mine", "x?", [], "run 1", [], answer, [], [], [heat], "run 1: H200, 48ec")
    (path,) = write_plots(found, tmp_path, "svg")
    comments = [line.strip() for line in path.read_text().splitlines() if "<!--" in line]
    assert "<!-- b loses 9 % -->" in comments
    assert "<!-- run 1: H200, 48ec -->" in comments
    assert not any("SM100" in line for line in comments)


def test_series_are_tuned_over_the_named_knobs_alone(tmp_path: Path) -> None:
    cases = [
        (attn("8q1kv1k", "sdpa", num_splits=n, threshold=t), 1e-5 * n)
        for n in (1, 2)
        for t in (1, 4)
    ]
    found = tuned(listed(tmp_path, of_each(cases)), ("num_splits",))
    assert [each.case.knobs for each in found] == [(("threshold", 1),), (("threshold", 4),)]
