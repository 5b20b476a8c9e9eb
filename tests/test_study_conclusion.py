"""A study's conclusion: its question, doubts, answer and counts, by the run's first method."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnbench.db.store import Store
from attnbench.db.transfer import export
from attnbench.errors import UsageError
from attnbench.records import Outcome, Status
from attnbench.specs.case import Case
from attnbench.studies.charts import Heat
from attnbench.studies.conclusion import Conclusion, conclude, conclusion_text
from attnbench.timing.method import Method
from tests.stored_results import (
    H200,
    ON_CPU,
    attn,
    cache_write,
    failed,
    store_run,
    timed,
)
from tests.test_study_answers import of_each, splits

SM100 = "needs SM100; this is SM90 (NVIDIA H200)"
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
