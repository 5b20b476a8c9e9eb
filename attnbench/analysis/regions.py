"""Regions of workloads, split until one choice is good for all that was measured in each."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

import numpy as np

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
    good = [sum(choice in spot.good for spot in spots) for choice in order]
    best = order[good.index(max(good))]
    cuts = [cut for name in axes for cut in _cuts(spots, name, order)]
    if max(good) == len(spots) or not cuts:
        return [Region(dict(limits), best, spots)]
    cut = min(cuts, key=lambda each: (each.missed, each.unsettled))
    name, border = cut.axis, math.isqrt(cut.low * cut.high)
    least, most = limits.get(name, (None, None))
    below = tuple(spot for spot in spots if spot.at[name] <= cut.low)
    above = tuple(spot for spot in spots if spot.at[name] >= cut.high)
    return [
        *_split(below, {**limits, name: (least, border)}, axes, order),
        *_split(above, {**limits, name: (border + 1, most)}, axes, order),
    ]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A place between two measured values of an axis."""

    axis: str
    low: int
    high: int
    missed: int  # spots left without a good choice, each side at its best
    unsettled: int  # spots on a side that needs another cut


def _cuts(spots: Sequence[Spot[C]], axis: str, order: Sequence[C]) -> Iterator[_Cut]:
    """All cuts of an axis, by the numbers of spots that each choice is good for up to there."""
    listed = sorted(spots, key=lambda spot: spot.at[axis])
    good = np.array([[choice in spot.good for choice in order] for spot in listed])
    up_to = good.cumsum(axis=0)
    below, above = up_to.max(axis=1), (up_to[-1] - up_to).max(axis=1)
    for at, (one, other) in enumerate(pairwise(listed)):
        if one.at[axis] < other.at[axis]:
            sizes = (at + 1, len(listed) - at - 1)
            missed = (sizes[0] - int(below[at]), sizes[1] - int(above[at]))
            unsettled = sum(n for n, misses in zip(sizes, missed, strict=True) if misses)
            yield _Cut(axis, one.at[axis], other.at[axis], sum(missed), unsettled)
