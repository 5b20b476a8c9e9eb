"""The length at which one path overtakes another: where to measure next, and the result.

A point is a length at which both paths were timed. The search needs few of them: a ladder over the
whole grid, which also shows wins that alternate, finer where the paths are so close that they may;
bisection between the last win of decode and what follows it; further rounds at both ends, and
outwards until each end is outside noise. Wins between two measured lengths remain unseen.
"""

import math
from bisect import bisect_left
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

from attnbench.analysis.compare import compare
from attnbench.analysis.estimate import Cell, NoiseOf

Standing = Literal["decode", "prefill", "tie"]
Kind = Literal["single", "beyond", "below", "alternating", "unclear"]
Rounds = tuple[float, ...]  # seconds, one a round
K = TypeVar("K", bound=Hashable)

LADDER_RATIO = 2.0  # between the points that are always measured
_FINE_RATIO = math.sqrt(2)  # where the paths are close
_CLOSE = math.log(1.15)


@dataclass(frozen=True, slots=True)
class Point:
    """The comparison of both paths at one length."""

    x: int
    log_ratio: float  # ln(decode / prefill), mean over the rounds: below 0 decode is faster
    rounds: int
    standing: Standing  # who wins outside noise; by the sign if noise is unknown
    sure: bool  # whether noise is known


@dataclass(frozen=True, slots=True)
class Crossover:
    """The smallest length beyond which decode never wins outside noise.

    low is the last length at which decode wins outside noise, high the first one from which
    prefill does; None if there is none. single has both; beyond lacks high, below low, unclear
    both; alternating has a win of decode above one of prefill, and then no single crossover. All is
    of the lengths measured.
    """

    kind: Kind
    estimate: float | None  # the length of ratio 1, between two points on log axes
    low: int | None
    high: int | None
    points: tuple[Point, ...]
    limit: int | None = None  # the smallest length that failed, above all that were measured

    @property
    def apart(self) -> float:
        """The largest ratio of two neighbouring lengths that were measured."""
        lengths = [point.x for point in self.points]
        return max((right / left for left, right in pairwise(lengths)), default=1.0)

    @property
    def sure(self) -> bool:
        """Whether the noise at both ends is known."""
        ends = [point for point in self.points if point.x in (self.low, self.high)]
        return bool(ends) and all(point.sure for point in ends)


def points_of(
    curves: Mapping[K, Mapping[int, tuple[Rounds, Rounds]]], noise: NoiseOf
) -> dict[K, list[Point]]:
    """The points of all curves from the decode and prefill times of each length.

    They are judged together: those with a single round borrow the spread of the others.
    """
    places = [(curve, x) for curve, by_x in curves.items() for x in sorted(by_x)]
    cells = [
        Cell(f"{at}", base=curves[curve][x][1], head=curves[curve][x][0], paired=True)
        for at, (curve, x) in enumerate(places)
    ]
    found: dict[K, list[Point]] = {curve: [] for curve in curves}
    for (curve, x), cell, verdict in zip(places, cells, compare(cells, noise, 0.0), strict=True):
        mean = math.log(verdict.ratio)
        sure = verdict.low is not None
        standing: Standing = "decode" if mean < 0 else "prefill"
        if sure and verdict.verdict not in ("faster", "slower"):
            standing = "tie"
        found[curve].append(Point(x, mean, len(cell.base), standing, sure))
    return found


def find_crossover(points: Sequence[Point], failed: Collection[int] = ()) -> Crossover:
    """The crossover of one curve's points; `failed` are lengths that could not be measured."""
    listed = sorted(points, key=lambda point: point.x)
    limit = _limit([point.x for point in listed], failed)
    judged = [point for point in listed if point.sure] or listed
    wins = [point.x for point in judged if point.standing == "decode"]
    losses = [point.x for point in judged if point.standing == "prefill"]
    low = max(wins, default=None)
    high = min((x for x in losses if low is None or x > low), default=None)
    if low is not None and losses and min(losses) < low:
        return Crossover("alternating", None, low, high, tuple(listed), limit)
    kinds: dict[tuple[bool, bool], Kind] = {
        (True, True): "single",
        (True, False): "beyond",
        (False, True): "below",
        (False, False): "unclear",
    }
    kind = kinds[low is not None, high is not None]
    estimate = _estimate(listed, low, high) if kind == "single" else None
    return Crossover(kind, estimate, low, high, tuple(listed), limit)


def next_points(
    grid: Sequence[int],
    points: Sequence[Point],
    failed: Collection[int],
    rounds: int,
    resolution: float,
) -> dict[int, int]:
    """Lengths of the rising grid to measure next, with their number of rounds; empty when done.

    All lengths from a failed one on count as failing if none above it succeeded.
    """
    known = {point.x: point for point in points}
    limit = _limit(list(known), failed)
    usable = [x for x in grid if limit is None or x < limit]
    missing = [x for x in _ladder(usable) if x not in known and x not in failed]
    if missing:
        return dict.fromkeys(missing, 1)
    if not known:
        return {}
    if close := _between_close(usable, known, failed):
        return dict.fromkeys(close, 1)
    last_win = max((x for x in known if known[x].log_ratio < 0), default=None)
    above = min((x for x in known if last_win is None or x > last_win), default=limit)
    if last_win is not None and above is not None:
        between = [x for x in usable if last_win < x < above and x not in failed]
        if between and above / last_win > resolution:
            return {_nearest(between, math.sqrt(last_win * above)): 1}
    return _to_replicate(known, last_win, above, rounds) or _outwards(
        usable, known, last_win, rounds
    )


def _between_close(
    usable: Sequence[int], known: Mapping[int, Point], failed: Collection[int]
) -> list[int]:
    """Lengths between neighbours where the paths are close, so wins may alternate unseen."""
    found = []
    for left, right in pairwise(sorted(known)):
        between = [x for x in usable if left < x < right and x not in failed]
        close = min(abs(known[x].log_ratio) for x in (left, right)) < _CLOSE
        if close and between and right / left > _FINE_RATIO:
            found.append(_nearest(between, math.sqrt(left * right)))
    return found


def _to_replicate(
    known: Mapping[int, Point], last_win: int | None, above: int | None, rounds: int
) -> dict[int, int]:
    """Both ends, and wins of prefill below a win of decode: the result depends on them."""
    odd = [x for x in known if last_win is not None and x < last_win and known[x].log_ratio >= 0]
    deciding = [x for x in (last_win, above, *odd) if x in known]
    return {x: rounds for x in deciding if x is not None and known[x].rounds < rounds}


def _outwards(
    usable: Sequence[int], known: Mapping[int, Point], last_win: int | None, rounds: int
) -> dict[int, int]:
    """The next length on a side without an end outside noise, in steps that double."""
    wanted = {}
    for side, step in (("decode", -1), ("prefill", 1)):
        inside = [
            x for x, point in known.items() if point.rounds >= rounds and _is_on(x, last_win, step)
        ]
        if not inside or any(known[x].standing == side for x in inside):
            continue
        edge = min(inside) if step < 0 else max(inside)
        at = bisect_left(usable, edge) + step * 2 ** (len(inside) - 1)
        if 0 <= at < len(usable) and (usable[at] not in known or known[usable[at]].rounds < rounds):
            wanted[usable[at]] = rounds
    return wanted


def _is_on(x: int, last_win: int | None, step: int) -> bool:
    """Whether a length is on decode's side (step -1) or on prefill's."""
    decode_side = last_win is not None and x <= last_win
    return decode_side if step < 0 else not decode_side


def _limit(known: Collection[int], failed: Collection[int]) -> int | None:
    last = max(known, default=0)
    return min((x for x in failed if x > last), default=None)


def _ladder(usable: Sequence[int]) -> list[int]:
    """The first, the last, and lengths about a factor of 2 apart between them."""
    if len(usable) < 2:
        return list(usable)
    first, last = usable[0], usable[-1]
    steps = max(1, math.ceil(math.log(last / first) / math.log(LADDER_RATIO)))
    targets = [first * (last / first) ** (at / steps) for at in range(steps + 1)]
    return list(dict.fromkeys(_nearest(usable, target) for target in targets))


def _nearest(values: Sequence[int], target: float) -> int:
    """The value with the smallest ratio to the target."""
    return min(values, key=lambda x: abs(math.log(x / target)))


def _estimate(points: Sequence[Point], low: int | None, high: int | None) -> float | None:
    """The zero of the line through the points around the last change of sign, within the ends.

    Points of a single length, and flat ones, give the middle of the ends.
    """
    if low is None or high is None:
        return None
    inside = [point for point in points if low <= point.x <= high]
    for left, right in reversed(list(pairwise(inside))):
        if left.log_ratio < 0 <= right.log_ratio:
            share = left.log_ratio / (left.log_ratio - right.log_ratio)
            return float(left.x * (right.x / left.x) ** share)
    return math.sqrt(low * high)
