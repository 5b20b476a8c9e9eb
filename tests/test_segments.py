"""Segments of least cost, against all ways to cut short series."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from statistics import NormalDist

import numpy as np
import pytest

from attnbench.analysis.segments import LEAST_SESSIONS, Logs, segment

SD = 0.3


def ways(x: Logs, w: Logs, kept: Logs) -> Iterator[tuple[float, Sequence[int]]]:
    """Each way to cut, as the ends, with its cost."""
    n = len(x)
    penalty = NormalDist().inv_cdf(1 - 0.05 / 2 / (n - 1)) ** 2
    for count in range(n):
        for cuts in combinations(range(1, n), count):
            ends = (*cuts, n)
            cost = penalty * count
            for start, end in pairwise((0, *ends)):
                weights = (w * kept)[start:end]
                if end < n and weights.sum() < LEAST_SESSIONS:
                    break
                mean = np.average(x[start:end], weights=weights) if weights.sum() else 0.0
                cost += float(np.sum(weights * (x[start:end] - mean) ** 2)) / SD**2
            else:
                yield cost, ends


@pytest.mark.parametrize("seed", range(60))
def test_no_other_way_to_cut_costs_less(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(5, 11))
    levels = np.cumsum(random.random(n) < 0.3) * random.normal(0, 4)
    x, w = random.normal(0, SD, n) + levels, random.choice([1, 1, 1, 2], n).astype(np.float64)
    assert_least(x, w)


def test_a_start_stays_until_the_one_that_beats_it_may_end() -> None:
    x = np.array([-0.86, 0.21, 0.46, 0.56, -0.44, -1.93, 1.45]) * SD / np.sqrt(0.05)
    assert_least(x, np.ones(len(x)))


def assert_least(x: Logs, w: Logs) -> None:
    found = segment(x, w, SD**2)
    costs = {tuple(ends): cost for cost, ends in ways(x, w, found.kept.astype(np.float64))}
    assert costs[found.ends] <= min(costs.values()) + 1e-6
