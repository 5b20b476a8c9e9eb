"""Which rounds of two sides are compared one by one: only those that were interleaved."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.across import Across
from attnbench.analysis.estimate import Cell
from attnbench.analysis.pairing import Matching, Pair, cell_of, pair_up
from attnbench.analysis.series import Series, series_of
from attnbench.db.store import Store
from attnbench.records import Measurement
from attnbench.results.noise import turns_of
from tests.stored_results import attn, store_run, timed

CASE = attn("q512")
BASE, HEAD = (1e-3, 2e-3, 3e-3), (1.1e-3, 2.1e-3, 3.1e-3)


def compared(
    folder: Path, marks: Sequence[str | None], base: Sequence[float], head: Sequence[float]
) -> Cell:
    """What is compared of a run of each side, which took turns as the marks say."""
    with Store.open(folder / "pairing.db") as store:
        runs = [
            store_run(store, {CASE: timed(CASE, *medians)}, interleaved=mark)
            for mark, medians in zip(marks, (base, head), strict=True)
        ]
        sides = [series_of(store.measurements([run]))[0] for run in runs]
        return cell_of(Pair(*sides), turns_of(store, runs))


@pytest.mark.parametrize(
    ("marks", "paired"),
    [
        (("one", "one"), True),
        (("one", "two"), False),
        (("one", None), False),
        ((None, "one"), False),
        ((None, None), False),
    ],
)
def test_rounds_pair_only_where_both_runs_say_that_they_took_turns(
    tmp_path: Path, marks: Sequence[str | None], paired: bool
) -> None:
    cell = compared(tmp_path, marks, BASE, HEAD)
    assert (cell.paired, cell.base, cell.head) == (paired, BASE, HEAD)


def test_a_round_that_one_side_lacks_is_left_out_of_pairs_alone(tmp_path: Path) -> None:
    interleaved = compared(tmp_path, ("one", "one"), BASE, HEAD[:2])
    assert (interleaved.base, interleaved.head) == (BASE[:2], HEAD[:2])
    assert interleaved.matched
    apart = compared(tmp_path, (None, None), BASE, HEAD[:2])
    assert (apart.base, apart.head) == (BASE, HEAD[:2])
    assert not apart.matched


def rounds_of(folder: Path, runs: int = 1) -> list[Measurement]:
    with Store.open(folder / "pairing.db") as store:
        numbers = [
            store_run(store, {CASE: timed(CASE, *BASE)}, interleaved="one") for _ in range(runs)
        ]
        return store.measurements(numbers, pool=True)


def test_two_series_of_one_run_were_interleaved(tmp_path: Path) -> None:
    (series,) = series_of(rounds_of(tmp_path))
    assert cell_of(Pair(series, series), {}).paired


def test_several_runs_of_a_side_are_compared_without_pairs(tmp_path: Path) -> None:
    first, second = (Series(tuple(rounds_of(tmp_path, runs))) for runs in (1, 2))
    marks = dict.fromkeys(range(1, 4), "one")
    cell = cell_of(Pair(first, second), marks)
    assert (cell.paired, cell.sessions) == (False, (1, 2))
    same = cell_of(Pair(second, second), {})
    assert (same.paired, same.sessions, same.base) == (False, (2, 2), 2 * BASE)


def test_sides_without_a_round_in_common_are_compared_without_pairs(tmp_path: Path) -> None:
    (series,) = series_of(rounds_of(tmp_path))
    early, late = Series(series.rounds[:1]), Series(series.rounds[1:])
    cell = cell_of(Pair(early, late), {})
    assert (cell.paired, cell.base, cell.head) == (False, BASE[:1], BASE[1:])


def test_one_backend_with_and_without_a_servers_knob_is_no_pair(tmp_path: Path) -> None:
    """Across backends it is, where only one of them has the knob."""
    plain, other = attn("q512"), attn("q512", "naive")
    cases = (plain, replace(plain, knobs=(("max_model_len", 4096),)), other)
    with Store.open(tmp_path / "pairing.db") as store:
        run = store_run(store, {case: timed(case, *BASE) for case in cases})
        without, served, naive = series_of(store.measurements([run]))
    found = pair_up([without], [served])
    assert (found.pairs, found.only_base, found.only_head) == ([], [], [])
    assert [why for _, why in found.mismatches] == ["max_model_len unset -> 4096"]
    across = Matching(Across("backend", other.backend, plain.backend))
    assert pair_up([naive], [served], matching=across).pairs == [Pair(naive, served)]
