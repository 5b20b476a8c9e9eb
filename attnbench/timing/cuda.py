"""The CUDA clocks: replays of a graph that contains its events, and single calls between events.

Both are enqueued behind a spin kernel that keeps the GPU busy until all timed work is enqueued, or
enough of it that the rest stays ahead of the GPU: the time between the events is the device's own.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from itertools import cycle, islice
from typing import Any

from attnbench.labels import Label
from attnbench.timing.activity import traced
from attnbench.timing.clock import CallClock
from attnbench.timing.graph_kernels import kernel_names, nodes_per_call
from attnbench.timing.sm_clock import SmClock
from attnbench.timing.streams import use_streams

GRAPH_SECONDS = 1e-3  # about this long a replay makes the events' half microsecond small
MOST_CALLS = 2048  # launches in a graph
GRAPH_LAUNCH, CALL_LAUNCH = 3e-5, 1e-4  # seconds: first guesses, replaced by measured ones
SPIN_MARGIN = 1.5  # spin time over the time that the host needed to enqueue
LEAST_SPIN, MOST_SPIN = 1e-5, 0.02  # seconds
MOST_EXPOSED = 0.25  # share of the launches; above it the median may show them
# Shares of a replay. Calls are alike, so a launch of less than the first stays ahead of the
# GPU from call to call; within one it may fall behind, but by no more than the second. A launch of
# a little more may come by chance; one of twice as much may show.
AHEAD, UNEVEN = 0.25, 0.01
MAY_SHOW = 2


class Spin:
    """A kernel that keeps the GPU busy until enqueueing is done, or nearly done."""

    def __init__(self, device: str, enqueueing: float) -> None:
        """`enqueueing`: a first guess of the seconds that it takes."""
        import torch

        use_streams(device)
        self._sleep = torch.cuda._sleep
        self._cycles_per_second = _spin_rate(device)
        self._seconds = _spin_for(enqueueing, 0.0)
        self._launches = self._exposed = 0

    def hide(self, enqueue: Callable[[], object], ahead: float = 0.0) -> None:
        """Enqueue behind the kernel; the time that takes decides the next spin's length.

        `ahead`: seconds within which enqueueing stays ahead of the GPU and needs no hiding. The
        spin's own launch counts: the host may be held up right after it.
        """
        ahead = 0.0 if traced() else ahead  # a traced graph begins while it is launched
        started = time.perf_counter()
        self._sleep(int(self._seconds * self._cycles_per_second))
        enqueue()
        enqueueing = time.perf_counter() - started
        self._launches += 1
        self._exposed += enqueueing > max(self._seconds, MAY_SHOW * ahead)
        self._seconds = _spin_for(enqueueing, ahead)

    @property
    def labels(self) -> tuple[Label, ...]:
        """launch_bound if over a quarter of the launches may show: then a median may too."""
        return (Label.LAUNCH_BOUND,) if self._exposed > MOST_EXPOSED * self._launches else ()


def _spin_for(enqueueing: float, ahead: float) -> float:
    if enqueueing < ahead:
        return LEAST_SPIN
    return min(max(SPIN_MARGIN * enqueueing, LEAST_SPIN), MOST_SPIN)


@cache
def _spin_rate(device: str) -> float:
    """Cycles per second of the spin kernel, measured once: a spin need not be exact."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.cuda.device(device):
        for cycles in (100_000, 2_000_000):  # the first loads the kernel
            start.record()
            torch.cuda._sleep(cycles)
            end.record()
            end.synchronize()
        return 2_000_000 / (float(start.elapsed_time(end)) * 1e-3)


class GraphClock(CallClock):
    """One graph of calls that rotate over all sets, replayed; a sample is replay / calls.

    The events are nodes of the graph, before the first call and after the last, and so are the
    stamps of an `sm_clock`, outside the events: enqueueing a sample is one launch. Replays are
    waited for one by one: enqueueing a graph that is still running may block the host.
    """

    def __init__(
        self,
        calls: Sequence[Callable[[], object]],
        device: str,
        sm_clock: SmClock | None = None,
        calls_per_sample: int | None = None,
    ) -> None:
        import torch

        seconds = _seconds_of(calls[0], device)
        self.calls_per_sample = calls_per_sample or calls_in_graph(len(calls), seconds)
        self._spin, self._ahead = Spin(device, GRAPH_LAUNCH), 0.0
        self._start = torch.cuda.Event(enable_timing=True, external=True)
        self._end = torch.cuda.Event(enable_timing=True, external=True)
        self._graph = torch.cuda.CUDAGraph(keep_graph=True)
        stamp = sm_clock.launch if sm_clock is not None else _nothing
        with _captured(self._graph):
            stamp()
            self._start.record()
            for call in islice(cycle(calls), self.calls_per_sample):
                call()
            self._end.record()
            stamp()
        self._own = 1 if sm_clock is None else 2  # nodes at each end that are not of a call
        self._graph.replay()  # the first brings the graph to the device
        torch.cuda.synchronize()

    @cached_property
    def kernels(self) -> tuple[str, ...]:
        """Names of a call's kernels."""
        return self.kernels_after(0)

    def kernels_after(self, nodes: int) -> tuple[str, ...]:
        """Names of a call's kernels behind its first `nodes` nodes."""
        graph = self._graph.raw_cuda_graph()
        return kernel_names(graph, self.calls_per_sample, self._own, nodes)

    @property
    def nodes_per_call(self) -> int:
        """Kernels, copies and fills of a call; 0 if the driver cannot list them."""
        return nodes_per_call(self._graph.raw_cuda_graph(), self.calls_per_sample, self._own)

    def replay(self) -> None:
        """Enqueue the graph once, all sets at least once in it."""
        self._graph.replay()

    def launch_again(self, sets: int) -> None:
        """Enqueue the graph of all sets."""
        self.replay()

    def sample(self) -> float:
        """Seconds per call of one replay."""
        self._spin.hide(self.replay, self._ahead)
        seconds = self.last()
        self._ahead = seconds * self.calls_per_sample * min(AHEAD, UNEVEN * self.calls_per_sample)
        return seconds

    def last(self) -> float:
        """Seconds per call of the last replay, which is waited for."""
        self._end.synchronize()
        return float(self._start.elapsed_time(self._end)) * 1e-3 / self.calls_per_sample

    @property
    def labels(self) -> tuple[Label, ...]:
        """launch_bound if the spin failed to hide the launches."""
        return self._spin.labels


@contextmanager
def _captured(graph: Any) -> Iterator[None]:
    """Capture on another stream, as torch.cuda.graph does, but without emptying the allocator.

    The checks after timing would have to take their memory anew, which took longer than they did.
    """
    import torch

    torch.cuda.synchronize()
    with torch.cuda.stream(_capture_stream()):
        graph.capture_begin()
        try:
            yield
        finally:
            graph.capture_end()


@cache
def _capture_stream() -> Any:
    import torch

    return torch.cuda.Stream()


class EagerClock(CallClock):
    """Single calls that rotate over the sets, without a graph."""

    def __init__(
        self,
        calls: Sequence[Callable[[], object]],
        device: str,
        sm_clock: SmClock | None = None,
    ) -> None:
        import torch

        self._all, self._calls = calls, cycle(calls)
        self._spin = Spin(device, CALL_LAUNCH)
        self._stamp = sm_clock.stamp if sm_clock is not None else _nothing
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)
        self.calls_per_sample = 1

    def sample(self) -> float:
        """Seconds of the next call."""
        self._spin.hide(self._enqueue)
        self._stamp()
        self._end.synchronize()
        return float(self._start.elapsed_time(self._end)) * 1e-3

    def launch_again(self, sets: int) -> None:
        """Enqueue a call of each of the first `sets`."""
        for call in self._all[:sets]:
            call()

    def _enqueue(self) -> None:
        self._stamp()
        self._start.record()
        next(self._calls)()
        self._end.record()

    @property
    def labels(self) -> tuple[Label, ...]:
        """launch_bound if the spin failed to hide the launches."""
        return self._spin.labels


def _seconds_of(call: Callable[[], object], device: str) -> float:
    """One call by events, taken again if the first spin did not hide its launch."""
    clock = EagerClock([call], device)
    seconds = clock.sample()
    return clock.sample() if clock.labels else seconds


def _nothing() -> None:
    """The stamp without an SM clock."""


def calls_in_graph(sets: int, seconds_per_call: float) -> int:
    """Whole rotations over the sets: about GRAPH_SECONDS of calls, at most MOST_CALLS."""
    rotations = max(1, round(GRAPH_SECONDS / max(seconds_per_call * sets, 1e-9)))
    return sets * max(1, min(rotations, MOST_CALLS // sets))
