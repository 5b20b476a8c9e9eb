"""Cells that moved, on a machine of which nothing is stored: a change of the code, or modes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from attnbench.analysis.compare import Compared, compare_sides
from attnbench.analysis.estimate import EXACT, Cell, Noise
from attnbench.analysis.jumps import one_sided
from attnbench.analysis.verdict import Verdict
from attnbench.stats.moderation import Wild
from attnbench.stats.variance import Variance

UNSEEN = replace(EXACT, session=Variance(0.001**2, 30.0), stored=False)
SEEN = replace(UNSEEN, stored=True)
QUIET = [1.0] * 60


def compared(
    factors: Sequence[float],
    noise: Noise | Callable[[Cell], Noise] = UNSEEN,
    is_control: Callable[[Cell], bool] = lambda _: False,
) -> Compared:
    """A cell for each factor of its time, of three rounds a side, in separate sessions."""
    rng = np.random.default_rng(1)

    def rounds(factor: float) -> tuple[float, ...]:
        return tuple((1e-4 * factor * np.exp(rng.normal(0, 0.001, 3))).tolist())

    cells = [
        Cell(str(at), rounds(1.0), rounds(factor), paired=False)
        for at, factor in enumerate(factors)
    ]
    of_cell = (lambda _: noise) if isinstance(noise, Noise) else noise
    return compare_sides(cells, of_cell, is_control=is_control)


@pytest.mark.parametrize(
    ("moved", "verdict"),
    [
        ([1.04], "unclear"),
        ([1.04] * 4, "unclear"),
        ([1.04] * 5, "slower"),
        ([0.96] * 5, "faster"),
        ([1.04] * 3 + [0.96] * 3, "unclear"),
        ([1.04] * 5 + [0.96], "unclear"),
        ([1.3], "slower"),
        ([1.3, 0.7], None),
    ],
)
def test_few_cells_that_moved_a_little_may_have_modes(
    moved: list[float], verdict: Verdict | None
) -> None:
    found = [each.verdict for each in compared(moved + QUIET).comparisons]
    expected = [verdict or ("slower" if factor > 1 else "faster") for factor in moved]
    assert found[: len(moved)] == expected
    assert set(found[len(moved) :]) == {"same"}


def test_what_may_be_a_mode_is_said_to_be() -> None:
    found = compared([1.04, *QUIET]).comparisons
    assert "may have modes" in found[0].reason
    assert "may have modes" not in compared([1.009, *QUIET]).comparisons[0].reason


def test_a_machine_that_was_seen_tells_a_single_cell() -> None:
    assert compared([1.04, *QUIET], SEEN).comparisons[0].verdict == "slower"


@pytest.mark.parametrize(
    ("moved", "verdict"),
    [([1.04], "unclear"), ([1.04] * 5, "slower"), ([1.04] * 4 + [0.96], "unclear")],
)
def test_so_may_cells_of_a_machine_that_was_seen_to_have_some(
    moved: list[float], verdict: Verdict
) -> None:
    noise = replace(SEEN, wild=Wild(0.02, Variance(0.025**2, 10.0)))
    found = [each.verdict for each in compared(moved + QUIET, noise).comparisons]
    assert found[: len(moved)] == [verdict] * len(moved)


@pytest.mark.parametrize(
    ("times", "was_off", "verdict"), [(2, [], "slower"), (2, [9], "unclear"), (1, [], "unclear")]
)
def test_two_cells_that_were_quiet_in_six_sessions_have_changed(
    times: int, was_off: Sequence[int], verdict: Verdict
) -> None:
    noise = replace(SEEN, wild=Wild(0.02, Variance(0.025**2, 10.0)), sessions=5)
    noises = {str(at): replace(noise, was_off=True) for at in was_off}
    found = compared([1.04] * times + QUIET, lambda cell: noises.get(cell.key, noise)).comparisons
    assert [each.verdict for each in found[:times]] == [verdict] * times


@pytest.mark.parametrize(("controls", "verdict"), [(range(100, 101), "slower"), ([5], "unclear")])
def test_a_machine_that_moves_a_control_may_move_the_others(
    controls: Sequence[int], verdict: Verdict
) -> None:
    found = compared([1.04] * 6 + QUIET, is_control=lambda cell: int(cell.key) in controls)
    assert {each.verdict for each in found.comparisons[:5]} == {verdict}


def test_cells_of_equal_code_are_never_believed_to_have_changed_by_a_mode() -> None:
    found = compared([1.04] * 10 + QUIET, is_control=lambda _: True)
    assert {each.verdict for each in found.comparisons[:10]} == {"unclear"}


@pytest.mark.parametrize(("factor", "verdict"), [(1.02, "unclear"), (1.05, "slower")])
def test_an_unseen_machine_may_move_all_cells(factor: float, verdict: Verdict) -> None:
    assert {each.verdict for each in compared([factor] * 40).comparisons} == {verdict}


@pytest.mark.parametrize(
    ("factors", "verdicts"),
    [
        ([1.03], ["unclear"]),
        ([1.03, 1.0], ["unclear", "same"]),
        ([1.03] * 9, ["unclear"] * 9),
        ([1.1], ["slower"]),
        ([1.1, 1.0, 1.0], ["slower", "same", "same"]),
        ([1.03] * 3 + [1.0] * 3, ["unclear"] * 3 + ["same"] * 3),
        ([1.03] * 4 + [1.0] * 2, ["unclear"] * 4 + ["same"] * 2),
        ([1.03] * 4 + [1.0] * 3, ["slower"] * 4 + ["same"] * 3),
        ([0.97] * 4 + [1.0] * 3, ["faster"] * 4 + ["same"] * 3),
        ([1.03] * 4 + [0.97] + [1.0] * 3, ["unclear"] * 5 + ["same"] * 3),
    ],
)
def test_few_cells_do_not_show_how_far_sessions_of_an_unseen_machine_move_them(
    factors: list[float], verdicts: list[Verdict]
) -> None:
    assert [each.verdict for each in compared(factors).comparisons] == verdicts
    seen = compared(factors, SEEN).comparisons
    assert all(each.verdict != "unclear" for each in seen)


def test_few_cells_that_moved_with_those_that_hardly_did_are_no_change_of_the_code() -> None:
    found = compared([1.018] * 4 + [1.006] * 3).comparisons
    assert {each.verdict for each in found[:4]} == {"unclear"}


def test_a_control_that_moved_makes_few_cells_no_change_of_the_code() -> None:
    found = compared([1.03] * 4 + [1.0] * 3, is_control=lambda cell: cell.key == "3")
    assert {each.verdict for each in found.comparisons[:4]} == {"unclear"}


def test_a_change_that_few_cells_do_not_show_has_the_interval_that_keeps_it_open() -> None:
    (found,) = compared([1.03]).comparisons
    assert found.low is not None
    assert found.low < 1.01


@pytest.mark.parametrize(
    ("up", "down", "stayed", "up_controls", "quiet_controls", "ways"),
    [
        (4, 0, 50, 0, 0, set()),
        (5, 0, 50, 0, 0, {1}),
        (0, 5, 50, 0, 0, {-1}),
        (8, 1, 50, 0, 0, set()),
        (9, 1, 50, 0, 0, {1}),
        (20, 20, 20, 0, 0, set()),
        (3, 0, 20, 0, 40, {1}),
        (5, 0, 50, 1, 0, set()),
        (0, 0, 0, 9, 0, set()),
        (0, 0, 0, 0, 0, set()),
    ],
)
def test_the_more_cells_moved_one_way_the_less_it_is_modes(
    up: int, down: int, stayed: int, up_controls: int, quiet_controls: int, ways: set[int]
) -> None:
    moved = [1] * up + [-1] * down + [0] * stayed + [1] * up_controls + [0] * quiet_controls
    others = up + down + stayed
    assert one_sided(moved, [at >= others for at in range(len(moved))]) == ways


@pytest.mark.parametrize(
    ("up", "down", "sessions", "off", "ways"),
    [
        (3, 0, 1, 0, set()),
        (4, 0, 1, 0, {1}),
        (2, 0, 2, 0, set()),
        (3, 0, 2, 0, {1}),
        (1, 0, 5, 0, set()),
        (2, 0, 5, 0, {1}),
        (0, 2, 5, 0, {-1}),
        (2, 1, 5, 0, set()),
        (3, 0, 5, 2, set()),
        (4, 0, 5, 1, {1}),
        (4, 0, 5, 9, set()),
    ],
)
def test_fewer_cells_do_where_earlier_sessions_were_quiet(
    up: int, down: int, sessions: int, off: int, ways: set[int]
) -> None:
    moved = [1] * up + [-1] * down + [0] * 60
    assert one_sided(moved, [False] * len(moved), sessions * len(moved), off) == ways


@pytest.mark.parametrize("sessions", [1, 2, 5, 40])
@pytest.mark.parametrize("rate", [0.03, 0.3, 1, 3, 10])
def test_cells_that_are_off_for_once_pass_for_a_change_in_3_of_100_diffs(
    sessions: int, rate: float
) -> None:
    rng = np.random.default_rng(3)
    believed = 0
    for _ in range(4000):
        base, head, *earlier = rng.poisson(rate, sessions + 2)
        moved = [-1] * base + [1] * head + [0] * 60
        controls = [False] * len(moved)
        believed += bool(one_sided(moved, controls, sessions * len(moved), sum(earlier)))
    assert believed / 4000 < 0.03


@pytest.mark.parametrize("mean", [1.5, 3, 6, 12, 40])
def test_modes_pass_for_a_change_in_3_of_100_diffs(mean: float) -> None:
    rng = np.random.default_rng(2)
    diffs = [rng.choice((-1, 1), rng.poisson(mean)).tolist() for _ in range(4000)]
    believed = np.mean([bool(one_sided(moved, [False] * len(moved))) for moved in diffs])
    assert believed < 0.03


def test_two_of_few_cells_may_be_off_together_once() -> None:
    noise = replace(SEEN, wild=Wild(0.1, Variance(0.05**2, 10.0)), sessions=5)
    found = compared([1.04] * 2 + [1.0] * 6, noise).comparisons
    assert {each.verdict for each in found[:2]} == {"unclear"}
