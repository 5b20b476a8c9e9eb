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
    left = _split(below, {**limits, name: (least, border)}, axes, order)
    return _joined(left, _split(above, {**limits, name: (border + 1, most)}, axes, order), name)


def _joined(left: Sequence[Region[C]], right: Sequence[Region[C]], name: str) -> list[Region[C]]:
    """The regions of both sides of a cut; those that touch it alike are one."""
    found, others = list[Region[C]](), list(right)
    for each in left:
        twin = next((other for other in others if _continues(each, other, name)), None)
        if twin is None:
            found.append(each)
            continue
        others.remove(twin)
        limits = {**each.limits, name: (each.limits[name][0], twin.limits[name][1])}
        found.append(Region(_bounded(limits), each.choice, (*each.spots, *twin.spots)))
    return [*found, *others]


def _continues(below: Region[C], above: Region[C], name: str) -> bool:
    high, low = below.limits[name][1], above.limits[name][0]
    touch = high is not None and low == high + 1
    apart = [{n: r for n, r in each.limits.items() if n != name} for each in (below, above)]
    return touch and below.choice == above.choice and apart[0] == apart[1]


def _bounded(limits: Mapping[str, Range]) -> dict[str, Range]:
    return {name: limit for name, limit in limits.items() if limit != (None, None)}


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
