"""The clocks on a GPU, held against a kernel whose length is known."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import pytest

from attnbench.provenance.machine import read_machine
from attnbench.provenance.peaks import peaks
from attnbench.timing.cuda import EagerClock, GraphClock
from attnbench.timing.cupti import KernelClock, call_profiler
from attnbench.timing.guard import GpuGuard, guard_facts
from attnbench.timing.host import enqueue_seconds
from attnbench.timing.layer import LayerClock, empty, empty_seconds, products_of
from attnbench.timing.measure import Clock
from attnbench.timing.sentinels import measure_sentinels
from attnbench.timing.sm_clock import sm_clock
from tests.conftest import small_case

pytestmark = pytest.mark.gpu

DEVICE = "cuda:0"
CYCLES = 1_000_000  # half a millisecond, beside which a launch's microsecond is little


def spin(cycles: int = CYCLES) -> None:
    import torch

    torch.cuda._sleep(cycles)


def seconds_by_events(call: Callable[[], object]) -> float:
    """The median of 20, each between two events."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    taken = []
    for _ in range(20):
        start.record()
        call()
        end.record()
        end.synchronize()
        taken.append(float(start.elapsed_time(end)) * 1e-3)
    return median(taken)


@pytest.fixture
def spin_seconds() -> float:
    """What CYCLES of spinning take, from the difference of two lengths: no launch is in it."""
    spin()
    short, long = (seconds_by_events(lambda n=n: spin(n * CYCLES)) for n in (1, 4))  # type: ignore[misc]
    return (long - short) / 3


def sampled(clock: Clock) -> float:
    """The median of 20 samples after 5."""
    return median([clock.sample() for _ in range(25)][5:])


@pytest.mark.parametrize("kind", [GraphClock, EagerClock, KernelClock])
def test_a_known_delay_is_read_back_within_one_percent(
    kind: type[GraphClock | EagerClock | KernelClock], spin_seconds: float
) -> None:
    assert sampled(kind([spin], DEVICE)) == pytest.approx(spin_seconds, rel=0.01)


@pytest.mark.parametrize("kind", [GraphClock, EagerClock, KernelClock])
def test_work_on_another_stream_is_not_timed(
    kind: type[GraphClock | EagerClock | KernelClock], spin_seconds: float
) -> None:
    import torch

    clock, other = kind([spin], DEVICE), torch.cuda.Stream()
    sampled(clock)
    with torch.cuda.stream(other):
        spin(400 * CYCLES)
    beside = [clock.sample() for _ in range(60)]  # some recorded before the spin, most after
    torch.cuda.synchronize()
    assert max(beside) == pytest.approx(spin_seconds, rel=0.1)


def test_the_kernels_of_a_call_are_found_and_told_apart_from_those_around_it() -> None:
    import torch

    a = torch.randn(1024, 1024, device=DEVICE)
    (profile,) = call_profiler(DEVICE).profile([lambda: a.add(1).sum()])
    assert len(profile.names) >= 2
    assert any("elementwise" in name for name in profile.names)
    assert any("reduce" in name for name in profile.names)
    assert not any("spin" in name or "bitwise_not" in name for name in profile.names)
    assert 0 < profile.total <= profile.span


def test_a_span_holds_the_gap_between_two_kernels_and_a_total_does_not() -> None:
    def twice() -> None:
        spin()
        spin()

    clock = KernelClock([twice], DEVICE)
    spans = [clock.sample() for _ in range(10)]
    assert len(clock.totals) == len(spans)
    assert all(total < span < total + 2e-5 for total, span in zip(clock.totals, spans, strict=True))
    assert len(clock.kernels) == 1


def test_a_graph_tells_the_names_of_its_kernels() -> None:
    import torch

    matrix = torch.ones(1024, 1024, device=DEVICE, dtype=torch.bfloat16)
    product, shifted = torch.empty_like(matrix), torch.empty_like(matrix)

    def call() -> None:
        torch.matmul(matrix, matrix, out=product)
        torch.add(product, 1, out=shifted)

    call()
    names = GraphClock([call], DEVICE).kernels
    assert names == GraphClock([call], DEVICE, sm_clock(DEVICE)).kernels
    assert len(names) == 2
    assert any("elementwise" in name for name in names), names
    assert all(name.isprintable() and not name.startswith("_Z") for name in names), names


def test_each_replay_of_a_graph_is_stamped_from_its_first_call_to_its_last() -> None:
    stamps = sm_clock(DEVICE)
    assert stamps is not None
    clock = GraphClock([spin], DEVICE, stamps)
    stamps.start()
    for _ in range(10):
        clock.sample()
    found = stamps.clocks()
    assert len(found) >= 8  # another SM may take the second stamp of a pair
    assert all(0.2e9 < hertz < 4e9 for hertz in found)


@pytest.mark.parametrize("family", ["attn", "mla"])  # with W_UK's product in MLA
def test_products_between_calls_are_in_neither_the_time_nor_the_names_of_a_call(
    family: str, spin_seconds: float
) -> None:
    products = products_of(small_case(family, spec="5q1kv20", dtype="bf16"), DEVICE)
    clock = LayerClock.of([spin], products, DEVICE, sm_clock(DEVICE))
    assert sampled(clock) == pytest.approx(spin_seconds, rel=0.01)
    assert clock.kernels == GraphClock([spin], DEVICE).kernels


def test_an_empty_call_behind_products_takes_as_long_as_among_its_like() -> None:
    products = products_of(small_case("attn", dtype="bf16"), DEVICE)
    behind = sampled(LayerClock.of([empty], products, DEVICE, None))
    assert behind == pytest.approx(empty_seconds(DEVICE), abs=1e-7)


# Of a sample. Launching a graph takes 12 us or more, 1.2 % of these; on a quiet host the samples of
# 20 graphs were 0.32 % longer at most (docs/results/launches.json).
LAUNCHING = 0.01
TURNS = 3  # a launch that is timed shows in each, a host held up by other programs in some


def launching_in_samples(kernels: int) -> float:
    """The least of some turns of `exceeding`, for a graph of calls of that many short kernels."""
    import torch

    numbers = torch.zeros(8, device=DEVICE)

    def call() -> None:
        for _ in range(kernels):
            numbers.add_(1)

    clock = GraphClock([call], DEVICE)
    return min(exceeding(clock) for _ in range(TURNS))


def exceeding(clock: GraphClock) -> float:
    """By what share the median of samples is above that of others behind 5 ms of spinning."""
    own, behind = list[float](), list[float]()
    for _ in range(40):
        own.append(clock.sample())
        spin(10 * CYCLES)
        behind.append(clock.sample())
    return median(own) / median(behind) - 1


@pytest.mark.parametrize("kernels", [1, 20])
def test_launching_a_graph_of_many_nodes_is_in_no_sample(kernels: int) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as untraced:
        assert untraced.submit(launching_in_samples, kernels).result() < LAUNCHING


@pytest.mark.parametrize("kernels", [1, 20])
def test_launching_is_in_no_sample_either_after_a_recording(kernels: int) -> None:
    call_profiler(DEVICE)
    assert launching_in_samples(kernels) < LAUNCHING


def of_short_kernels() -> list[float]:
    """The same graph of twenty short kernels made and timed again and again."""
    import torch

    numbers = torch.zeros(8, device=DEVICE)

    def call() -> None:
        for _ in range(20):
            numbers.add_(1)

    return [sampled(GraphClock([call], DEVICE)) for _ in range(8)]


def test_the_first_graphs_of_a_process_are_timed_as_all_later_ones() -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        taken = fresh.submit(of_short_kernels).result()
    assert max(taken) == pytest.approx(min(taken), rel=0.03)


def test_enqueueing_does_not_wait_for_the_gpu(spin_seconds: float) -> None:
    assert enqueue_seconds([spin]) < spin_seconds / 5


def test_the_guard_reads_a_gpu_without_holding_up_what_comes_next() -> None:
    guard = GpuGuard(read_machine(DEVICE).gpu_uuid)
    for _ in range(20):
        spin()
    started = time.perf_counter()
    looks = [guard.look(energy=True) for _ in range(2)]
    taken = time.perf_counter() - started
    before, after = (read() for read in looks)
    counted = time.perf_counter() - started
    assert before.sm_clock_hz is not None
    assert 0.2e9 < before.sm_clock_hz < 4e9
    assert before.max_memory_clock_hz is None or 0.4e9 < before.max_memory_clock_hz < 40e9
    assert before.temperature is None or 5 < before.temperature < 110
    assert before.watts is None or 5 < before.watts < 2000
    assert before.joules is None or (after.joules or 0) >= before.joules
    assert taken < counted / 2
    facts, _ = guard_facts(before, after, taken)
    assert facts["sm_clock_hz_before"] == before.sm_clock_hz


def test_sentinels_come_near_the_physical_peaks_and_are_quick() -> None:
    peak = peaks(read_machine(DEVICE), "bf16")
    if peak is None:
        pytest.skip("the rates of this GPU are unknown")
    measure_sentinels(DEVICE)
    started = time.perf_counter()
    sentinels = measure_sentinels(DEVICE)
    assert time.perf_counter() - started < 1
    assert 0.5 < sentinels.bytes_per_second / peak.bytes_per_second < 1.1
    assert 0.5 < sentinels.read_bytes_per_second / peak.bytes_per_second < 1.1
    assert 0.5 < sentinels.flops_per_second / peak.flops_per_second < 1.1
    assert sentinels.launch_seconds is not None
    assert sentinels.event_seconds is not None
    assert 2e-7 < sentinels.launch_seconds < sentinels.event_seconds < 5e-5
