"""Steps of many cases that share their sessions, and what a session does to all of them."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from attnbench.analysis.steps import find_steps
from attnbench.analysis.track import Track
from attnbench.stats.moderation import TAME, Wild
from attnbench.stats.variance import Variance
from tests.test_steps import noisy, track


def test_of_many_cases_few_steps_are_false() -> None:
    """Forty quiet cases and ten that changed: the findings are of those ten."""
    random = np.random.default_rng(3)
    quiet = [track(noisy(random, 12, 0.005)) for _ in range(40)]
    changed = [track(noisy(random, 12, 0.005, [(6, 1.04)])) for _ in range(10)]
    found = find_steps([*quiet, *changed])
    assert sum(map(len, found[:40])) <= 1
    assert all(6 in [each.at for each in one] for one in found[40:])


@pytest.mark.parametrize(("loud", "most"), [(0.003, 0), (0.015, 1)])
def test_a_newest_session_that_moves_all_cases_each_its_way_is_no_step(
    loud: float, most: int
) -> None:
    """Other programs ran beside it: once a sixth of the cases had a step to it."""
    random = np.random.default_rng(1)
    many = [
        replace(track([*noisy(random, 9, 0.003), *noisy(random, 1, loud)], 0.003), newest=7)
        for _ in range(60)
    ]
    assert sum(map(bool, find_steps(many))) <= most


def test_a_newest_session_that_moves_all_cases_hides_no_earlier_step() -> None:
    random = np.random.default_rng(1)
    quiet, loud = (many(random, count, False, sd) for count, sd in ((9, 0.003), (1, 0.03)))
    first, *others = [
        replace(a, times=[*a.times, *b.times], sessions=[1] * 10)
        for a, b in zip(quiet, loud, strict=True)
    ]
    found = find_steps([moved(first, [1.0] * 4 + [1.03] * 6), *others])
    assert [[each.at for each in steps] for steps in found] == [[4], *[[]] * 39]


@pytest.mark.parametrize("changed", [1, 20, 60])
def test_a_change_of_one_case_or_of_all_in_the_newest_session_is_a_step(changed: int) -> None:
    random = np.random.default_rng(1)
    many = [
        replace(
            track(noisy(random, 10, 0.003, [(9, 1.05)] if at < changed else []), 0.003), newest=7
        )
        for at in range(60)
    ]
    found = [[step.at for step in each] for each in find_steps(many)]
    assert found[:changed].count([9]) >= 0.9 * changed
    assert not any(found[changed:])


def many(random: np.random.Generator, count: int, unseen: bool, sd: float = 0.003) -> list[Track]:
    """Forty cases of a machine in the same sessions, known to spread by 0.3 %."""
    return [
        replace(track(noisy(random, count, sd), 0.003), newest=7, unseen=unseen) for _ in range(40)
    ]


def moved(each: Track, factors: Sequence[float]) -> Track:
    return replace(each, times=[a * b for a, b in zip(each.times, factors, strict=True)])


@pytest.mark.parametrize("modes", [(1.0, 1.04), (1.0, 1.0, 1.04), (1.04, 1.0, 1.0)])
@pytest.mark.parametrize(
    ("unseen", "wild"), [(True, TAME), (False, Wild(0.05, Variance(0.025**2, 4)))]
)
def test_two_or_three_sessions_cannot_tell_two_modes_from_a_step(
    modes: tuple[float, ...], unseen: bool, wild: Wild
) -> None:
    random = np.random.default_rng(2)
    for _ in range(20):
        first, *others = many(random, len(modes), unseen)
        tracks = [moved(first, modes), *others]
        found = find_steps([replace(each, wild=wild) for each in tracks])
        assert not any(found)


@pytest.mark.parametrize(("before", "after"), [(3, 1), (2, 3)])
@pytest.mark.parametrize(("by", "steps"), [(1.03, False), (1.06, True)])
def test_what_moves_all_cases_by_little_may_be_the_session(
    by: float, steps: bool, before: int, after: int
) -> None:
    """Whether most sessions are of before or of after."""
    random = np.random.default_rng(4)
    factors = [1.0] * before + [by] * after
    found = find_steps([moved(each, factors) for each in many(random, len(factors), unseen=True)])
    assert sum(map(bool, found)) == pytest.approx(40 * steps, abs=2)


@pytest.mark.parametrize("count", [3, 5])
def test_sessions_noisier_than_known_are_seen_in_all_cases_together(count: int) -> None:
    """Once three in four such sets had a false step."""
    random = np.random.default_rng(5)
    assert not any(any(find_steps(many(random, count, False, sd=0.01))) for _ in range(20))


def test_one_case_in_many_that_just_passes_is_chance() -> None:
    """Alone it is a step; beside 39 others without one it is not, and takes no sure one along."""
    unsure, sure = [1.0, 1.004, 0.996, 1.0, 1.026, 1.028], [1.0] * 3 + [1.2] * 3
    random = np.random.default_rng(6)
    others = [track(noisy(random, 6, 0.003), 0.005) for _ in range(39)]
    assert find_steps([track(unsure)])[0]
    found = find_steps([track(sure), track(unsure), *others])
    assert [[step.at for step in each] for each in found] == [[3], *[[]] * 40]


def test_the_time_grows_with_the_number_of_histories_and_no_faster() -> None:
    """Eight times as many whose noise is twice what is known: once it took 60 times as long."""
    random = np.random.default_rng(1)
    many = [track(noisy(random, 30, 0.01)) for _ in range(1600)]
    took = []
    for count in (200, 1600):
        began = time.process_time()
        find_steps(many[:count])
        took.append(time.process_time() - began)
    assert took[1] < 24 * took[0]


@pytest.mark.parametrize("by", [0.85, 1.15])
def test_a_case_that_moves_far_in_a_session_that_moves_all_is_a_step(by: float) -> None:
    """All are 3 % off, as a session may be; beside the others one is 15 % off."""
    random = np.random.default_rng(4)
    first, *others = many(random, 4, unseen=True)
    session = [1.0, 1.0, 1.0, 1.03 if by > 1 else 0.97]
    found = find_steps(
        [moved(first, [*session[:3], session[3] * by]), *(moved(o, session) for o in others)]
    )
    assert [[each.at for each in steps] for steps in found] == [[3], *[[]] * 39]
