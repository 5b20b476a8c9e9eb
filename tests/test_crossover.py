"""The crossover of two paths, on simulated times whose truth is known."""

import math
import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnbench.analysis.crossover import (
    Crossover,
    Point,
    Rounds,
    find_crossover,
    next_points,
    points_of,
)
from attnbench.analysis.estimate import EXACT

GRID = [*range(2, 16), *range(16, 64, 2), *range(64, 2049, 4)]
RESOLUTION = 1.1


class Simulated:
    """A curve whose paths are equal at `truth`, with noise in every round of every cell."""

    def __init__(self, truth: float, slope: float, noise: float, seed: int) -> None:
        self.truth, self._slope, self._noise = truth, slope, noise
        self._random = random.Random(seed)
        self.times: dict[int, tuple[Rounds, Rounds]] = {}

    def measure(self, x: int, rounds: int) -> None:
        decode, prefill = self.times.get(x, ((), ()))
        missing = range(rounds - len(decode))
        ratio = (x / self.truth) ** self._slope
        self.times[x] = (
            (*decode, *(1e-4 * ratio * self._blur() for _ in missing)),
            (*prefill, *(1e-4 * self._blur() for _ in missing)),
        )

    def _blur(self) -> float:
        return math.exp(self._random.gauss(0, self._noise))


def judged(curves: Mapping[int, Simulated]) -> dict[int, list[Point]]:
    return points_of({k: c.times for k, c in curves.items()}, lambda _: EXACT)


def search(
    curves: Mapping[int, Simulated], rounds: int = 3, grid: Sequence[int] = GRID
) -> dict[int, Crossover]:
    """Measure what the search asks for until it asks for nothing."""
    for _ in range(100):
        points = judged(curves)
        wanted = {k: next_points(grid, points[k], (), rounds, RESOLUTION) for k in curves}
        if not any(wanted.values()):
            return {k: find_crossover(points[k]) for k in curves}
        for k, asked in wanted.items():
            for x, count in asked.items():
                curves[k].measure(x, count)
    raise AssertionError("the search does not end")


def simulated(
    count: int, slope: float = 0.5, noise: float = 0.01, seed: int = 0
) -> dict[int, Simulated]:
    """Curves whose crossovers lie anywhere between 4 and 1000."""
    at = random.Random(seed)
    return {
        k: Simulated(math.exp(at.uniform(math.log(4), math.log(1000))), slope, noise, seed + k)
        for k in range(count)
    }


def test_the_interval_holds_the_truth_95_times_in_100() -> None:
    held = total = 0
    for seed in range(0, 10_000, 1000):
        curves = simulated(30, seed=seed)
        for k, found in search(curves).items():
            assert found.kind == "single"
            assert found.low is not None
            assert found.high is not None
            held += found.low <= curves[k].truth <= found.high
            total += 1
    assert total == 300
    assert held / total >= 0.95


def test_the_estimate_is_near_the_truth() -> None:
    curves = simulated(50)
    errors = [math.log((f.estimate or 0) / curves[k].truth) for k, f in search(curves).items()]
    # A spread of 1 % a side over a slope of 0.5 is 2.8 % of length in one round.
    assert sum(abs(error) < 0.05 for error in errors) >= 48


def test_the_search_agrees_with_every_cell_measured_and_takes_a_fraction_of_them() -> None:
    curves = simulated(20, seed=5)
    truths = {k: c.truth for k, c in curves.items()}
    found = search(curves)
    cells = sum(len(c.times) for c in curves.values())
    exhaustive = {k: Simulated(truths[k], 0.5, 0.01, 900 + k) for k in curves}
    every_fourth = GRID[::4]
    for curve in exhaustive.values():
        for x in every_fourth:
            curve.measure(x, 1)
    assert cells < 0.15 * len(every_fourth) * len(curves)
    for k in curves:
        signs = {x: d[0] < p[0] for x, (d, p) in exhaustive[k].times.items()}
        last_win = max((x for x, win in signs.items() if win), default=GRID[0])
        next_loss = min((x for x in every_fourth if x > last_win), default=GRID[-1])
        low, high = found[k].low, found[k].high
        assert low is not None
        assert high is not None
        # A single round has noise of its own, which may move a crossover by a few percent.
        assert last_win <= high * 1.1
        assert next_loss >= low / 1.1


@pytest.mark.parametrize(("truth", "kind"), [(1e-3, "below"), (1e6, "beyond"), (40.0, "single")])
def test_a_crossover_beyond_the_grid_is_not_made_up(truth: float, kind: str) -> None:
    # Alike curves beside it tell the noise.
    curves = simulated(10) | {99: Simulated(truth, 0.5, 0.01, 3)}
    found = search(curves)[99]
    assert found.kind == kind
    assert (found.estimate is None) == (kind != "single")


def test_wins_that_alternate_are_no_single_crossover() -> None:
    curves = simulated(10)
    odd = Simulated(1.0, 0.0, 0.01, 7)
    found = search(curves | {99: Alternating(odd)})[99]
    assert found.kind == "alternating"
    assert found.estimate is None


class Alternating(Simulated):
    """Prefill wins up to 20, decode up to 300, then prefill again."""

    def __init__(self, like: Simulated) -> None:
        super().__init__(like.truth, 0.0, 0.01, 11)

    def measure(self, x: int, rounds: int) -> None:
        self.truth, self._slope = (1.0, 0.3) if x <= 20 or x > 300 else (1e4, 0.3)
        super().measure(x, rounds)


def test_equal_paths_have_no_crossover() -> None:
    curves = simulated(10) | {99: Simulated(1.0, 0.0, 0.01, 3)}
    found = search(curves)[99]
    assert found.kind in ("unclear", "below", "beyond")
    assert found.estimate is None


def point(x: int, log_ratio: float, standing: str, *, sure: bool = True, rounds: int = 3) -> Point:
    return Point(x, log_ratio, rounds, standing, sure)  # type: ignore[arg-type]


def test_ties_widen_the_interval() -> None:
    found = find_crossover(
        [
            point(4, -0.2, "decode"),
            point(8, -0.004, "tie"),
            point(9, 0.003, "tie"),
            point(16, 0.2, "prefill"),
        ]
    )
    assert (found.kind, found.low, found.high) == ("single", 4, 16)
    assert found.estimate == pytest.approx(8 * (9 / 8) ** (4 / 7))


def test_a_length_that_fails_bounds_the_search() -> None:
    wins = [point(x, -0.5, "decode") for x in (2, 8, 32)]
    asked = next_points(GRID, wins, {128, 512}, 3, RESOLUTION)
    assert all(x < 128 for x in asked)
    found = find_crossover(wins, {128, 512})
    assert (found.kind, found.low, found.limit) == ("beyond", 32, 128)


def test_a_single_round_is_told_to_be_one() -> None:
    points = [point(4, -0.2, "decode", sure=False), point(8, 0.2, "prefill", sure=False)]
    assert not find_crossover(points).sure


@settings(max_examples=60)
@given(
    st.lists(st.integers(2, 3000), min_size=1, max_size=40, unique=True).map(sorted),
    st.floats(0.5, 5000),
    st.sampled_from([0.0, 0.001, 0.03]),
    st.integers(1, 4),
)
def test_the_search_always_ends_within_its_grid(
    grid: list[int], truth: float, noise: float, rounds: int
) -> None:
    curve = Simulated(truth, 0.4, noise, 1)
    found = search({0: curve}, rounds, grid)[0]
    assert set(curve.times) <= set(grid)
    assert all(len(decode) <= rounds for decode, _ in curve.times.values())
    if found.low and found.high and found.kind == "single":
        assert found.low < found.high
        assert found.low <= (found.estimate or 0) <= found.high


class Windowed(Simulated):
    """Decode wins again in a window above its crossover at 20, or prefill already in one below."""

    def __init__(self, start: float, width: float, ratio: float, seed: int) -> None:
        super().__init__(20.0 if ratio < 1 else 300.0, 0.5, 0.01, seed)
        self._window, self._ratio = (start, start * width), ratio

    def measure(self, x: int, rounds: int) -> None:
        truth, slope = self.truth, self._slope
        if self._window[0] <= x < self._window[1]:
            self.truth, self._slope = x / self._ratio, 1.0
        super().measure(x, rounds)
        self.truth, self._slope = truth, slope


@pytest.mark.parametrize(
    ("start", "ratio"),
    [(75, 0.95), (140, 0.95), (180, 0.95), (240, 0.95), (40, 1.05), (70, 1.05), (100, 1.05)],
)
def test_wins_in_a_window_of_a_factor_of_2_are_seen_wherever_it_starts(
    start: float, ratio: float
) -> None:
    curves = simulated(10) | {99: Windowed(start, 2.0, ratio, 3)}
    assert search(curves)[99].kind == "alternating"


def test_lengths_are_measured_closer_where_the_paths_are_close() -> None:
    flat, steep = Simulated(100.0, 0.02, 0.001, 1), Simulated(100.0, 2.0, 0.001, 1)
    found = search(simulated(10) | {98: flat, 99: steep})
    assert found[98].apart < 1.6
    assert 1.8 < found[99].apart < 2.3


def test_a_crossover_says_how_far_apart_its_lengths_are() -> None:
    points = [Point(x, math.log(x / 20), 3, "tie", sure=True) for x in (2, 10, 15, 60)]
    assert find_crossover(points).apart == 5.0
