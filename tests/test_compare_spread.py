"""Verdicts where the spread of rounds is not measured or not believed, and how often they err."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Cell, Noise, estimate_all
from attnbench.stats.variance import Variance
from tests.cells import LOUD, QUIET, SESSIONS, apart, known, noisy_cells, one, paired, verdicts

# Spread that is not measured, or not believed.


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


# Error rates, by seeded simulation.


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
