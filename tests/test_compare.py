"""Verdicts: what they say, how often they are wrong, and the laws they keep."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attnbench.analysis.compare import compare, compare_sides, geometric_mean_ratio
from attnbench.analysis.estimate import EXACT, Cell, Noise, duration_stratum, estimate_all
from attnbench.analysis.verdict import Comparison
from attnbench.errors import UsageError
from attnbench.stats.moderation import Wild
from attnbench.stats.variance import Variance

QUIET = EXACT
LOUD = replace(EXACT, session=Variance(0.01**2, math.inf))


def known(noise: Noise) -> Callable[[Cell], Noise]:
    return lambda cell: noise


def one(cell: Cell, noise: Noise = QUIET, margin: float = 0.01) -> Comparison:
    return compare([cell], known(noise), margin)[0]


def paired(base: Sequence[float], head: Sequence[float]) -> Cell:
    return Cell("a", tuple(base), tuple(head), paired=True)


def apart(base: Sequence[float], head: Sequence[float]) -> Cell:
    return Cell("a", tuple(base), tuple(head), paired=False)


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


# Spread that is not measured, or not believed.


def noisy_cells(
    rng: np.random.Generator,
    count: int,
    rounds: int,
    change: float = 0.0,
    session_sd: float = 0.0,
) -> list[Cell]:
    """Cells of 50 us with log ratios of sd 0.4 %, which itself differs from cell to cell.

    The first tenth is slower by `change`; with a session_sd the sides are separate sessions.
    """
    cells = []
    base_session, head_session = rng.normal(0, session_sd, 2)
    for index in range(count):
        sd = 0.004 / math.sqrt(2) * math.exp(rng.normal(0, 0.5))
        shift = math.log1p(change) if index < count / 10 else 0.0
        base = 50e-6 * np.exp(rng.normal(base_session, sd, rounds))
        head = 50e-6 * np.exp(rng.normal(head_session + shift, sd, rounds))
        key, is_paired = str(index), session_sd == 0
        cells.append(Cell(key, tuple(base.tolist()), tuple(head.tolist()), is_paired))
    return cells


def test_equal_rounds_are_not_certainty() -> None:
    found = one(paired((50e-6,) * 3, (50.5e-6,) * 3), margin=0.0)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 0.002
    assert one(paired((50e-6,) * 2, (50.8e-6,) * 2)).verdict == "unclear"


def test_a_cell_of_equal_rounds_takes_the_spread_of_its_stratum() -> None:
    others = noisy_cells(np.random.default_rng(1), 50, 3)
    alone, among = (
        compare([paired((50e-6,) * 3, (50e-6,) * 3), *cells], known(QUIET))[0]
        for cells in ([], others)
    )
    assert alone.detectable is not None
    assert among.detectable is not None
    assert among.detectable > alone.detectable


def test_a_single_round_borrows_the_spread_of_its_stratum() -> None:
    others = noisy_cells(np.random.default_rng(1), 50, 3)
    single = paired((50e-6,), (53e-6,))
    found = compare([single, *others], known(QUIET))[0]
    assert found.verdict == "slower"
    assert found.reason.endswith("the spread of a single round is taken from similar cells")


@pytest.mark.parametrize(
    ("cell", "others"),
    [
        (paired((50e-6,), (53e-6,)), 9),  # too few others
        (paired((5e-6,), (5.3e-6,)), 50),  # of another stratum
        (apart((50e-6,), (53e-6,)), 50),  # the others' rounds are matched
    ],
)
def test_a_single_round_borrows_from_ten_cells_like_it_or_not_at_all(
    cell: Cell, others: int
) -> None:
    found = compare([cell, *noisy_cells(np.random.default_rng(1), others, 3)], known(QUIET))[0]
    assert (found.verdict, found.low, found.p, found.q) == ("unclear", None, None, None)
    assert found.ratio == pytest.approx(1.06)
    assert found.rounds_needed == 3


def test_cells_without_spread_are_no_tests_among_many() -> None:
    cell = paired((100e-6, 102e-6, 101e-6), (105e-6, 106.5e-6, 105e-6))
    single = paired((100e-6,), (100e-6,))
    assert compare([cell, *[single] * 8], known(QUIET))[0].q == one(cell).q


# Error rates, by seeded simulation.


def verdicts(comparisons: Sequence[Comparison]) -> Counter[str]:
    return Counter(comparison.verdict for comparison in comparisons)


@pytest.mark.parametrize(
    ("rounds", "change", "least"), [(2, 0.03, 0.2), (3, 0.03, 0.85), (3, 0.05, 0.95)]
)
def test_moderation_finds_changes_with_few_rounds(rounds: int, change: float, least: float) -> None:
    rng = np.random.default_rng(2)
    changed: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    for _ in range(10):
        found = compare(noisy_cells(rng, 200, rounds, change), known(QUIET))
        changed += verdicts(found[:20])
        equal += verdicts(found[20:])
    assert changed["slower"] >= least * changed.total()
    assert equal["same"] >= 0.75 * equal.total()
    assert equal["faster"] + equal["slower"] <= 0.005 * equal.total()


def test_without_moderation_three_rounds_find_little() -> None:
    rng = np.random.default_rng(3)
    found = [compare(noisy_cells(rng, 9, 3, change=0.03), known(QUIET))[0] for _ in range(100)]
    assert verdicts(found)["slower"] <= 50


def test_equal_code_in_two_sessions_is_never_called_changed_once_their_variance_is_known() -> None:
    rng = np.random.default_rng(4)
    told: Counter[str] = Counter()
    untold: Counter[str] = Counter()
    for _ in range(60):
        cells = noisy_cells(rng, 20, 3, session_sd=0.01)
        told += verdicts(compare(cells, known(LOUD)))
        untold += verdicts(compare(cells, known(QUIET)))
    assert told["faster"] + told["slower"] <= 0.02 * told.total()
    assert untold["faster"] + untold["slower"] >= 0.1 * untold.total()


@pytest.mark.parametrize("change", [0.0, 0.02])
def test_the_rounds_asked_for_settle_it(change: float) -> None:
    rng = np.random.default_rng(5)

    def draw(rounds: int) -> Cell:
        log_ratios = rng.normal(math.log1p(change), 0.008, rounds)
        return paired((50e-6,) * rounds, (50e-6 * np.exp(log_ratios)).tolist())

    unclear = [found for _ in range(60) if (found := one(draw(4))).verdict == "unclear"]
    needed = [found.rounds_needed for found in unclear if found.rounds_needed is not None]
    settled = [one(draw(rounds)).verdict != "unclear" for rounds in needed]
    assert len(needed) > 20
    assert np.mean(settled) > 0.6


# Laws.


BUSY = Noise(session=Variance(1e-6, 4.0), per_round=0.5)


def test_sessions_of_a_busy_machine_differ_with_the_rounds_of_the_cell() -> None:
    """Each side by its own: one that was busy makes the other no wider."""
    quiet, loud = (1.0, 1.002, 0.998), (1.0, 1.1, 0.9)
    (idle, half, busy) = estimate_all(
        [Cell("", quiet, quiet, False), Cell("", quiet, loud, False), Cell("", loud, loud, False)],
        [BUSY] * 3,
    )
    spread = float(np.var(np.log(loud), ddof=1))
    assert busy.standard_error**2 == pytest.approx(2 * spread * (1 / 3 + 0.5), rel=0.01)
    assert half.standard_error**2 == pytest.approx(spread * (1 / 3 + 0.5), rel=0.01)
    assert idle.standard_error < 0.1 * half.standard_error
    assert half.df == pytest.approx(2, rel=0.01)
    assert busy.df == pytest.approx(4, rel=0.01)


def test_more_rounds_leave_what_sessions_of_a_busy_machine_differ_by() -> None:
    loud = (1.0, 1.1, 0.9)
    spread = float(np.var(np.log(loud), ddof=1))
    (apart,) = estimate_all([Cell("", loud, loud, False)], [BUSY])
    (in_turns,) = estimate_all([Cell("", loud, loud[::-1], True)], [BUSY])
    (pooled,) = estimate_all([Cell("", loud, loud, False, sessions=(4, 4))], [BUSY])
    endless = 2 * 0.5 * spread + 2e-6
    assert apart.with_endless_rounds().standard_error ** 2 == pytest.approx(endless)
    assert apart.with_rounds(1000).standard_error ** 2 == pytest.approx(endless, rel=0.01)
    assert pooled.with_endless_rounds().standard_error ** 2 == pytest.approx(endless / 4)
    assert apart.within_session().with_rounds(1000).standard_error < 0.01
    assert in_turns.with_endless_rounds().standard_error == 0


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


# What moves all cells, and noise that nobody foresaw.

SESSIONS = Noise(session=Variance(0.001**2, 10.0), common=Variance(0.002**2, 4.0))


def moved(factors: Sequence[float], seed: int = 1, sd: float = 0.001) -> list[Cell]:
    """A cell for each factor, measured in separate sessions."""
    rng = np.random.default_rng(seed)
    return [
        Cell(
            str(at),
            tuple((1e-4 * np.exp(rng.normal(0, sd, 3))).tolist()),
            tuple((1e-4 * factor * np.exp(rng.normal(0, sd, 3))).tolist()),
            paired=False,
        )
        for at, factor in enumerate(factors)
    ]


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


def test_one_round_has_an_interval_where_rounds_are_known() -> None:
    noise = replace(SESSIONS, rounds=Variance(0.01**2, 4.0))
    assert one(apart((1e-4,), (31e-4,)), noise).verdict == "slower"
    assert one(apart((1e-4,), (1.02e-4,)), noise).verdict == "unclear"


@pytest.mark.parametrize(
    ("rounds", "verdict"), [(1, "unclear"), (2, "unclear"), (3, "slower"), (5, "slower")]
)
@pytest.mark.parametrize("is_paired", [False, True])
def test_one_or_two_rounds_are_no_surer_than_their_own_samples(
    rounds: int, verdict: str, is_paired: bool
) -> None:
    noise = replace(SESSIONS, rounds=Variance(0.001**2, 4.0))
    cell = Cell("a", (1e-4,) * rounds, (1.08e-4,) * rounds, is_paired)
    assert one(cell, noise).verdict == "slower"
    assert one(replace(cell, by_samples=(0.0, 0.1**2)), noise).verdict == verdict


def test_a_single_round_varies_more_than_its_samples_tell() -> None:
    noise = replace(SESSIONS, rounds=Variance(0.001**2, 4.0))
    once, twice = (
        replace(apart((1e-4,) * rounds, (1e-4,) * rounds), by_samples=(0.01**2, 0.01**2))
        for rounds in (1, 2)
    )
    assert (one(once, noise).high or 0) > 1 + 3 * ((one(twice, noise).high or 0) - 1)


def test_equivalence_is_held_against_the_margin_alone() -> None:
    """However noisy a cell is known to be."""
    loud = replace(EXACT, session=Variance(0.02**2, 10.0), wild=Wild(0.1, Variance(0.01, 5.0)))
    assert {each.verdict for each in compare(moved([1.009] * 40), known(loud))} == {"unclear"}


@pytest.mark.parametrize("cells", [1, 40, 200])
def test_what_is_said_to_be_found_is_found_four_times_in_five(cells: int) -> None:
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(60):
        quiet = noisy_cells(rng, cells, 5)
        judged = compare(quiet, known(QUIET))[0]
        assert judged.detectable is not None
        # What would be found, from where this one happens to be.
        change = (1 + judged.detectable) / judged.ratio * math.exp(rng.normal(0, 0.004 / 5**0.5))
        slower = replace(quiet[0], head=tuple(time * change for time in quiet[0].head))
        found += compare([slower, *quiet[1:]], known(QUIET))[0].verdict == "slower"
    assert found / 60 == pytest.approx(0.8, abs=0.12)
