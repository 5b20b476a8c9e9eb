"""Workloads on a page: their place, the lines through them, and the maps of who won where."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.fields import Fields
from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.reporting.html.answer import answer
from attnbench.reporting.html.sweeps import batch_dims, dims_text, sweeps
from attnbench.reporting.html.winners import winner_maps
from attnbench.reporting.html.workloads import workloads_of
from attnbench.results.cohort import Cohort, cohorts
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape
from tests.stored_pages import BACKEND, LENGTHS, decodes
from tests.stored_results import (
    CPU,
    H200,
    Results,
    attn,
    cache_write,
    measured,
    mla,
    store_run,
    timed,
)


def cohort_of(folder: Path, results: Results, machine: Machine = CPU) -> Cohort:
    """The only cohort of a run with these results."""
    with Store.open(folder / "results.db") as store:
        number = store_run(store, results, machine=machine)
        (found,) = cohorts(store.measurements([number]), {number: store.run(number)})
    return found


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (attn("8q1kv4k"), "batch size 8, q_len 1, kv_len 4k, context 4095"),
        (attn("q2k"), "batch size 1, q_len 2k, kv_len 2k, context 0"),
        (
            attn("4q1kv1k~sorted"),
            "batch size 4, q_len 1, kv_len 1k, context 1023, spread sorted",
        ),
        (
            attn("2q2k_32q1kv1k"),
            "decode requests 32, decode kv_len 1k, prefill requests 2, prefill q_len 2k",
        ),
        (attn("q2k_q1k_q1kv1k"), "batch q1kv1k_q1k_q2k"),
        (cache_write(64, "NHD"), "tokens 64"),
    ],
)
def test_a_batch_has_a_place_in_the_space_of_workloads(case: Case, text: str) -> None:
    assert dims_text(batch_dims(case)) == text


@pytest.mark.parametrize(
    ("cases", "lines"),
    [
        (
            [attn(f"{size}q1kv{kv}k") for size in (1, 2, 4) for kv in (1, 2, 4)],
            [f"batch size: kv_len {kv}k 3" for kv in (1, 2, 4)]
            + [f"kv_len: batch size {size} 3" for size in (1, 2, 4)],
        ),
        ([attn(f"q{size}") for size in (512, 1024, 2048)], ["q_len:  3"]),
        ([attn(f"q{q}kv8k") for q in (1, 4, 16)], ["q_len:  3"]),
        ([attn(f"{n}q1kv1k_2q2k") for n in (8, 16, 32)], ["decode requests:  3"]),
        ([mla("q4kv1k", num_splits=n) for n in (1, 2, 4)], ["num_splits:  3"]),
        ([cache_write(n, lay) for n in (1, 2, 4) for lay in ("NHD", "HND")], ["tokens:  6"]),
        ([attn("q512"), attn("8q1kv1k"), attn("q1k")], []),
    ],
)
def test_what_differs_in_one_quantity_is_a_sweep(
    tmp_path: Path, cases: Sequence[Case], lines: Sequence[str]
) -> None:
    listed = series_of(measured(tmp_path, {case: timed(case, 1e-3) for case in cases}))
    found = sweeps(listed, Fields.of(cases))
    assert [f"{s.axis}: {dims_text(s.fixed)} {len(s.points)}" for s in found] == lines


def test_a_winner_map_has_two_quantities_and_calls_ties_ties(tmp_path: Path) -> None:
    results = decodes()
    tie = attn("1q1kv1k", BACKEND, dtype="bf16")
    results[tie] = timed(tie, 10e-6, 10.02e-6, 9.99e-6)
    cohort = cohort_of(tmp_path, results, machine=H200)
    (found,) = winner_maps(workloads_of(cohort), cohort.fields, {"sdpa": 0, BACKEND: 1})
    assert (found.row_name, found.column_name) == ("batch size", "kv_len")
    assert list(found.columns) == list(LENGTHS)
    winners = {name: [square and square.winner for square in row] for name, row in found.rows}
    assert winners["1"] == ["tie", "sdpa", "sdpa"]
    assert winners["8"] == [BACKEND] * 3
    first = next(square for square in found.rows[0][1] if square)
    assert re.fullmatch(rf"sdpa = {re.escape(BACKEND)}|{re.escape(BACKEND)} = sdpa", first.detail)
    last = found.rows[-1][1][-1]
    assert last is not None
    assert (last.detail, last.style) == ("1.25x", "won slot1 strength1")
    assert re.fullmatch(r".*, next 1.25x \[1\.\d+ to 1\.\d+\]", last.sentence)
    assert (first.style, sorted(first.slots)) == ("tied", [0, 1])


def test_every_workload_of_a_run_is_on_a_map(tmp_path: Path) -> None:
    """Batches of all kinds, some without a second of their kind."""
    specs = ["1q1kv1k", "8q1kv1k", "q512", "2q1k", "q4kv1k", "2q1k_8q1kv2k", "q2k_q1k_q1kv1k"]
    results = {}
    for spec in specs:
        for at, name in enumerate(("a", "b")):
            case = attn(spec, name)
            results[case] = timed(case, *((1 + at) * 1e-3 * wobble for wobble in (1, 1.001, 0.999)))
    cohort = cohort_of(tmp_path, results)
    found = winner_maps(workloads_of(cohort), cohort.fields, {"a": 0, "b": 1})
    squares = [each for m in found for _, line in m.rows for each in line if each]
    assert sorted(each.workload for each in squares) == list(range(len(specs)))
    assert {m.label.split(",")[0] for m in found} == {"decode", "prefill", "extend", "mixed"}


@pytest.mark.parametrize(("count", "names"), [(8, ("", "batch size")), (9, ("batch size", ""))])
def test_a_long_row_of_squares_stands_upright(
    tmp_path: Path, count: int, names: tuple[str, str]
) -> None:
    cases = [attn(f"{n}q1kv1k", name) for n in range(1, count + 1) for name in ("a", "b")]
    cohort = cohort_of(tmp_path, {case: timed(case, 1e-3) for case in cases})
    (found,) = winner_maps(workloads_of(cohort), cohort.fields, {"a": 0, "b": 1})
    assert (found.row_name, found.column_name) == names
    assert sum(1 for _, line in found.rows for each in line if each) == count


def test_a_map_is_of_batches_and_there_is_one_for_each_number_of_heads(tmp_path: Path) -> None:
    cases = [
        replace(attn(f"{size}q1kv{kv}k", name), shape=AttnShape(heads))
        for size in (1, 2)
        for kv in (1, 2)
        for heads in (8, 16, 32)
        for name in ("a", "b")
    ]
    cohort = cohort_of(tmp_path, {case: timed(case, 1e-3, 1e-3) for case in cases})
    found = winner_maps(workloads_of(cohort), cohort.fields, {"a": 0, "b": 1})
    assert [each.label for each in found] == [f"decode, num_q_heads {n}" for n in (8, 16, 32)]
    assert {(each.row_name, each.column_name) for each in found} == {("batch size", "kv_len")}


@pytest.mark.parametrize(
    ("won", "text"),
    [
        ((1, 2), "a in 2 of 4 (batch size up to 2)"),
        ((4, 8), "a in 2 of 4 (batch size from 4)"),
        ((1, 4), "a in 2 of 4, "),
        ((2, 8), "a in 2 of 4, "),
        ((1, 2, 4, 8), "a in 4 of 4, "),
    ],
)
def test_an_answer_names_a_range_where_one_holds_all_wins_and_nothing_else(
    tmp_path: Path, won: Sequence[int], text: str
) -> None:
    results = {}
    for size in (1, 2, 4, 8):
        for name, factor in (("a", 1.0), ("b", 1.5 if size in won else 0.5)):
            case = attn(f"{size}q1kv1k", name)
            rounds = (1, 1.001, 0.999)
            results[case] = timed(case, *(factor * 1e-3 * wobble for wobble in rounds))
    cohort = cohort_of(tmp_path, results)
    (sentence,) = answer(cohort.rankings, cohort.fields, lambda each: each.case.backend)
    assert text in sentence
