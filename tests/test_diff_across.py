"""`attnbench diff --across FIELD`: cases that differ in exactly that field."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from attnbench.cli import cli
from attnbench.db.store import Store
from attnbench.specs.case import Case, Value
from tests.stored_results import Results, attn, cache_write, mla, store_run, timed

ROUNDS = (1e-3, 1.002e-3, 0.998e-3)
SDPA, NAIVE = attn("q512"), attn("q512", "naive")


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "across.db")


def add(db: str, label: str, results: Results) -> None:
    with Store.open(db) as store:
        store_run(store, results, label=label)


def diff(db: str, across: str, *options: str, base: str = "one", head: str = "one") -> Result:
    sides = ["--base", base, "--head", head, "--across", across]
    return CliRunner().invoke(cli, ["diff", "--db", db, *sides, *options])


def slower(factor: float) -> tuple[float, ...]:
    return tuple(factor * time for time in ROUNDS)


TABLE = """\
across: backend sdpa -> naive
noise: rounds were interleaved and are compared pair by pair

attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 and 3 rounds
dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

               base  head  change   95 % interval
verdict  spec    ms    ms       %               %
-------  ----  ----  ----  ------  --------------
slower   q512  1.00  1.50   +50.0  +49.7 to +50.3

1 slower; a change within 1 % does not matter
geometric mean of 1 case with a time on both sides: +50.0 %
"""


def test_two_backends_of_one_run_are_compared_round_by_round(db: str) -> None:
    add(db, "one", {SDPA: timed(SDPA, *ROUNDS), NAIVE: timed(NAIVE, *slower(1.5))})
    found = diff(db, "backend")
    assert found.exit_code == 1
    assert found.stdout.partition("\n")[2].partition("\n")[2] == TABLE


def test_a_run_is_judged_as_its_report_ranks_it(db: str) -> None:
    two_rounds = {SDPA: timed(SDPA, 1e-3, 1.1e-3), NAIVE: timed(NAIVE, 3e-3, 5e-3)}
    for label in ("one", "again"):
        add(db, label, two_rounds)
    report = CliRunner().invoke(cli, ["report", "--db", db, "--run", "one"]).stdout
    assert re.search(r"naive .* unclear ", report)
    assert diff(db, "backend").stdout.count("unclear  q512") == 1


def test_the_values_may_be_chosen_and_turned_round(db: str) -> None:
    flex = attn("q512", "flex")
    times = {SDPA: timed(SDPA, *ROUNDS), NAIVE: timed(NAIVE, *slower(2)), flex: timed(flex, 1.0)}
    add(db, "one", times)
    found = json.loads(diff(db, "backend=Naive:sdpa", "--format", "json").stdout)
    (cell,) = found["cells"]
    assert found["across"] == {"field": "backend", "base": "naive", "head": "sdpa"}
    assert (cell["verdict"], cell["ratio"]) == ("faster", pytest.approx(0.5))
    assert (found["only_in_base"], found["only_in_head"]) == ([], [])


def of_a_server(backend: str, **knobs: Value) -> Case:
    return replace(attn("q512", backend), knobs=tuple(knobs.items()))


@pytest.mark.parametrize(
    ("base", "head", "paired"),
    [
        (of_a_server("flash", max_model_len=8192), SDPA, True),
        (SDPA, of_a_server("flash", max_model_len=8192), True),
        (
            of_a_server("flash", max_model_len=8192),
            of_a_server("flashinfer", max_model_len=8192, decode_kernel="served"),
            True,
        ),
        (
            of_a_server("flash", max_model_len=8192),
            of_a_server("triton", max_model_len=16384),
            False,
        ),
        (of_a_server("flash", num_splits=4), SDPA, False),
    ],
    ids=lambda value: f"{value.backend} {value.knobs}" if isinstance(value, Case) else str(value),
)
def test_what_only_one_of_two_backends_has_of_a_server_keeps_them_from_no_comparison(
    db: str, base: Case, head: Case, paired: bool
) -> None:
    add(db, "one", {base: timed(base, *ROUNDS), head: timed(head, *slower(2))})
    found = diff(db, f"backend={base.backend}:{head.backend}")
    assert found.exit_code == (1 if paired else 3)  # slower, or nothing to compare


def test_two_lengths_of_a_server_are_compared_with_each_other(db: str) -> None:
    short, long = (of_a_server("flash", max_model_len=n) for n in (8192, 16384))
    add(db, "one", {short: timed(short, *ROUNDS), long: timed(long, *slower(2))})
    found = json.loads(diff(db, "max_model_len=8192:16384", "--format", "json").stdout)
    assert len(found["cells"]) == 1


@pytest.mark.parametrize(
    ("across", "cases", "told"),
    [
        ("layout", (cache_write(64, "NHD"), cache_write(64, "HND")), "layout NHD -> HND"),
        ("threshold", (mla("q16", threshold=1), mla("q16", threshold=4)), "threshold 1 -> 4"),
        ("threshold", (mla("q16"), mla("q16", threshold=4)), "threshold unset -> 4"),
        ("dtype", (attn("q512"), attn("q512", dtype="bf16")), "dtype fp32 -> bf16"),
        ("batch", (attn("q512"), attn("q1k")), "batch q512 -> q1k"),
    ],
)
def test_any_field_and_any_knob_can_be_what_differs(
    db: str, across: str, cases: tuple[Case, ...], told: str
) -> None:
    add(db, "one", {case: timed(case, *ROUNDS) for case in cases})
    found = diff(db, across)
    assert found.exit_code == 0, found.stderr
    assert f"across: {told}\n" in found.stdout
    assert "1 same" in found.stdout


def test_what_differs_in_one_more_field_is_told_with_it(db: str) -> None:
    paged = attn("q1k", "naive", block=32)
    first, second = attn("q1k", block=16), attn("2q1k")
    add(db, "one", {case: timed(case, *ROUNDS) for case in (SDPA, NAIVE, first, second, paged)})
    text = diff(db, "backend").stdout
    assert "not comparable, block 16 -> 32: sdpa q1k, block 16\n" in text
    assert "1 only in base: batch 2q1k\n" in text


def test_without_across_the_one_field_that_differs_is_told_too(db: str) -> None:
    add(db, "one", {SDPA: timed(SDPA, *ROUNDS), (c := attn("q1k")): timed(c, *ROUNDS)})
    add(db, "two", {SDPA: timed(SDPA, *ROUNDS), (c := attn("q1k", "naive")): timed(c, *ROUNDS)})
    found = CliRunner().invoke(cli, ["diff", "--db", db, "--base", "one", "--head", "two"])
    assert "not comparable, backend sdpa -> naive: sdpa q1k\n" in found.stdout


@pytest.mark.parametrize(
    ("across", "message"),
    [
        (
            "blok",
            "--across blok: no case has such a field; accepted are family, backend, batch",
        ),
        ("bakend", "no case has such a field (did you mean backend?); accepted are family"),
        (
            "backend",
            "--across backend: base has sdpa, naive, flex and head has sdpa, naive, flex; say "
            "which two, e.g. --across backend=sdpa:naive",
        ),
        ("dtype", "--across dtype: it is fp32 in all cases; name runs that differ in it"),
        ("backend=sdpa", "--across backend=sdpa: its side does not have '' but sdpa, naive, flex"),
        ("backend=sdpa:cudnn", "its side does not have 'cudnn' but sdpa, naive, flex"),
    ],
)
def test_a_field_that_leaves_no_one_choice_is_a_usage_error(
    db: str, across: str, message: str
) -> None:
    flex = attn("q512", "flex")
    add(db, "one", {case: timed(case, *ROUNDS) for case in (SDPA, NAIVE, flex)})
    found = diff(db, across)
    assert (found.exit_code, found.stdout) == (2, "")
    assert message in found.stderr


@pytest.mark.parametrize(
    ("across", "other", "compared"),
    [
        ("kv_cache_dtype", replace(SDPA, kv_cache_dtype="fp8"), True),  # less work, less load
        ("backend", NAIVE, False),  # the same work, so one of them is of another version
    ],
)
def test_only_another_workload_may_be_timed_in_another_regime(
    db: str, across: str, other: Case, compared: bool
) -> None:
    loaded = timed(SDPA, *ROUNDS, labels=("sustained",))
    add(db, "one", {SDPA: loaded, other: timed(other, *slower(1.5))})
    found = diff(db, across)
    assert (found.exit_code == 1) is compared
    assert ("not comparable, regime sustained -> burst" in found.stderr) is not compared


def test_only_fields_of_the_family_are_offered(db: str) -> None:
    add(db, "one", {case: timed(case, *ROUNDS) for case in (SDPA, NAIVE)})
    found = diff(db, "nope")
    assert found.exit_code == 2
    assert "page_order" in found.output
    assert not {"topk_pattern", "projections", "scope_version"} & {*re.split(r"\W+", found.output)}


def test_a_label_of_one_side_is_said_of_that_sides_case(db: str) -> None:
    base = timed(SDPA, *ROUNDS, labels=("clock_moved",))
    add(db, "one", {SDPA: base, NAIVE: timed(NAIVE, *slower(1.5))})
    assert "clock_moved only in base: sdpa" in diff(db, "backend").stdout
    assert "clock_moved only in head: sdpa" in diff(db, "backend=naive:sdpa").stdout
