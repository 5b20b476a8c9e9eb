"""Verdicts: intervals by the books, reasons, and the laws that they keep."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnbench.analysis.compare import compare, geometric_mean_ratio
from attnbench.analysis.estimate import Cell, Noise, duration_stratum
from attnbench.analysis.verdict import Comparison
from attnbench.errors import UsageError
from attnbench.stats.moderation import Wild
from attnbench.stats.variance import Variance
from tests.cells import LOUD, QUIET, apart, known, one, paired

# The intervals, by the books.


def test_matched_rounds_get_a_paired_t_interval() -> None:
    base, head = (10e-6, 11e-6, 12e-6), (10.5e-6, 11.7e-6, 12.5e-6)
    found = one(paired(base, head))
    test = stats.ttest_rel(np.log(head), np.log(base))
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((np.exp(interval.low), np.exp(interval.high)))
    assert found.ratio == pytest.approx(np.exp(np.mean(np.log(head) - np.log(base))))


def test_rounds_apart_get_a_welch_interval() -> None:
    base, head = (10e-6, 11e-6, 12e-6, 10.2e-6), (14e-6, 15e-6)
    found = one(apart(base, head))
    test = stats.ttest_ind(np.log(head), np.log(base), equal_var=False)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((np.exp(interval.low), np.exp(interval.high)))


def test_the_session_variance_of_both_sides_widens_rounds_apart_only() -> None:
    base, head = (100e-6, 100.1e-6, 99.9e-6), (100e-6, 100.2e-6, 99.9e-6)
    noise = replace(QUIET, session=Variance(0.02**2, math.inf))
    wide = one(apart(base, head), noise)
    assert wide.low is not None
    assert wide.high is not None
    assert math.log(wide.high / wide.low) == pytest.approx(2 * 1.96 * math.sqrt(2) * 0.02, rel=0.01)
    assert one(paired(base, head), noise) == one(paired(base, head))


def test_a_paired_cell_that_lost_a_round_is_compared_unmatched_without_session_variance() -> None:
    base, head = (100e-6, 103e-6, 99e-6), (120e-6, 121e-6)
    noise = replace(QUIET, session=Variance(0.02**2, math.inf))
    assert one(paired(base, head), noise) == one(apart(base, head), QUIET)


def test_p_values_test_against_the_margin() -> None:
    base, head = (100e-6, 101e-6, 99e-6), (102e-6, 104e-6, 102e-6)
    excess = np.log(head) - np.log(base) - math.log(1.01)
    expected = 2 * stats.ttest_1samp(excess, 0, alternative="greater").pvalue
    assert one(paired(base, head)).p == pytest.approx(expected)


# The verdicts and their reasons.


def test_a_cell_needs_the_more_rounds_the_more_others_are_compared_beside_it() -> None:
    """Each must pass a stricter level then."""
    spread = (100e-6, 102e-6, 98e-6)
    moved = apart(spread, tuple(1.06 * time for time in spread))
    needed = list[int | None]()
    for others in (20, 200):
        still = [replace(apart(spread, spread), key=f"still {n}") for n in range(others)]
        found = compare([moved, *still], known(QUIET))[0]
        assert found.verdict == "unclear"
        needed.append(found.rounds_needed)
    assert needed == [10, 11]


STEADY = (100e-6, 100.1e-6, 99.9e-6)


def times(factor: float) -> tuple[float, ...]:
    return tuple(factor * time for time in STEADY)


@pytest.mark.parametrize(
    ("cell", "noise", "verdict", "rounds", "reason"),
    [
        (
            apart(STEADY, times(1.03)),
            QUIET,
            "slower",
            None,
            "95 % interval +2.77 % to +3.23 % lies beyond the margin of 1 %",
        ),
        (
            apart(STEADY, times(0.95)),
            QUIET,
            "faster",
            None,
            "95 % interval -5.22 % to -4.78 % lies beyond the margin of 1 %",
        ),
        (
            apart(STEADY, times(1.002)),
            QUIET,
            "same",
            None,
            "90 % interval +0.0257 % to +0.375 % lies within the margin of 1 %",
        ),
        (
            apart((100e-6, 102e-6, 98e-6), (103e-6, 105e-6, 101e-6)),
            QUIET,
            "unclear",
            17,
            "95 % interval -1.5 % to +7.71 % crosses the margin of 1 %; "
            "17 rounds per side should settle it",
        ),
        (
            apart(STEADY, times(1.002)),
            LOUD,
            "unclear",
            None,
            "95 % interval -2.54 % to +3.02 % crosses the margin of 1 %; no number of rounds "
            "settles it, as sessions differ by 1 %: interleave the sides",
        ),
        (
            apart(STEADY, times(1.1)),
            LOUD,
            "slower",
            None,
            "95 % interval +6.99 % to +13.1 % lies beyond the margin of 1 %",
        ),
        (
            apart(STEADY, times(1.01)),
            QUIET,
            "unclear",
            None,
            "95 % interval +0.771 % to +1.23 % crosses the margin of 1 %; "
            "more than 1000 rounds per side would be needed to settle it",
        ),
        (
            apart((100e-6,), times(1.1)),
            QUIET,
            "unclear",
            3,
            "a single round shows no spread, and too few similar cells have one to borrow; "
            "3 rounds per side should settle it",
        ),
        (
            apart((100e-6,), (101e-6,)),
            LOUD,
            "unclear",
            None,
            "a single round shows no spread, and too few similar cells have one to borrow; "
            "no number of rounds settles it, as sessions differ by 1 %: interleave the sides",
        ),
    ],
)
def test_every_verdict_has_its_reason(
    cell: Cell, noise: Noise, verdict: str, rounds: int | None, reason: str
) -> None:
    found = one(cell, noise)
    assert (found.verdict, found.rounds_needed) == (verdict, rounds)
    assert found.reason == reason


def test_a_finding_that_many_cells_make_likely_by_chance_is_unclear() -> None:
    cell = paired((100e-6, 102e-6, 101e-6), (105e-6, 106.5e-6, 105e-6))
    others = [paired(STEADY, STEADY)] * 8
    assert one(cell).verdict == "slower"
    found = compare([cell, *others], known(QUIET))[0]
    assert found.verdict == "unclear"
    assert "among so many cases it may be chance" in found.reason
    assert found.rounds_needed is not None


def test_a_zero_margin_leaves_nothing_to_be_the_same() -> None:
    assert one(paired(STEADY, STEADY), margin=0.0).verdict == "unclear"
    assert one(paired(STEADY, times(1.005)), margin=0.0).verdict == "slower"


@pytest.mark.parametrize("margin", [-0.01, math.nan, math.inf])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(UsageError, match=r"e\.g\. 0\.01 for 1 %"):
        compare([], known(QUIET), margin)


def test_nothing_to_compare_gives_nothing() -> None:
    assert compare([], known(QUIET)) == []


@pytest.mark.parametrize(
    ("base", "head"), [((), (1.0,)), ((1.0,), ()), ((0.0,), (1.0,)), ((1.0,), (math.nan,))]
)
def test_what_is_no_time_is_no_cell(base: tuple[float, ...], head: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="cell a has a"):
        Cell("a", base, head, paired=False)


@pytest.mark.parametrize(
    ("seconds", "stratum"),
    [
        (19.9e-6, "under 20 us"),
        (20e-6, "20 to 200 us"),
        (200e-6, "20 to 200 us"),
        (201e-6, "over 200 us"),
    ],
)
def test_durations_fall_into_strata(seconds: float, stratum: str) -> None:
    assert duration_stratum(seconds) == stratum
    assert apart((seconds,), (seconds,)).stratum == stratum


# Laws.


@st.composite
def cells(draw: st.DrawFn, low: float = 1e-6, high: float = 1e-2) -> list[Cell]:
    count = draw(st.integers(1, 14))
    duration = st.floats(low, high)
    factors = st.lists(st.floats(0.9, 1.1), min_size=1, max_size=4)
    made = []
    for index in range(count):
        base, head = draw(duration), draw(duration if draw(st.booleans()) else st.just(low))
        sides = [tuple(t * f for f in draw(factors)) for t in (base, head)]
        made.append(Cell(str(index), sides[0], sides[1], draw(st.booleans())))
    return made


NOISES = st.sampled_from(
    [
        QUIET,
        LOUD,
        Noise(
            session=Variance(1e-5, 2.0),
            common=Variance(1e-5, 3.0),
            wild=Wild(0.02, Variance(4e-4, 4.0)),
            rounds=Variance(1e-5, 2.0),
            per_round=0.5,
        ),
    ]
)
INVERSE = {"faster": "slower", "slower": "faster", "same": "same", "unclear": "unclear"}


@given(cells=cells(), noise=NOISES)
def test_no_cell_crashes_it_or_yields_nonsense(cells: list[Cell], noise: Noise) -> None:
    for found in compare(cells, known(noise)):
        assert found.reason
        assert math.isfinite(found.ratio)
        if found.low is not None and found.high is not None:
            assert found.low <= found.ratio <= found.high
            assert found.p is not None
            assert found.q is not None
            assert 0 <= found.p <= found.q <= 1
        else:
            assert found.verdict == "unclear"
        if found.verdict != "unclear":
            assert found.rounds_needed is None


@given(cells=cells(), noise=NOISES)
def test_swapped_sides_give_the_inverse_verdict(cells: list[Cell], noise: Noise) -> None:
    swapped = [replace(cell, base=cell.head, head=cell.base) for cell in cells]
    for one_way, other in zip(
        compare(cells, known(noise)), compare(swapped, known(noise)), strict=True
    ):
        assert other.verdict == INVERSE[one_way.verdict]
        assert other.ratio == pytest.approx(1 / one_way.ratio)
        assert (other.low is None) == (one_way.high is None)


@given(cells=cells(low=1e-3), noise=NOISES, factor=st.floats(1, 1000))
def test_the_unit_of_time_changes_nothing(cells: list[Cell], noise: Noise, factor: float) -> None:
    scaled = [
        replace(
            cell,
            base=tuple(factor * time for time in cell.base),
            head=tuple(factor * time for time in cell.head),
        )
        for cell in cells
    ]
    for one_way, other in zip(
        compare(cells, known(noise)), compare(scaled, known(noise)), strict=True
    ):
        assert other.verdict == one_way.verdict
        assert other.ratio == pytest.approx(one_way.ratio)


@given(cells=cells(), noise=NOISES)
def test_the_order_of_cells_is_kept_and_changes_nothing(cells: list[Cell], noise: Noise) -> None:
    forward = compare(cells, known(noise))
    backward = compare(cells[::-1], known(noise))[::-1]
    assert [found.key for found in forward] == [cell.key for cell in cells]
    assert [found.verdict for found in backward] == [found.verdict for found in forward]


# Over all cells.


def with_ratios(*ratios: float) -> list[Comparison]:
    return [replace(one(paired(STEADY, STEADY)), ratio=ratio) for ratio in ratios]


def test_ratios_are_averaged_geometrically() -> None:
    assert geometric_mean_ratio(with_ratios(0.5, 2.0, 8.0)) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="at least one"):
        geometric_mean_ratio([])
