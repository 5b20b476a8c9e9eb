"""Cutting a series of sessions into stretches of one level.

The stretches are those of least cost: the sum of w (x - mean of its stretch)^2 / s^2, and a penalty
for each cut (Jackson et al. 2005, IEEE Signal Process. Lett. 12:105). A stretch is at least two
sessions long, except one at the end, which may go on. A single session that is off both neighbours
alike belongs to no stretch: it costs as much as a cut, at least 3^2, however far off it is.
"""

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Logs = NDArray[np.float64]

LEAST_SESSIONS = 2
_OFF = 3.0  # standard deviations from both neighbours
_ALPHA = 0.05
_ORDERS = 99  # random ones that the order of measuring is compared with
_SHORT = 3  # versions: too few to have two sessions on both sides of a cut


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the stretches end, the last at the number of versions."""

    ends: tuple[int, ...]
    kept: NDArray[np.bool_]  # versions that belong to a stretch [num_versions]


def segment(x: Logs, w: Logs, variance: float) -> Segments:
    """The stretches of least cost of the versions' log times x over w sessions [num_versions].

    `variance` is that of a session.
    """
    (kept,), _, (starts,) = _cut(x[None], w[None], variance)
    ends = [len(x)]
    while starts[ends[0]] > 0:
        ends.insert(0, int(starts[ends[0]]))
    return Segments(tuple(ends), kept)


def better_orders(x: Logs, w: Logs, variance: float) -> float:
    """The share of random orders of the sessions whose stretches cost less than those of this one.

    Where nothing changed, any order is as likely as another, however sessions are distributed: if
    they have two modes, runs of each are as long in a random order.
    """
    copies = np.minimum(w, LEAST_SESSIONS).astype(np.int64)  # of a version, with its sessions
    x, w = np.repeat(x, copies), np.repeat(w / copies, copies)
    orders = _random_orders(len(x))
    _, (own,), _ = _cut(x[None], w[None], variance)
    _, costs, _ = _cut(x[orders], w[orders], variance)
    return float(np.mean(costs < own - 1e-9 * (1 + abs(own))))


@lru_cache(maxsize=64)
def _random_orders(count: int) -> NDArray[np.int64]:
    """The same ones each time, so that a history always gives the same steps."""
    random = np.random.default_rng(count)
    return random.permuted(np.tile(np.arange(count), (_ORDERS, 1)), axis=1)


def _cut(x: Logs, w: Logs, variance: float) -> tuple[NDArray[np.bool_], Logs, NDArray[np.int64]]:
    """For each order [num_orders, num_versions]: what is kept, the cost, where stretches start.

    The last is [num_orders, num_versions + 1], the start of the last stretch by its end.
    """
    orders, n = x.shape
    penalty = NormalDist().inv_cdf(1 - _ALPHA / 2 / max(1, n - 1)) ** 2
    kept = ~_off(x, w, variance)
    weights, sums, squares = (_sums(w * kept * (x - x.mean()) ** power) for power in (0, 1, 2))
    least = np.full((orders, n + 1), -penalty)
    start = np.zeros((orders, n + 1), dtype=np.int64)
    useful = _Starts(orders)
    for end in range(1, n + 1):
        begin = useful.add(end - 1)
        weight = weights[:, end, None] - weights[:, begin]
        total = sums[:, end, None] - sums[:, begin]
        within = squares[:, end, None] - squares[:, begin] - total**2 / np.maximum(weight, 1e-9)
        before = least[:, begin] + within / variance
        costs = before + penalty
        if end < n:
            costs[(weight < LEAST_SESSIONS) & (begin >= (1 if n <= _SHORT else 0))] = np.inf
        best = np.argmin(costs, axis=1)
        start[:, end] = begin[best]
        least[:, end] = np.take_along_axis(costs, best[:, None], axis=1)[:, 0]
        useful.drop(before, least[:, end, None], weights[:, end, None])
    return kept, least[:, n] + max(penalty, _OFF**2) * np.sum(~kept, axis=1), start


class _Starts:
    """The places where the last stretch may begin, in any of the orders.

    If going on from a start costs as much at some place as a new stretch would, the new one is
    never worse later, once it may end: the start can go (Killick et al. 2012, JASA 107:1590).
    """

    def __init__(self, orders: int) -> None:
        self._places = np.empty(0, dtype=np.int64)
        self._beaten = np.empty((orders, 0))  # the weight at the first place that beats a start

    def add(self, place: int) -> NDArray[np.int64]:
        """All starts, with this one as the last."""
        self._places = np.append(self._places, place)
        self._beaten = np.pad(self._beaten, ((0, 0), (0, 1)), constant_values=np.inf)
        return self._places

    def drop(self, before: Logs, least: Logs, weight: Logs) -> None:
        """Drop the starts that are beaten in all orders [num_orders, num_starts]."""
        beaten = np.isinf(self._beaten) & (before > least + 1e-9 * (1 + abs(least)))
        self._beaten = np.where(beaten, weight, self._beaten)
        kept = ~np.all(weight - self._beaten >= LEAST_SESSIONS, axis=0)
        self._places, self._beaten = self._places[kept], self._beaten[:, kept]


def _off(x: Logs, w: Logs, variance: float) -> NDArray[np.bool_]:
    """Single sessions that both neighbours lie far from, on one side."""
    found = np.zeros(x.shape, dtype=np.bool_)
    before, after = x[:, 1:-1] - x[:, :-2], x[:, 1:-1] - x[:, 2:]
    nearest = np.where(before * after > 0, np.minimum(abs(before), abs(after)), 0.0)
    found[:, 1:-1] = (nearest > _OFF * np.sqrt(variance)) & (w[:, 1:-1] < LEAST_SESSIONS)
    return found


def _sums(values: Logs) -> Logs:
    """Sums of the first 0, 1, 2, ... values of each order."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)
