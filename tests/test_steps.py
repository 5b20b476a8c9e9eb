"""Steps in a history: found where they are, and seldom where nothing happened."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.analysis.steps import Step, find_steps
from attnbench.analysis.track import Track


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


@pytest.mark.parametrize("count", [2, 3, 5])
def test_on_a_machine_without_repeated_sessions_a_single_case_must_move_far(count: int) -> None:
    quiet = replace(track([1.0] * (count - 1) + [1.04], 0.003), unseen=True)
    assert find_steps([quiet]) == [[]]
    loud = replace(track([1.0] * (count - 1) + [1.1], 0.003), unseen=True)
    assert [each.at for each in find_steps([loud])[0]] == [count - 1]


def test_the_interval_of_a_step_holds_its_ratio_in_19_of_20() -> None:
    random = np.random.default_rng(8)
    histories = [steps(noisy(random, 10, 0.005, [(5, 1.1)])) for _ in range(300)]
    found = [each for (each,) in filter(lambda steps: len(steps) == 1, histories)]
    assert len(found) > 290
    assert 0.94 <= np.mean([each.low <= 1.1 <= each.high for each in found]) <= 0.98


@pytest.mark.parametrize("sessions", [1, 9])
def test_noise_five_times_as_large_as_known_does_not_break_a_step_up(sessions: int) -> None:
    """Each time is the mean of so many sessions."""
    random = np.random.default_rng(5)
    sd, change = 0.02 / sessions**0.5, [(10, 1.08 ** (1 / sessions**0.5))]
    histories = [
        find_steps([track(noisy(random, 20, sd, change), 0.004, sessions)])[0] for _ in range(100)
    ]
    assert sum([each.at for each in found] == [10] for found in histories) >= 80


def test_after_sessions_of_two_modes_only_the_newest_may_be_a_step() -> None:
    random = np.random.default_rng(9)
    found = []
    for _ in range(60):
        modes = np.where(random.random(20) < 0.5, 1.04, 1.0)
        found.append(steps([*(np.append(modes, 1.2) * noisy(random, 21, 0.002))], 0.003))
    assert sum([each.at for each in steps] == [20] for steps in found) >= 45
