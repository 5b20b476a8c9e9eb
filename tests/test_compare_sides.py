"""Verdicts on one piece of code before and after: what moves all cells, noise nobody foresaw."""

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from attnbench.analysis.compare import compare, compare_sides
from attnbench.analysis.estimate import EXACT, Cell
from attnbench.analysis.verdict import Comparison
from attnbench.stats.moderation import Wild
from attnbench.stats.variance import Variance
from tests.cells import QUIET, SESSIONS, known, moved, one, paired, verdicts


def test_the_shift_of_all_cells_is_told_with_its_interval() -> None:
    shift = compare_sides(moved([1.02] * 30), known(SESSIONS)).shift
    assert shift is not None
    low, high = shift.interval
    assert low < math.log(1.02) < high
    assert high - low < 0.002
    assert (shift.num_cells, shift.by_controls) == (30, False)


def test_nine_cells_do_not_speak_for_a_device() -> None:
    assert compare_sides(moved([1.02] * 9), known(SESSIONS)).shift is None


@pytest.mark.parametrize(("factor", "verdict"), [(1.015, "unclear"), (1.05, "slower")])
def test_what_a_device_may_do_to_all_cells_is_no_change_of_the_code(
    factor: float, verdict: str
) -> None:
    found = compare_sides(moved([factor] * 30), known(SESSIONS)).comparisons
    assert set(verdicts(found)) == {verdict}


def test_all_cells_together_are_one_finding_at_the_level_of_one() -> None:
    """Of 30 cells that a device may have moved so far in 3 of 100 pairs of sessions."""
    noise = replace(SESSIONS, common=Variance(0.01**2, math.inf))
    factor = 1.01 * math.exp(0.01 * math.sqrt(2) * NormalDist().inv_cdf(1 - 0.03 / 2))
    assert set(verdicts(compare_sides(moved([factor] * 30), known(noise)).comparisons)) == {
        "unclear"
    }
    further = 1.01 * math.exp(0.01 * math.sqrt(2) * NormalDist().inv_cdf(1 - 0.02 / 2))
    assert set(verdicts(compare_sides(moved([further] * 30), known(noise)).comparisons)) == {
        "slower"
    }


def test_a_cell_that_changed_among_cells_that_moved_is_found() -> None:
    found = compare_sides(moved([1.015] * 30 + [1.06]), known(SESSIONS)).comparisons
    assert [each.verdict for each in found] == ["unclear"] * 30 + ["slower"]


def test_what_moves_the_controls_is_the_device_however_far() -> None:
    cells = moved([1.10] * 6 + [1.10, 1.15])
    found = compare_sides(cells, known(SESSIONS), is_control=lambda cell: int(cell.key) < 6)
    assert found.shift is not None
    assert found.shift.by_controls
    assert [each.verdict for each in found.comparisons] == ["unclear"] * 7 + ["slower"]
    assert "as a device moves them" in found.comparisons[6].reason


def test_noisy_controls_do_not_outvote_quiet_ones() -> None:
    noisy = moved([0.97] * 4, seed=2, sd=0.02)
    quiet = moved([1.0] * 33 + [1.03] * 5, seed=3)
    cells = [replace(cell, key=str(at)) for at, cell in enumerate([*noisy, *quiet])]
    found = compare_sides(cells, known(SESSIONS), is_control=lambda cell: int(cell.key) < 7)
    assert found.shift is not None
    assert found.shift.by_controls
    assert abs(found.shift.log_ratio) < 0.002
    assert [each.verdict for each in found.comparisons[7:]] == ["same"] * 30 + ["slower"] * 5


def test_many_changed_cells_are_no_scatter_of_the_others() -> None:
    """A third of them, by amounts of their own."""
    changes = np.linspace(1.03, 1.15, 20).tolist()
    found = compare_sides(moved([*changes, *[1.0] * 40], sd=0.002), known(SESSIONS))
    assert [each.verdict for each in found.comparisons[:20]] == ["slower"] * 20
    beside = compare_sides(moved([1.0] * 60, sd=0.002), known(SESSIONS))
    assert width(found.comparisons[-1]) < 1.2 * width(beside.comparisons[-1])


def width(found: Comparison) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_cells_that_scatter_more_than_was_known_are_judged_by_their_scatter() -> None:
    factors = np.exp(np.random.default_rng(3).normal(0, 0.015, 60)).tolist()
    found = compare_sides(moved(factors), known(SESSIONS))
    assert found.more_scatter
    assert set(verdicts(found.comparisons)) == {"unclear"}
    assert verdicts(compare(moved(factors), known(SESSIONS)))["slower"] >= 3


def test_where_cells_scatter_more_than_was_known_the_wild_ones_do_too() -> None:
    noise = replace(SESSIONS, wild=Wild(0.02, Variance(0.01**2, 10.0)))
    quiet = np.exp(np.random.default_rng(3).normal(0, 0.001, 60)).tolist()
    loud = np.exp(np.random.default_rng(3).normal(0, 0.008, 60)).tolist()
    assert compare_sides(moved([1.12, *quiet]), known(noise)).comparisons[0].verdict == "slower"
    assert compare_sides(moved([1.12, *loud]), known(SESSIONS)).comparisons[0].verdict == "slower"
    assert compare_sides(moved([1.12, *loud]), known(noise)).comparisons[0].verdict == "unclear"


def test_a_round_that_is_far_off_is_not_overruled_by_quiet_cells() -> None:
    rng = np.random.default_rng(1)
    quiet = moved([1.0] * 200, sd=0.002)
    base, head = rng.normal(0, 0.002, 2), rng.normal(0, 0.002, 2) + np.array([0, math.log(1.3)])
    wild = Cell("w", tuple(1e-4 * np.exp(base)), tuple(1e-4 * np.exp(head)), paired=True)
    pairs = [replace(cell, base=cell.base[:2], head=cell.head[:2], paired=True) for cell in quiet]
    assert compare([wild, *pairs], known(QUIET))[0].verdict == "unclear"


def test_cells_with_two_modes_make_a_change_of_one_mode_unbelievable() -> None:
    """Three rounds of each side that all agree may all be in one mode."""
    off = moved([1.04], sd=0.001)
    quiet = moved([1.0] * 60)
    modes = [
        replace(cell, key=f"m{cell.key}", head=(cell.head[0] * 1.04, *cell.head[1:]))
        for cell in moved([1.0] * 10, seed=5)
    ]
    interleaved = [replace(cell, paired=True) for cell in [*off, *quiet]]
    with_modes = [*interleaved, *(replace(cell, paired=True) for cell in modes)]
    assert compare(interleaved, known(QUIET))[0].verdict == "slower"
    assert compare(with_modes, known(QUIET))[0].verdict == "unclear"


@pytest.mark.parametrize(
    ("jump", "verdict"), [(0.0, "slower"), (0.02, "slower"), (0.05, "unclear")]
)
def test_of_few_cells_too_one_that_jumps_makes_a_change_of_that_size_unbelievable(
    jump: float, verdict: str
) -> None:
    changed = paired((1e-4, 1.001e-4, 0.999e-4), (1.04e-4, 1.0412e-4, 1.0388e-4))
    jumps = replace(paired((1e-4,) * 3, (1e-4, 1.0001e-4, (1 + jump) * 1e-4)), key="b")
    assert compare([changed, jumps], known(QUIET))[0].verdict == verdict


def test_cells_that_sessions_are_known_to_move_wildly_make_a_change_less_sure() -> None:
    cells = moved([1.04] + [1.0] * 30)
    wild = replace(SESSIONS, wild=Wild(0.05, Variance(0.02**2, 4.0)))
    assert compare_sides(cells, known(SESSIONS)).comparisons[0].verdict == "slower"
    found = compare_sides(cells, known(wild)).comparisons
    assert found[0].verdict == "unclear"
    assert found[1].detectable is not None
    assert found[1].detectable > 0.05


def test_more_sessions_of_a_side_lessen_what_one_does() -> None:
    (cell,) = moved([1.02])
    noise = replace(SESSIONS, session=Variance(0.005**2, math.inf))
    many = replace(cell, sessions=(25, 25))
    assert one(cell, noise).verdict == "unclear"
    assert one(many, noise).verdict == "slower"


def test_another_card_differs_by_what_cards_do() -> None:
    (cell,) = moved([1.03])
    noise = replace(SESSIONS, device=Variance(0.01**2, 5.0))
    assert one(cell, noise).verdict == "slower"
    assert one(replace(cell, same_device=False), noise).verdict == "unclear"


def test_equivalence_is_held_against_the_margin_alone() -> None:
    """However noisy a cell is known to be."""
    loud = replace(EXACT, session=Variance(0.02**2, 10.0), wild=Wild(0.1, Variance(0.01, 5.0)))
    assert {each.verdict for each in compare(moved([1.009] * 40), known(loud))} == {"unclear"}
