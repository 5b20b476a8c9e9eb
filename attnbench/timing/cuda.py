"""The CUDA clocks: graph replays and single calls, timed by events behind a spin kernel.

The spin kernel keeps the GPU busy while the host enqueues what is timed, so that the time between
the events is the device's own.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle

from attnbench.timing.graph_kernels import kernel_names
from attnbench.timing.sm_clock import SmClock

GRAPH_SECONDS = 1e-3  # a replay at least this long makes the events' half microsecond small
MOST_CALLS = 2048  # launches in a graph
FIRST_SPIN = 2e-4  # seconds; later ones follow from what enqueueing was seen to take
SPIN_MARGIN = 2.0  # spin time over the time that the host needed to enqueue
LEAST_SPIN, MOST_SPIN = 2e-5, 0.02  # seconds


class SpunEvents:
    """Times what is enqueued between two events, behind a spin that hides the enqueueing."""

    def __init__(self, device: str, sm_clock: SmClock | None = None) -> None:
        """With an `sm_clock`, a stamp stands before and after the events of each sample."""
        import torch

        self._torch, self._sm_clock = torch, sm_clock
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)
        self._cycles_per_second = _spin_rate(device)
        self.spin_seconds = FIRST_SPIN
        self.hidden = True  # the last enqueueing was over before the spin was

    def time(self, enqueue: Callable[[], object]) -> float:
        """Seconds on the device from the first to the last kernel that `enqueue` launches."""
        self._torch.cuda._sleep(int(self.spin_seconds * self._cycles_per_second))
        started = time.perf_counter()
        self._stamp()
        self._start.record()
        enqueue()
        self._end.record()
        enqueueing = time.perf_counter() - started
        self._stamp()
        self._end.synchronize()
        self.hidden = enqueueing < self.spin_seconds
        self.spin_seconds = min(max(SPIN_MARGIN * enqueueing, LEAST_SPIN), MOST_SPIN)
        return float(self._start.elapsed_time(self._end)) * 1e-3

    def _stamp(self) -> None:
        if self._sm_clock is not None:
            self._sm_clock.stamp()


@cache
def _spin_rate(device: str) -> float:
    """Cycles a second of the spin kernel, measured once: a spin need not be exact."""
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.cuda.device(device):
        for cycles in (100_000, 2_000_000):  # the first loads the kernel
            start.record()
            torch.cuda._sleep(cycles)
            end.record()
            end.synchronize()
        return 2_000_000 / (float(start.elapsed_time(end)) * 1e-3)


class GraphClock:
    """One graph of calls that rotate over all sets, replayed; a sample is replay / calls.

    Replays are waited for one by one: enqueueing a graph that still runs may block the host.
    """

    def __init__(
        self,
        calls: Sequence[Callable[[], object]],
        device: str,
        sm_clock: SmClock | None = None,
    ) -> None:
        import torch

        self._events = SpunEvents(device, sm_clock)
        estimate = _estimate_on_side_stream(calls[0], SpunEvents(device))
        self.calls_per_sample = calls_in_graph(len(calls), estimate)
        self._graph = torch.cuda.CUDAGraph(keep_graph=True)
        rotation = cycle(calls)
        with torch.cuda.graph(self._graph):
            for _ in range(self.calls_per_sample):
                next(rotation)()
        self.kernels = kernel_names(self._graph.raw_cuda_graph(), self.calls_per_sample)
        self._graph.replay()  # the first brings the graph to the device
        torch.cuda.synchronize()

    def sample(self) -> float:
        """Seconds per call of one replay; a replay that outran its spin is taken again."""
        seconds = self._events.time(self._graph.replay)
        for _ in range(3):
            if self._events.hidden:
                break
            seconds = self._events.time(self._graph.replay)
        return seconds / self.calls_per_sample

    @property
    def labels(self) -> tuple[str, ...]:
        """launch_bound if enqueueing was still visible in the last sample."""
        return () if self._events.hidden else ("launch_bound",)


class EagerClock:
    """Single calls that rotate over the sets, without a graph."""

    def __init__(
        self,
        calls: Sequence[Callable[[], object]],
        device: str,
        sm_clock: SmClock | None = None,
    ) -> None:
        self._events, self._calls = SpunEvents(device, sm_clock), cycle(calls)
        self.calls_per_sample = 1
        self._exposed = 0
        for call in calls:
            call()

    def sample(self) -> float:
        """Seconds of the next call."""
        seconds = self._events.time(next(self._calls))
        self._exposed += not self._events.hidden
        return seconds

    @property
    def labels(self) -> tuple[str, ...]:
        """launch_bound if the spin failed to hide the launch more than now and then."""
        return ("launch_bound",) if self._exposed > 10 else ()


def calls_in_graph(sets: int, seconds_per_call: float) -> int:
    """Whole rotations over the sets, long enough to time, no more launches than a graph bears."""
    rotations = max(1, round(GRAPH_SECONDS / max(seconds_per_call * sets, 1e-9)))
    return sets * max(1, min(rotations, MOST_CALLS // sets))


def _estimate_on_side_stream(call: Callable[[], object], events: SpunEvents) -> float:
    """Seconds of a call, run as capture will: on a stream that is not the default one."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
        seconds = events.time(call)
    torch.cuda.current_stream().wait_stream(stream)
    return seconds
