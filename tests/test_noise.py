"""What equal code tells of noise: floor, session variance, false verdicts, power."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import EXACT, Cell
from attnbench.analysis.machine_noise import MachineNoise
from attnbench.analysis.noise import (
    PLANNED_ROUNDS,
    FalseVerdicts,
    Repeated,
    find_noise,
    noise_floor,
)
from attnbench.analysis.noise_table import ANY_GPU, noise_table
from attnbench.analysis.repeats import Repeat, Seen, between_cards, seen, squares_of
from attnbench.stats.variance import UNKNOWN, Variance

ROUND_SD = 0.004
TIME = 50e-6
STEADY = (1.0, 1.001, 0.999)


NOTHING_KNOWN = MachineNoise(noise_table(ANY_GPU), ())


def rounds(log_times: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(TIME * math.exp(each)) for each in log_times)


def pair(rng: np.random.Generator, key: str, count: int = 3, change: float = 0.0) -> Cell:
    base, head = rng.normal(0, ROUND_SD, (2, count))
    return Cell(key, rounds(base), rounds(head + math.log1p(change)), paired=True)


def sessions(rng: np.random.Generator, count: int, sd: float) -> list[tuple[float, ...]]:
    """Runs of three rounds; each shifts all of its rounds by its own amount."""
    return [rounds(shift + rng.normal(0, ROUND_SD, 3)) for shift in rng.normal(0, sd, count)]


def repeated(
    seed: int, cells: int = 40, runs: int = 4, sd: float = 0.0, family: str = "attn"
) -> list[Repeated]:
    rng = np.random.default_rng(seed)
    return [
        Repeated(family, pair(rng, f"{family} {at}"), sessions(rng, runs, sd))
        for at in range(cells)
    ]


def changed(log_ratio: float) -> Cell:
    return Cell("a", (TIME,), (TIME * math.exp(log_ratio),), paired=True)


@pytest.mark.parametrize(
    ("log_ratios", "floor"),
    [
        ([-0.003], 0.003),
        ([0.001, -0.02, 0.003], 0.02),
        ([at / 1000 for at in range(1, 20)], 0.019),
        ([at / 1000 for at in range(1, 21)], 0.019),
        ([at / 1000 for at in range(1, 101)], 0.095),
    ],
)
def test_the_floor_is_the_95th_percentile_and_of_few_cells_the_largest(
    log_ratios: list[float], floor: float
) -> None:
    assert noise_floor([changed(each) for each in log_ratios]) == pytest.approx(floor)


def repeats_of(cases: Iterable[Sequence[tuple[float, ...]]]) -> list[Repeat]:
    """Of cases on one card, each with the rounds of its sessions."""
    return [
        Repeat("code", "card", session, "attn", str(cell), rounds)
        for cell, sessions in enumerate(cases)
        for session, rounds in enumerate(sessions)
    ]


def session_noise(cases: Sequence[Sequence[tuple[float, ...]]]) -> Seen:
    found = seen(list(squares_of(repeats_of(cases))[0].values()))
    assert found is not None
    return found


@pytest.mark.parametrize("sd", [0.005, 0.02])
def test_the_session_variance_is_recovered_without_that_of_rounds(sd: float) -> None:
    rng = np.random.default_rng(1)
    found = session_noise([sessions(rng, 6, sd) for _ in range(200)])
    assert found.session().sd == pytest.approx(sd, rel=0.15)


def test_sessions_that_do_not_differ_are_never_known_to_agree_exactly() -> None:
    rng = np.random.default_rng(1)
    found = session_noise([sessions(rng, 2, 0.0) for _ in range(200)]).session()
    assert 0.001 <= found.sd < 0.3 * ROUND_SD
    assert found.df < 10


def test_what_moves_all_cells_of_a_session_is_told_apart() -> None:
    rng = np.random.default_rng(2)
    shifts = (0.0, 0.02, -0.01)
    repeats = repeats_of(
        [rounds((shift + rng.normal(0, ROUND_SD, 3)).tolist()) for shift in shifts]
        for _ in range(50)
    )
    squares, common = squares_of(repeats)
    found = seen(list(squares.values()))
    assert found is not None
    assert common.sd == pytest.approx(float(np.std(shifts, ddof=1)), rel=0.1)
    assert common.df == 2
    assert found.session().sd < ROUND_SD


def test_a_cell_that_sessions_move_unlike_others_keeps_its_own_variance() -> None:
    rng = np.random.default_rng(3)
    cases = [sessions(rng, 4, 0.001) for _ in range(40)]
    cases[7] = [rounds((at + rng.normal(0, ROUND_SD, 3)).tolist()) for at in (0, 0.06, 0, 0.06)]
    machine = MachineNoise(noise_table(ANY_GPU), tuple(repeats_of(cases)))
    new, usual, wild = (machine.noise("attn", "20 to 200 us", cell) for cell in ("new", "1", "7"))
    assert wild.session.sd > 5 * usual.session.sd
    assert (new.wild.share, wild.wild.share) == pytest.approx((1 / 40, 1 / 40))
    # In four sessions it was like the others, so in two more it is off half as often, and further.
    assert usual.wild.share == pytest.approx(1 / 2 / 40)
    assert usual.wild.variance.value == pytest.approx(2 * new.wild.variance.value)
    assert [(each.sessions, each.was_off) for each in (new, usual, wild)] == [
        (0, False),
        (3, False),
        (3, True),
    ]


@pytest.mark.parametrize("rounds_of", [1, 3])
def test_a_wild_cell_shows_itself_in_single_rounds_too(rounds_of: int) -> None:
    rng = np.random.default_rng(1)
    repeats = repeats_of(
        [
            rounds((shift + rng.normal(0, 0.001, rounds_of)).tolist())
            for shift in (0.0, 0.04 * (cell == 7)) * 2
        ]
        for cell in range(40)
    )
    machine = MachineNoise(noise_table(ANY_GPU), tuple(repeats))
    assert machine.noise("attn", "20 to 200 us").wild.share == pytest.approx(1 / 40)


@pytest.mark.parametrize(("count", "own"), [(3, False), (6, True)])
def test_of_few_cells_each_is_expected_to_spread_as_it_did_in_other_sessions(
    count: int, own: bool
) -> None:
    """Three whose rounds spread by 0.2 % beside three by 10 %."""
    rng = np.random.default_rng(4)
    repeats = repeats_of(
        [rounds(rng.normal(0, sd, 3).tolist()) for _ in range(count)] for sd in (0.002, 0.1) * 3
    )
    machine = MachineNoise(noise_table(ANY_GPU), tuple(repeats))
    quiet, loud, new = (machine.noise("attn", "20 to 200 us", cell) for cell in ("0", "1", "new"))
    assert (quiet.rounds.sd < 0.004, loud.rounds == new.rounds) == (own, not own)
    assert new.rounds.sd == pytest.approx(0.07, rel=0.3)


def test_cards_are_judged_by_the_tail_of_what_they_differ_by() -> None:
    rng = np.random.default_rng(4)
    repeats = [
        Repeat("code", card, card, "attn", str(cell), rounds([shift]))
        for cell in range(300)
        for card, shift in zip(("a", "b"), rng.normal(0, 0.01, 2), strict=True)
    ]
    found = between_cards(repeats)
    assert found.sd == pytest.approx(0.01, rel=0.1)
    assert found.df == 1


@pytest.mark.parametrize(
    ("one", "other", "value", "df"),
    [
        (Variance(1.0, 4), Variance(2.0, 4), 1.5, 8),  # pooled
        (Variance(1.0, 4), Variance(2.0, 40), 1.5, 8),  # the prior is worth 4 at most
        (Variance(1.0, 10), Variance(100.0, 4), 100.0, 4),  # they disagree: the larger
        (Variance(100.0, 10), Variance(1.0, 4), 100.0, 10),
        (UNKNOWN, Variance(2.0, 40), 2.0, 4),
    ],
)
def test_a_variance_is_moderated_by_another_unless_they_disagree(
    one: Variance, other: Variance, value: float, df: float
) -> None:
    assert one.moderated(other, 4) == Variance(value, df)


def test_each_family_and_kind_of_duration_is_told_apart() -> None:
    short = (5e-6, 5.01e-6)
    quick = Repeated("attn", Cell("quick", short, short, paired=True), [short] * 4)
    found = find_noise([*repeated(1, 25), quick, *repeated(2, 3, family="mla")], NOTHING_KNOWN)
    assert [(each.family, each.stratum, each.num_cells) for each in found] == [
        ("attn", "20 to 200 us", 25),
        ("attn", "under 20 us", 1),
        ("mla", "20 to 200 us", 3),
    ]
    assert [each.floor_is_largest for each in found] == [False, True, True]


def test_equal_code_is_seldom_called_changed_and_the_bound_says_how_seldom() -> None:
    (found,) = find_noise(repeated(3, cells=100, runs=6, sd=0.005), NOTHING_KNOWN)
    assert found.interleaved == FalseVerdicts(0, 100)
    assert found.interleaved.upper == pytest.approx(1 - 0.05 ** (1 / 100))
    assert found.separate.comparisons == 300
    assert found.separate.count <= 9
    assert found.session_sd == pytest.approx(0.005, rel=0.1)


def shifted(factors: Sequence[float]) -> Repeated:
    steady = [tuple(TIME * factor * each for each in STEADY) for factor in factors]
    return Repeated("attn", Cell("a", steady[0], steady[0], paired=True), steady)


def test_sessions_are_judged_by_others_alone() -> None:
    """The first two differ by 10 %, all others agree: they cannot be told from a change."""
    for factors, false in (((1.0, 1.1, 1.0, 1.0), 1), ((1.0, 1.1, 1.0, 1.1), 0)):
        (found,) = find_noise([shifted(factors)] * 12, NOTHING_KNOWN)
        assert found.separate.comparisons == 24
        assert (found.separate.count > 0) == bool(false)


def test_one_session_is_compared_with_none() -> None:
    (found,) = find_noise([shifted((1.0,))], NOTHING_KNOWN)
    assert found.separate == FalseVerdicts(0, 0)
    assert (found.session_sd, found.common_sd) == (None, None)


def test_more_rounds_find_smaller_changes_and_interleaving_beats_sessions() -> None:
    (found,) = find_noise(repeated(4, sd=0.01), NOTHING_KNOWN)
    interleaved = [each for each in found.found_interleaved if each is not None]
    separate = [each for each in found.found_separate if each is not None]
    assert len(interleaved) == len(separate) == len(PLANNED_ROUNDS)
    assert interleaved == sorted(interleaved, reverse=True)
    assert all(one < other for one, other in zip(interleaved, separate, strict=True))


def test_the_smallest_change_is_found_four_times_in_five_by_a_cell_alone() -> None:
    (noise,) = find_noise(repeated(5, cells=200), NOTHING_KNOWN)
    rng = np.random.default_rng(6)
    for count, change in zip(PLANNED_ROUNDS, noise.found_interleaved, strict=True):
        assert change is not None
        cells = [pair(rng, str(at), count, change) for at in range(300)]
        judged = compare(cells, lambda _: EXACT)
        share = np.mean([each.p is not None and each.p <= 0.05 / 200 for each in judged])
        assert share == pytest.approx(0.8, abs=0.2)


def test_single_rounds_go_by_what_rounds_are_known_to_spread_by() -> None:
    once = Repeated("attn", Cell("a", (TIME,), (TIME,), paired=True), [(TIME,), (TIME,)])
    (found,) = find_noise([once], NOTHING_KNOWN)
    assert all(each is not None and each > 0.02 for each in found.found_separate)


def test_nothing_measured_tells_nothing() -> None:
    assert find_noise([], NOTHING_KNOWN) == []
