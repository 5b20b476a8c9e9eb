"""Cycles beside time: a clock that power held down tells against a backend in time alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.series import series_of
from attnbench.db.store import Store
from attnbench.records import Outcome
from attnbench.reporting.tables import results_tables
from attnbench.results.cohort import cohorts
from attnbench.specs.case import Case
from tests.stored_results import H200, ON_GPU, Results, attn, measured, store_run, timed

GHZ = 1e9
FLASH, FLASHINFER = (attn("q512kv8k", name, "bf16") for name in ("flash", "flashinfer"))


def at_clocks(case: Case, rounds: Sequence[tuple[float, float | None]]) -> list[Outcome]:
    """Rounds of a median and the SM clock of its samples, None where nothing stamped it."""
    return [
        replace(outcome, guard={} if clock is None else {"sm_clock_hz_median": clock})
        for seconds, clock in rounds
        for outcome in timed(case, seconds)
    ]


def table(folder: Path, results: Results, width: int = 100) -> str:
    with Store.open(folder / "clocks.db") as store:
        run = store_run(store, results, machine=H200, method=ON_GPU)
        return results_tables(
            cohorts(store.measurements([run]), {run: store.run(run)}), width=width
        )


@pytest.fixture
def held_down() -> Results:
    """flash takes fewer cycles, at a clock that was 4 % lower."""
    rounds = (1.0, 1.001, 0.999)
    return {
        FLASH: at_clocks(FLASH, [(122.3e-6 * f, 1.64 * GHZ) for f in rounds]),
        FLASHINFER: at_clocks(FLASHINFER, [(119.8e-6 * f, 1.72 * GHZ) for f in rounds]),
    }


def test_a_table_shows_cycles_beside_time(tmp_path: Path, held_down: Results) -> None:
    lines = table(tmp_path, held_down).splitlines()
    header = next(line for line in lines if line.startswith("backend"))
    assert header.split()[:5] == ["backend", "us", "%", "kcycles", "TFLOP/s"]
    rows = [line.split() for line in lines if line.startswith("flash")]
    assert [(row[0], row[3]) for row in rows[:2]] == [("flash", "201"), ("flashinfer", "206")]


def test_a_narrow_terminal_has_no_room_for_them(tmp_path: Path, held_down: Results) -> None:
    shown, _, left_out = table(tmp_path, held_down, width=50).partition("a wider terminal")
    assert "kcycles" not in shown
    assert "kcycles" in left_out


def test_the_table_says_where_another_is_the_best_by_cycles(
    tmp_path: Path, held_down: Results
) -> None:
    assert (
        "flashinfer q512kv8k: best by time; by SM cycles flash q512kv8k (-2.7 %, at 1.64, not "
        "1.72 GHz)" in table(tmp_path, held_down).replace("\n  ", " ")
    )


@pytest.mark.parametrize(
    ("flash", "flashinfer"),
    [
        ((119e-6, 1.7 * GHZ), (122e-6, 1.7 * GHZ)),  # the best by both
        ((122e-6, 1.685 * GHZ), (120e-6, 1.72 * GHZ)),  # 0.4 % fewer cycles are no other winner
        ((120.1e-6, 1.6 * GHZ), (120e-6, 1.72 * GHZ)),  # a tie in time
        ((122e-6, None), (119e-6, 1.72 * GHZ)),
        ((122e-6, 1.6 * GHZ), (119e-6, None)),
    ],
)
def test_otherwise_nothing_is_said_of_cycles(
    tmp_path: Path, flash: tuple[float, float | None], flashinfer: tuple[float, float | None]
) -> None:
    results = {
        FLASH: at_clocks(FLASH, [flash] * 3),
        FLASHINFER: at_clocks(FLASHINFER, [flashinfer] * 3),
    }
    assert "by SM cycles" not in table(tmp_path, results)


def test_a_time_at_unknown_clocks_has_no_cycles(tmp_path: Path) -> None:
    results = {FLASH: at_clocks(FLASH, [(1e-4, 1.7 * GHZ), (1e-4, None)])}
    (series,) = series_of(measured(tmp_path, results, H200, ON_GPU))
    assert series.cycles is None
    assert "kcycles" not in table(tmp_path, results)


def test_many_workloads_are_counted_instead_of_named(tmp_path: Path) -> None:
    results: dict[Case, list[Outcome]] = {}
    for kv in range(1, 9):
        flash, other = (attn(f"q512kv{kv + 7}k", name, "bf16") for name in ("flash", "flashinfer"))
        results[flash] = at_clocks(flash, [(122e-6 * kv, 1.6 * GHZ)] * 3)
        results[other] = at_clocks(other, [(120e-6 * kv, 1.72 * GHZ)] * 3)
    text = table(tmp_path, results)
    assert text.count("best by time; by SM cycles") == 5
    assert "by SM cycles another leads in 3 more" in text
