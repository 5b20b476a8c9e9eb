"""What a sweep over thresholds or splits comes to, on stored rounds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.db.store import Store
from attnbench.provenance.machine import Machine
from attnbench.records import Status
from attnbench.reporting.choices import choice_lines
from attnbench.results.cohort import cohorts
from attnbench.specs.case import Value
from tests.stored_results import CPU, H200, Results, failed, mla, store_run, timed

SPEC = "8q4kv1k"
Times = Mapping[Value | None, tuple[float, ...]]
US = 1e-6


def swept(knob: str, times: Times, spec: str = SPEC) -> Results:
    """Rounds, in microseconds, of one backend under each value; None without the knob."""
    return {
        mla(spec, "x", **({} if value is None else {knob: value})): timed(
            mla(spec, "x"), *(t * US for t in each)
        )
        for value, each in times.items()
    }


def lines(folder: Path, results: Results, machine: Machine = CPU) -> list[str]:
    with Store.open(folder / "measured.db") as store:
        run = store_run(store, results, machine=machine)
        (cohort,) = cohorts(store.measurements([run]), {run: store.run(run)})
    return choice_lines(cohort)


@pytest.mark.parametrize(
    ("times", "line"),
    [
        (
            {1: (90.0, 90.2, 90.1), 4: (40.0, 40.1, 40.0), 8: (41.9, 42.0, 42.1)},
            "best splits 4 (40.0 us); 8 takes 1.05x, 1 takes 2.25x",
        ),
        (
            {1: (90.0, 90.2, 90.1), 4: (40.0, 40.1, 40.0), 8: (40.1, 40.0, 40.2)},
            "best splits 4 (40.0 us), tied with 8; 1 takes 2.25x",
        ),
        (
            {1: (90.0, 90.2, 90.1), 4: (40.0, 40.1, 40.0), None: (44.0, 44.1, 44.0)},
            "best splits 4 (40.0 us); 1 takes 2.25x; auto's regret +10.0 % [+9.8, +10.2]",
        ),
        (
            {1: (90.0, 90.2, 90.1), None: (40.0, 40.1, 40.0)},
            "best splits auto (40.0 us); 1 takes 2.25x; auto's regret none",
        ),
        (
            {1: (40.0, 44.0, 36.0), 4: (43.0, 39.0, 41.0), 8: (80.0, 80.0, 80.0)},
            "best splits 1 (39.9 us); 4 unclear at 1.03x, 8 takes 2.01x",
        ),
        # One round each: nothing is the best, and nothing ties.
        ({1: (90.0,), 4: (40.0,)}, "quickest splits 4 (40.0 us); 1 takes 2.25x"),
        ({1: (40.2,), 4: (40.0,)}, "quickest splits 4 (40.0 us); 1 takes 1.00x"),
        (
            {1: (40.0,), None: (44.0,)},
            "quickest splits 1 (40.0 us); auto takes 1.10x",
        ),
    ],
)
def test_a_sweep_ends_in_the_best_value_its_ties_and_autos_regret(
    tmp_path: Path, times: Times, line: str
) -> None:
    assert lines(tmp_path, swept("num_splits", times)) == [f"x {SPEC}: {line}"]


def test_thresholds_that_split_a_batch_alike_are_the_same_work(tmp_path: Path) -> None:
    times: Times = {1: (40.0, 40.1, 40.0), 4: (45.0, 45.1, 45.0)}
    (line,) = lines(tmp_path, swept("threshold", times))
    assert line == f"x {SPEC}: best threshold 1 (40.0 us), the same work as 4"


def test_one_value_alone_is_no_sweep(tmp_path: Path) -> None:
    for value in (4, None):
        assert lines(tmp_path, swept("num_splits", {value: (40.0, 40.1)})) == []


def test_each_batch_and_backend_has_a_line_of_its_own(tmp_path: Path) -> None:
    cases = {
        mla(spec, backend, num_splits=splits): timed(mla(spec), splits * US, splits * US)
        for spec in ("2q1kv1k", "4q1kv1k")
        for backend in ("x", "y")
        for splits in (2, 4)
    }
    found = lines(tmp_path, cases)
    assert [line.partition(":")[0] for line in found] == [
        f"{backend} {spec}" for spec in ("2q1kv1k", "4q1kv1k") for backend in ("x", "y")
    ]


def test_a_value_without_a_time_is_left_out(tmp_path: Path) -> None:
    results = {
        mla(SPEC, "x", num_splits=2): timed(mla(SPEC), 1e-5, 1e-5),
        mla(SPEC, "x", num_splits=4): failed(Status.OOM, "out of memory"),
    }
    assert lines(tmp_path, results) == []


def test_a_time_that_cannot_be_is_no_best_value(tmp_path: Path) -> None:
    results = {
        (case := replace(mla(SPEC, "x", num_splits=n), dtype="bf16")): timed(case, t, t)
        for n, t in ((2, 1e-3), (4, 1.1e-3), (8, 1e-12))
    }
    found = lines(tmp_path, results, H200)
    assert found == [f"x {SPEC}: best splits 2 (1.00 ms); 4 takes 1.10x"]


def test_of_a_sweep_of_many_batches_a_table_names_only_their_number(tmp_path: Path) -> None:
    cases = {
        mla(f"2q1kv{at}k", "x", num_splits=splits): timed(mla(SPEC), 1e-5, 1e-5)
        for at in range(1, 15)
        for splits in (2, 4)
    }
    with Store.open(tmp_path / "measured.db") as store:
        run = store_run(store, cases)
        (cohort,) = cohorts(store.measurements([run]), {run: store.run(run)})
    assert choice_lines(cohort, is_short=True) == [
        "the best splits of each of 14 batches: attnbench report -v"
    ]
    assert len(choice_lines(cohort)) == 14
