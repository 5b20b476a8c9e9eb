"""Regions of workloads, split until one choice is good for all that was measured in each."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)
Range = tuple[int | None, int | None]  # the least and the most, both included; None is open


@dataclass(frozen=True, slots=True)
class Spot(Generic[C]):
    """A measured workload: its place on each axis, and the choices that are good for it."""

    at: Mapping[str, int]
    good: frozenset[C]  # at least one


@dataclass(frozen=True, slots=True)
class Region(Generic[C]):
    """A box of workloads with its choice; axes without limits are left out."""

    limits: Mapping[str, Range]
    choice: C
    spots: tuple[Spot[C], ...]

    def holds(self, at: Mapping[str, int]) -> bool:
        """Whether a workload at that place is inside."""
        return all(
            (low is None or low <= at[name]) and (high is None or at[name] <= high)
            for name, (low, high) in self.limits.items()
        )


def regions(spots: Sequence[Spot[C]], axes: Sequence[str], order: Sequence[C]) -> list[Region[C]]:
    """Disjoint regions that cover everything, by few splits between measured values.

    Of several good choices the first of `order` is taken. Where spots of one place have no common
    choice, it is the one that is good for most.
    """
    return _split(tuple(spots), {}, axes, order)


def _split(
    spots: tuple[Spot[C], ...], limits: Mapping[str, Range], axes: Sequence[str], order: Sequence[C]
) -> list[Region[C]]:
    best = _best(spots, order)
    cuts = [(name, low, high) for name in axes for low, high in pairwise(_values(spots, name))]
    if _misses(spots, best) == 0 or not cuts:
        return [Region(dict(limits), best, spots)]
    name, low, high = min(cuts, key=lambda cut: _cost(spots, cut, order))
    border = math.isqrt(low * high)
    least, most = limits.get(name, (None, None))
    below, above = _sides(spots, name, low)
    return [
        *_split(below, {**limits, name: (least, border)}, axes, order),
        *_split(above, {**limits, name: (border + 1, most)}, axes, order),
    ]


def _values(spots: Sequence[Spot[C]], name: str) -> list[int]:
    return sorted({spot.at[name] for spot in spots})


def _sides(
    spots: Sequence[Spot[C]], name: str, low: int
) -> tuple[tuple[Spot[C], ...], tuple[Spot[C], ...]]:
    below = tuple(spot for spot in spots if spot.at[name] <= low)
    return below, tuple(spot for spot in spots if spot.at[name] > low)


def _best(spots: Sequence[Spot[C]], order: Sequence[C]) -> C:
    """The choice that is good for most of them."""
    return min(order, key=lambda choice: _misses(spots, choice))


def _misses(spots: Sequence[Spot[C]], choice: C) -> int:
    return sum(choice not in spot.good for spot in spots)


def _cost(
    spots: Sequence[Spot[C]], cut: tuple[str, int, int], order: Sequence[C]
) -> tuple[int, int]:
    """The spots left without a good choice, each side at its best; then what is not yet settled."""
    name, low, _ = cut
    sides = _sides(spots, name, low)
    missed = [_misses(side, _best(side, order)) for side in sides]
    open_ = sum(len(side) for side, misses in zip(sides, missed, strict=True) if misses)
    return sum(missed), open_
