"""What equal code tells of noise: floor, session variance, false verdicts, power."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import ASSUMED_NOISE, Cell, Noise
from attnbench.analysis.noise import (
    PLANNED_ROUNDS,
    FalseVerdicts,
    Group,
    Repeated,
    find_noise,
    noise_floor,
    session_sd,
)

ROUND_SD = 0.004
TIME = 50e-6
STEADY = (1.0, 1.001, 0.999)


def nothing_known(_: Group) -> Noise:
    return ASSUMED_NOISE


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


@pytest.mark.parametrize("sd", [0.002, 0.005, 0.02])
def test_the_session_variance_is_recovered_without_that_of_rounds(sd: float) -> None:
    rng = np.random.default_rng(1)
    found = session_sd([sessions(rng, 6, sd) for _ in range(200)])
    assert found == pytest.approx(sd, rel=0.1)


def test_where_sessions_do_not_differ_their_variance_is_nearly_0_and_never_below() -> None:
    found = [session_sd([sessions(np.random.default_rng(at), 2, 0.0)]) for at in range(50)]
    assert min(each for each in found if each is not None) == 0.0
    rng = np.random.default_rng(1)
    many = session_sd([sessions(rng, 4, 0.0) for _ in range(200)])
    assert many is not None
    assert many < 0.3 * ROUND_SD


@pytest.mark.parametrize("cases", [[], [[(TIME, TIME)]]])
def test_one_session_shows_no_session_variance(cases: list[list[tuple[float, ...]]]) -> None:
    assert session_sd(cases) is None


def test_sessions_of_one_round_keep_the_variance_of_the_round() -> None:
    assert session_sd([[(1.0,), (math.e,)]]) == pytest.approx(math.sqrt(0.5))


def test_each_family_and_kind_of_duration_is_told_apart() -> None:
    short = (5e-6, 5.01e-6)
    quick = Repeated("attn", Cell("quick", short, short, paired=True), [short] * 4)
    found = find_noise([*repeated(1, 25), quick, *repeated(2, 3, family="mla")], nothing_known)
    assert [(each.family, each.stratum, each.num_cells) for each in found] == [
        ("attn", "20 to 200 us", 25),
        ("attn", "under 20 us", 1),
        ("mla", "20 to 200 us", 3),
    ]
    assert [each.floor_is_largest for each in found] == [False, True, True]


def test_equal_code_is_seldom_called_changed_and_the_bound_says_how_seldom() -> None:
    (found,) = find_noise(repeated(3, cells=100, runs=6, sd=0.005), nothing_known)
    assert found.interleaved == FalseVerdicts(0, 100)
    assert found.interleaved.upper == pytest.approx(1 - 0.05 ** (1 / 100))
    assert found.separate.comparisons == 300
    assert found.separate.count <= 9
    assert found.session_sd == pytest.approx(0.005, rel=0.1)


def shifted(factors: Sequence[float]) -> Repeated:
    steady = [tuple(TIME * factor * each for each in STEADY) for factor in factors]
    return Repeated("attn", Cell("a", steady[0], steady[0], paired=True), steady)


@pytest.mark.parametrize(
    ("factors", "earlier", "false", "comparisons"),
    [
        # The third and fourth agree, so that the first two seem to differ; not so in reverse.
        ((1.0, 1.05, 1.0, 1.0), ASSUMED_NOISE, 1, 2),
        # Two or three leave no other two: the earlier variance holds.
        ((1.0, 1.05), ASSUMED_NOISE, 1, 1),
        ((1.0, 1.05, 1.0), Noise(0.05, True, 0.0), 0, 1),
        # Without an own part in the variance, and with a floor of the pair's own.
        ((1.0, 1.0), Noise(0.0, True, 0.0), 0, 1),
        ((1.0,), ASSUMED_NOISE, 0, 0),
    ],
)
def test_sessions_are_judged_by_others_alone(
    factors: Sequence[float], earlier: Noise, false: int, comparisons: int
) -> None:
    (found,) = find_noise([shifted(factors)], lambda _: earlier)
    assert found.separate == FalseVerdicts(false, comparisons)


def test_the_pair_is_judged_by_the_floor_that_was_known_before() -> None:
    base, head = (tuple(TIME * f * each for each in STEADY) for f in (1.0, 1.03))
    case = Repeated("attn", Cell("a", base, head, paired=True), [base, base])
    for floor, false in ((0.0, 1), (0.05, 0)):
        (found,) = find_noise([case], lambda _, floor=floor: Noise(0.01, True, floor))  # type: ignore[misc]
        assert found.interleaved == FalseVerdicts(false, 1)


def test_more_rounds_find_smaller_changes_and_interleaving_beats_sessions() -> None:
    (found,) = find_noise(repeated(4, sd=0.01), nothing_known)
    interleaved = [each for each in found.found_interleaved if each is not None]
    separate = [each for each in found.found_separate if each is not None]
    assert len(interleaved) == len(separate) == len(PLANNED_ROUNDS)
    assert interleaved == sorted(interleaved, reverse=True)
    assert all(one < other for one, other in zip(interleaved, separate, strict=True))


def test_the_smallest_change_is_found_four_times_in_five_by_a_cell_alone() -> None:
    (noise,) = find_noise(repeated(5, cells=200), nothing_known)
    rng = np.random.default_rng(6)
    for count, change in zip(PLANNED_ROUNDS, noise.found_interleaved, strict=True):
        assert change is not None
        cells = [pair(rng, str(at), count, change) for at in range(300)]
        judged = compare(cells, lambda _: Noise(0.0, True, noise.floor))
        share = np.mean([each.p is not None and each.p <= 0.05 for each in judged])
        assert share == pytest.approx(0.8, abs=0.08)


def test_a_single_round_tells_no_smallest_change_unless_others_do() -> None:
    once = Repeated("attn", Cell("a", (TIME,), (TIME,), paired=True), [(TIME,), (TIME,)])
    (found,) = find_noise([once], nothing_known)
    assert found.found_interleaved == found.found_separate == [None, None, None]


def test_nothing_measured_tells_nothing() -> None:
    assert find_noise([], nothing_known) == []
