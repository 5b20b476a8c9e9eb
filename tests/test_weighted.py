"""Weighted sums of times, the best policy by kind of part, and how sure they are."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from attnbench.analysis.policy import Part, choices, gain, singles
from attnbench.analysis.series import Times
from attnbench.analysis.weighted import WeightedSum, log_ratio

TRIALS = 400


def rounds(*seconds: float) -> Times:
    return {(1, at): time for at, time in enumerate(seconds)}


def part(kind: str, weight: float, **times: Sequence[float]) -> Part:
    return Part(kind, weight, {name: rounds(*listed) for name, listed in times.items()})


def test_a_sum_weighs_the_geometric_means_of_its_parts() -> None:
    times = [rounds(1.0, 4.0), rounds(3.0, 3.0)]
    found = WeightedSum.of(times, [10.0, 2.0], [(1, 0), (1, 1)])
    assert found.seconds == pytest.approx(10 * 2.0 + 2 * 3.0)
    assert found.shares == pytest.approx([20 / 26, 6 / 26])


def test_one_round_has_no_interval() -> None:
    found = WeightedSum.of([rounds(1.0)], [1.0], [(1, 0)])
    assert found.interval is None
    assert not log_ratio(found, found).known


@pytest.mark.parametrize("num_rounds", [2, 3, 5])
@pytest.mark.parametrize(
    ("parts", "common"), [(24, 0.0), (24, 0.01), (3, 0.0), (3, 0.002), (1, 0.0)]
)
def test_intervals_hold_the_truth_whether_rounds_move_all_parts_or_each(
    num_rounds: int, parts: int, common: float
) -> None:
    draw = np.random.default_rng(num_rounds * 100 + parts)
    weights = draw.dirichlet(np.ones(parts))
    in_sum = in_ratio = 0
    for _ in range(TRIALS):
        moved = draw.normal(0, common, (1, num_rounds))
        base, head = (
            WeightedSum(draw.normal(0, 0.004, (parts, num_rounds)) + moved, weights)
            for _ in range(2)
        )
        assert base.interval is not None
        in_sum += base.interval[0] <= 1.0 <= base.interval[1]
        estimate = log_ratio(base, head)
        in_ratio += abs(estimate.log_ratio) <= estimate.reach(0.975)
    assert min(in_sum, in_ratio) / TRIALS >= 0.92


def test_what_a_round_does_to_both_sides_does_not_blur_their_ratio() -> None:
    base = WeightedSum.of([rounds(1.0, 1.2, 0.9)], [1.0], [(1, 0), (1, 1), (1, 2)])
    head = WeightedSum.of([rounds(1.1, 1.32, 0.99)], [1.0], [(1, 0), (1, 1), (1, 2)])
    estimate = log_ratio(base, head)
    assert estimate.log_ratio == pytest.approx(math.log(1.1))
    assert estimate.reach(0.975) < 0.003
    assert base.interval is not None
    assert base.interval[1] > 1.2 * base.seconds


def test_the_best_is_of_those_that_have_every_part() -> None:
    parts = [
        part("decode", 10, a=(1.0, 1.001, 1.0), b=(0.5, 0.5, 0.5), c=(2.0, 2.0, 2.0)),
        part("prefill", 1, a=(1.0, 1.001, 1.0), c=(0.1, 0.1, 0.1)),
    ]
    best, other = singles(parts, ["a", "b", "c"])
    assert (best.name, other.name) == ("a", "c")
    assert other.comparison is not None
    assert other.comparison.ratio == pytest.approx(20.1 / 11.0, rel=1e-3)
    assert other.comparison.verdict == "slower"


def test_an_interrupted_round_does_not_hide_the_quickest() -> None:
    parts = [part("decode", 10, a=(2.0, 2.0), b=(1.0,)), part("prefill", 1, a=(2.0, 2.0), b=(1.0,))]
    best, other = singles(parts, ["a", "b"])
    assert (best.name, best.sum.interval) == ("b", None)
    assert other.comparison is not None
    assert other.comparison.low is None


def test_a_choice_by_kind_takes_also_one_that_lacks_another_kind() -> None:
    parts = [
        part("decode", 10, a=(1.0, 1.001, 1.0), b=(0.5, 0.501, 0.5)),
        part("mixed", 10, a=(1.0, 1.001, 1.0)),
    ]
    decode, mixed = choices(parts, ["a", "b"], "a")
    assert (decode.name, decode.is_worth) == ("b", True)
    assert (mixed.name, mixed.comparison) == ("a", None)
    found = gain(parts, "a", [decode, mixed])
    assert found.ratio == pytest.approx(0.75, rel=1e-3)
    assert found.verdict == "faster"


def test_one_that_failed_in_a_round_is_not_chosen() -> None:
    parts = [part("decode", 1, a=(1.0, 1.001, 1.0), b=(0.5, 0.501)), part("mixed", 1, a=(1, 1, 1))]
    assert [each.name for each in choices(parts, ["a", "b"], "a")] == ["a", "a"]


def test_no_gain_is_seen_where_backends_differ_by_noise_alone() -> None:
    draw = np.random.default_rng(5)
    ratios, worth = [], 0
    for _ in range(TRIALS):
        parts = [
            part(kind, 1, **{name: np.exp(draw.normal(0, 0.05, 3)).tolist() for name in "abcdef"})
            for kind in ("decode", "mixed")
        ]
        found = choices(parts, "abcdef", singles(parts, "abcdef")[0].name)
        worth += any(each.is_worth for each in found)
        ratios += [each.comparison.ratio for each in found if each.comparison]
    # The least of six such times would be 3 % under the single best of both kinds.
    assert abs(sum(map(math.log, ratios)) / len(ratios)) < 0.02
    assert worth / TRIALS < 0.05


def test_a_gain_within_the_margin_is_the_same() -> None:
    parts = [
        part("decode", 1, a=(1.0, 1.0005, 1.0), b=(0.9, 0.9005, 0.9)),
        part("mixed", 99, a=(1.0, 1.0005, 1.0), b=(2.0, 2.001, 2.0)),
    ]
    found = choices(parts, ["a", "b"], "a")
    assert [each.is_worth for each in found] == [True, False]
    assert gain(parts, "a", found).verdict == "same"
