"""Steps in a history: found where they are, and seldom where nothing happened."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.analysis.steps import Step, find_steps
from attnbench.analysis.track import Track
from attnbench.stats.moderation import TAME, Wild
from attnbench.stats.variance import Variance


def track(factors: Sequence[float], sd: float = 0.005, sessions: int = 1) -> Track:
    return Track([1e-4 * each for each in factors], [sessions] * len(factors), sd)


def steps(factors: Sequence[float], sd: float = 0.005) -> list[Step]:
    return find_steps([track(factors, sd)])[0]


def noisy(
    random: np.random.Generator, count: int, sd: float, changes: Sequence[tuple[int, float]] = ()
) -> list[float]:
    logs = random.normal(0, sd, count)
    for at, ratio in changes:
        logs[at:] += np.log(ratio)
    return [float(each) for each in np.exp(logs)]


@pytest.mark.parametrize(
    ("factors", "places"),
    [
        ([1.0], []),
        ([1.0, 1.0], []),
        ([1.0, 1.2], [1]),
        ([1.0, 1.001, 0.999, 1.1, 1.101], [3]),
        ([1.0] * 9 + [1.08], [9]),
        ([1.0] * 10 + [1.05] * 3 + [1.0] * 10, [10, 13]),
        ([1.0, 1.0, 1.0, 1.2, 1.2, 1.2, 1.5, 1.5, 1.5], [3, 6]),
        ([1.0] * 5 + [1.008] * 5, []),  # within the margin
        ([1.0 + 0.01 * (at % 2) for at in range(20)], []),
        ([1.0] * 4 + [1.3] + [1.0] * 5, []),  # one slow session
        ([1.3] + [1.0] * 5, []),  # also where it is the first
        ([1.0] * 4 + [1.3] + [1.0] * 5 + [1.1] * 4, [10]),  # nor does it hide a step
        ([1.0, 1.04, 1.0, 1.0, 1.04, 1.0, 1.0, 1.0, 1.04], []),  # the newest was seen before
        ([1.0] * 10 + [1.04] + [1.0] * 18 + [1.04], []),  # seen once is seen
        ([1.0, 1.0, 1.0, 1.0, 1.04, 1.0, 1.0, 1.0, 1.2], [8]),
        ([1.0, 1.2, 1.2], [1]),
    ],
)
def test_a_step_is_where_times_changed_and_stayed(factors: list[float], places: list[int]) -> None:
    assert [each.at for each in steps(factors)] == places


def test_a_step_has_the_ratio_of_what_stands_around_it() -> None:
    (found,) = steps([1.0, 1.001, 0.999, 1.1, 1.101, 1.099])
    assert found.ratio == pytest.approx(1.1, rel=1e-3)
    assert found.low < 1.1 < found.high
    assert found.q < 0.01


def test_several_sessions_of_a_version_tell_more_than_one() -> None:
    factors = [1.0, 1.0, 1.035, 1.035]
    assert find_steps([track(factors, sd=0.01)]) == [[]]
    ((found,),) = find_steps([track(factors, sd=0.01, sessions=9)])
    assert found.at == 2


def test_no_cases_have_no_steps() -> None:
    assert find_steps([]) == []


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=30), st.floats(1e-3, 1e3))
def test_the_unit_of_time_changes_no_step(factors: list[float], scale: float) -> None:
    scaled = [each * scale for each in factors]
    assert [each.at for each in steps(scaled)] == [each.at for each in steps(factors)]


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=30))
def test_a_history_told_backwards_has_its_steps_in_the_same_places(factors: list[float]) -> None:
    backwards = [len(factors) - each.at for each in reversed(steps(factors[::-1]))]
    ratios = [each.ratio for each in steps(factors)]
    # Where two ways to cut cost the same, either may be taken.
    if [each.at for each in steps(factors)] == backwards:
        inverse = [1 / each.ratio for each in reversed(steps(factors[::-1]))]
        assert inverse == pytest.approx(ratios)


@pytest.mark.parametrize("count", [2, 3, 5, 10, 40])
@pytest.mark.parametrize("sd", [0.002, 0.005, 0.02])
def test_where_nothing_happened_a_step_is_rare(count: int, sd: float) -> None:
    """5 % is promised; of 200 histories no more than 5 %, at the noise that is known."""
    random = np.random.default_rng(count)
    alarms = sum(bool(steps(noisy(random, count, sd), sd)) for _ in range(200))
    assert alarms <= 10


def test_noise_twice_as_large_as_known_shows_few_steps_in_long_histories() -> None:
    """With many places to choose from one is a step in 4 %, unless its p counts the places."""
    random = np.random.default_rng(7)
    alarms = sum(bool(steps(noisy(random, 20, 0.02), sd=0.01)) for _ in range(300))
    assert alarms <= 3


def test_of_many_cases_few_steps_are_false() -> None:
    """Forty quiet cases and ten that changed: the findings are of those ten."""
    random = np.random.default_rng(3)
    quiet = [track(noisy(random, 12, 0.005)) for _ in range(40)]
    changed = [track(noisy(random, 12, 0.005, [(6, 1.04)])) for _ in range(10)]
    found = find_steps([*quiet, *changed])
    assert sum(map(len, found[:40])) <= 1
    assert all(6 in [each.at for each in one] for one in found[40:])


@pytest.mark.parametrize(
    ("at", "ratio", "least"), [(5, 1.03, 0.95), (9, 1.05, 0.95), (5, 1.02, 0.4)]
)
def test_a_change_beyond_the_noise_is_found(at: int, ratio: float, least: float) -> None:
    random = np.random.default_rng(5)
    histories = [steps(noisy(random, 10, 0.005, [(at, ratio)])) for _ in range(100)]
    assert sum([each.at for each in found] == [at] for found in histories) >= 100 * least


@pytest.mark.parametrize("count", [10, 30])
@pytest.mark.parametrize("slow", [0.1, 0.5])
def test_sessions_of_two_modes_seldom_look_like_steps(count: int, slow: float) -> None:
    """Of 100 histories, once 42 to 97 had one; of five sessions nobody could tell."""
    random = np.random.default_rng(count)
    alarms = 0
    for _ in range(100):
        modes = np.where(random.random(count) < slow, 1.04, 1.0)
        alarms += bool(steps([*(modes * noisy(random, count, 0.002))], 0.003))
    assert alarms <= 12


def test_two_sessions_of_one_version_are_enough_for_a_lasting_step_there() -> None:
    times = [1e-4 * each for each in [1.0] * 9 + [1.3] + [1.0] * 10]
    (found,) = find_steps([Track(times, [1] * 9 + [2] + [1] * 10, 0.005)])
    assert [step.at for step in found] == [9, 10]


def test_a_step_knows_how_many_sessions_show_it() -> None:
    assert [each.sessions for each in steps([1.0] * 9 + [1.08])] == [1]
    assert [each.sessions for each in steps([1.0] * 9 + [1.08] * 3)] == [3]


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


@pytest.mark.parametrize("count", [2, 3, 5])
def test_on_a_machine_without_repeated_sessions_a_single_case_must_move_far(count: int) -> None:
    quiet = replace(track([1.0] * (count - 1) + [1.04], 0.003), unseen=True)
    assert find_steps([quiet]) == [[]]
    loud = replace(track([1.0] * (count - 1) + [1.1], 0.003), unseen=True)
    assert [each.at for each in find_steps([loud])[0]] == [count - 1]


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
