"""The policy of a measurement, on a clock whose every sample is known."""

from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.timing.cache import sets_for, state_reached
from attnbench.timing.cpu import SAMPLE_SECONDS, CpuClock
from attnbench.timing.cuda import MOST_CALLS, calls_in_graph
from attnbench.timing.guard import Reading
from attnbench.timing.measure import SUSTAINED_LOAD, WARMUP_BUDGET, enough, measure, tight
from attnbench.timing.method import ForeignTimer, Method, Timer

MS = 1e-3


class FakeClock:
    """Hands out given samples; time passes by what they say, and by nothing else."""

    def __init__(self, samples: Iterator[float], calls_per_sample: int = 1) -> None:
        self._samples, self.calls_per_sample = samples, calls_per_sample
        self.time = self.began = 1000.0

    def sample(self) -> float:
        seconds = next(self._samples)
        self.time += seconds * self.calls_per_sample
        return seconds

    def now(self) -> float:
        return self.time


def measured(clock: FakeClock, **policy: object) -> tuple[float, ...]:
    return measure(clock, Method("cpu", **policy), clock.now).values  # type: ignore[arg-type]


def test_a_steady_kernel_is_measured_with_the_fewest_samples() -> None:
    assert len(measured(FakeClock(repeat(MS)))) == 20


def test_a_noisy_kernel_takes_more_samples_up_to_the_most() -> None:
    noisy = FakeClock(cycle([1e-6, 1.1e-6, 0.9e-6, 1.2e-6]))
    assert len(measured(noisy)) == 1000


def test_a_slow_kernel_stops_at_the_time_budget_and_is_labelled() -> None:
    clock = FakeClock(cycle([0.375, 0.5]))
    samples = measure(clock, Method("cpu"), clock.now)
    assert len(samples.values) == 3
    assert samples.labels == ("wide_interval",)


@pytest.mark.parametrize(
    ("counts", "looks"),
    [
        (range(1, 31), [20, 25, 30]),
        (range(90, 130), [90, 95, 100, 125]),
        (range(990, 1001), [1000]),
    ],
)
def test_the_interval_is_looked_at_every_few_samples_and_seldom_among_many(
    counts: range, looks: list[int]
) -> None:
    assert [n for n in counts if enough([MS] * n, Method("cpu"), 0.0)] == looks


@pytest.mark.parametrize(("half_width", "is_tight"), [(0.041, True), (0.039, False)])
def test_a_median_is_known_well_enough_by_half_of_its_interval(
    half_width: float, is_tight: bool
) -> None:
    values = [1.92, 2.0, 2.08]  # of so few the interval is the whole range
    assert tight(values, Method("cpu", half_width=half_width)) is is_tight


@given(st.integers(1, 50))
def test_an_exact_number_of_samples_is_honoured(count: int) -> None:
    assert len(measured(FakeClock(cycle([MS, 3 * MS])), samples=count)) == count


def test_samples_before_the_steady_state_are_thrown_away() -> None:
    falling = [MS * (3 - i / 10) for i in range(20)]
    values = measured(FakeClock(chain(falling, repeat(MS))))
    assert set(values) == {MS}


@pytest.mark.parametrize(("later", "warmups"), [(1.009, 10), (1.011, 13), (0.989, 13)])
def test_a_kernel_is_warm_once_five_samples_are_within_1_percent_of_the_five_before(
    later: float, warmups: int
) -> None:
    clock = FakeClock(chain([MS] * 5, repeat(MS * later)))
    samples = measure(clock, Method("cpu"), clock.now)
    assert samples.warmup_calls == warmups


def test_a_kernel_that_never_settles_warms_up_no_longer_than_its_budget() -> None:
    clock = FakeClock(cycle([0.010] * 5 + [0.020] * 5))
    samples = measure(clock, Method("cpu"), clock.now)
    assert WARMUP_BUDGET <= samples.warmup_seconds < WARMUP_BUDGET + 0.03


@pytest.mark.parametrize(("asked", "least"), [(None, 10), (64, 64), (1, 10)])
def test_at_least_the_warmup_calls_asked_for_come_first(asked: int | None, least: int) -> None:
    clock = FakeClock(repeat(MS), calls_per_sample=2)
    samples = measure(clock, Method("cpu", warmup_calls=asked), clock.now)
    assert samples.warmup_calls >= least


def test_samples_are_kept_in_the_order_taken() -> None:
    values = [MS * (1 + i % 7 / 1000) for i in range(100)]
    clock = FakeClock(iter(values))
    samples = measure(clock, Method("cpu", samples=30), clock.now)
    assert list(samples.values) == values[samples.warmup_calls :][:30]


MIB = 2**20


@pytest.mark.parametrize(
    ("call", "cache", "affordable", "sets", "state"),
    [
        (10 * MIB, 60 * MIB, 100, 18, "cold"),  # the smallest number that is cold
        (7 * MIB, 60 * MIB, 100, 26, "cold"),  # rounded up
        (200 * MIB, 60 * MIB, 5, 1, "cold"),  # one call alone is three caches
        (10 * MIB, 60 * MIB, 10, 10, "mixed"),  # memory forbids it, and the row says so
        (1024, 60 * MIB, 10**6, 512, "mixed"),  # no graph holds that many launches
        (500 * MIB, 480 * MIB, 0, 1, "mixed"),  # one set always fits
        (10 * MIB, None, 100, 1, "mixed"),  # a cache of unknown size is never cold
    ],
)
def test_sets_are_as_many_as_keep_the_cache_cold(
    call: int, cache: int | None, affordable: int, sets: int, state: str
) -> None:
    assert sets_for(call, cache, affordable) == sets
    assert state_reached(call, sets, cache, hot=False) == state


def test_an_explicit_number_of_layers_is_honoured_and_may_be_mixed() -> None:
    assert sets_for(MIB, 60 * MIB, 100, asked=4) == 4
    assert state_reached(MIB, 4, 60 * MIB, hot=False) == "mixed"


def test_work_between_the_calls_leaves_the_cache_cold_even_of_one_set() -> None:
    assert state_reached(MIB, 1, 60 * MIB, hot=False, between=350 * MIB) == "cold"
    assert state_reached(MIB, 1, 60 * MIB, hot=False, between=150 * MIB) == "mixed"


def test_hot_is_one_set() -> None:
    assert sets_for(MIB, 60 * MIB, 100, hot=True) == 1
    assert sets_for(MIB, 60 * MIB, 100, hot=True, asked=3) == 1
    assert state_reached(MIB, 1, 60 * MIB, hot=True) == "hot"


@given(st.integers(1, 512), st.floats(1e-7, 1.0))
def test_a_graph_holds_whole_rotations_over_the_sets(sets: int, seconds: float) -> None:
    calls = calls_in_graph(sets, seconds)
    assert calls >= sets
    assert calls % sets == 0
    assert calls <= max(sets, MOST_CALLS)


def ticking(
    durations: list[float],
) -> tuple[list[Callable[[], None]], Callable[[], float], list[int]]:
    """Calls that take known times on a clock of their own, and the order they were made in."""
    time, order = [0.0], list[int]()

    def call(index: int) -> None:
        time[0] += durations[index]
        order.append(index)

    calls = [lambda index=index: call(index) for index in range(len(durations))]
    return calls, lambda: time[0], order  # type: ignore[return-value]


def test_the_cpu_clock_rotates_over_the_sets_from_the_first() -> None:
    calls, now, order = ticking([0.001, 0.002, 0.003])
    clock = CpuClock(calls, now)
    order.clear()
    assert [clock.sample() for _ in range(4)] == pytest.approx([0.001, 0.002, 0.003, 0.001])
    assert order == [0, 1, 2, 0]


def test_the_cpu_clock_batches_short_calls_into_a_sample_worth_timing() -> None:
    calls, now, _ = ticking([1e-6, 1e-6])
    clock = CpuClock(calls, now)
    assert clock.calls_per_sample == pytest.approx(SAMPLE_SECONDS / 1e-6)
    assert clock.sample() == pytest.approx(1e-6)


def test_every_field_of_a_method_makes_another_method() -> None:
    changes: list[dict[str, object]] = [
        {"timer": "eager"},
        {"cache": "hot"},
        {"samples": 5},
        {"warmup_calls": 5},
        {"half_width": 0.01},
        {"time_budget": 2.0},
        {"isolate": "rounds"},
        {"regime": "sustained"},
        {"regime": "auto"},
        {"eager_fallback": True},
        {"between": "layer"},
    ]
    keys = {Method(**({"timer": "cpu"} | change)).key for change in changes}  # type: ignore[arg-type]
    assert len(keys | {Method("cpu").key}) == len(changes) + 1


def test_a_method_reads_back_from_its_facts() -> None:
    method = Method("cudagraph", cache="hot", samples=7)
    assert Method.from_facts(method.as_facts()) == method


def test_a_method_leaves_defaults_out_so_that_a_new_one_keeps_old_hashes() -> None:
    assert Method("cudagraph").as_facts() == {"timer": "cudagraph", "cache": "cold", "version": 3}


@pytest.mark.parametrize(
    ("timer", "version"),
    [("cpu", 1), (ForeignTimer("foreign vllm"), 1), ("cudagraph", 3), ("eager", 3)],
)
def test_a_new_way_of_timing_on_a_gpu_leaves_all_other_times_comparable(
    timer: Timer | ForeignTimer, version: int
) -> None:
    assert Method(timer).as_facts()["version"] == version


def test_sustained_puts_a_second_of_load_first_and_says_so() -> None:
    clock = FakeClock(repeat(0.01))
    samples = measure(clock, Method("cpu", regime="sustained"), clock.now)
    assert samples.warmup_seconds == pytest.approx(SUSTAINED_LOAD, abs=0.02)
    assert samples.labels == ("sustained",)


class LimitedClock(FakeClock):
    """A GPU whose power is at the limit after a while of load, and then takes longer."""

    def sample(self) -> float:
        self.time += MS
        return MS if self.time - self.began < self.rested else 1.1 * MS

    def __init__(self, rested: float) -> None:
        super().__init__(repeat(MS))
        self.rested = rested  # seconds until then


@pytest.mark.parametrize("rested", [0.0, 0.3, 0.7])
def test_under_load_a_time_does_not_depend_on_how_long_the_gpu_rested(rested: float) -> None:
    values = measured(LimitedClock(rested), regime="sustained")
    assert set(values) == {1.1 * MS}


def test_in_a_burst_it_does() -> None:
    assert {measured(LimitedClock(rested), regime="burst") for rested in (0.0, 0.7)} == {
        (MS,) * 20,
        (1.1 * MS,) * 20,
    }


def test_the_device_is_read_when_warm_and_after_the_last_sample() -> None:
    clock = FakeClock(repeat(MS))
    looks = iter([lambda: Reading(watts=100.0), lambda: Reading(watts=200.0)])
    samples = measure(clock, Method("cpu", samples=4), clock.now, lambda energy: next(looks))
    assert (samples.before().watts, samples.after().watts) == (100.0, 200.0)


@pytest.mark.parametrize(("count", "worth_it"), [(20, False), (1000, True)])
def test_the_energy_counter_is_read_where_sampling_will_be_long(count: int, worth_it: bool) -> None:
    clock, asked = FakeClock(repeat(MS)), list[bool]()

    def look(energy: bool) -> Callable[[], Reading]:
        asked.append(energy)
        return Reading

    measure(clock, Method("cpu", samples=count), clock.now, look)
    assert asked == [worth_it, worth_it]
