"""The CUDA clocks: replays of a graph that holds its own events, and single calls between two.

Either stands behind a spin kernel that keeps the GPU busy while the host enqueues what is timed,
so that the time between the events is the device's own.
"""

import time
from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle, islice

from attnbench.timing.graph_kernels import kernel_names
from attnbench.timing.sm_clock import SmClock

GRAPH_SECONDS = 1e-3  # a replay at least this long makes the events' half microsecond small
MOST_CALLS = 2048  # launches in a graph
FIRST_SPIN = 2e-4  # seconds; later ones follow from what enqueueing was seen to take
SPIN_MARGIN = 2.0  # spin time over the time that the host needed to enqueue
LEAST_SPIN, MOST_SPIN = 1e-5, 0.02  # seconds


class Spin:
    """A kernel that keeps the GPU busy for as long as the host is seen to need for enqueueing."""

    def __init__(self, device: str) -> None:
        import torch

        self._sleep = torch.cuda._sleep
        self._cycles_per_second = _spin_rate(device)
        self.seconds = FIRST_SPIN
        self.hidden = True  # the last enqueueing was over before the spin was

    def hide(self, enqueue: Callable[[], object]) -> None:
        """Enqueue behind the kernel; the next one's length follows from what that took."""
        self._sleep(int(self.seconds * self._cycles_per_second))
        started = time.perf_counter()
        enqueue()
        enqueueing = time.perf_counter() - started
        self.hidden = enqueueing < self.seconds
        self.seconds = min(max(SPIN_MARGIN * enqueueing, LEAST_SPIN), MOST_SPIN)


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

    The events are nodes of the graph, before the first call and after the last, and so are the
    stamps of an `sm_clock`, outside the events: enqueueing a sample is one launch. Replays are
    waited for one by one: enqueueing a graph that still runs may block the host.
    """

    def __init__(
        self,
        calls: Sequence[Callable[[], object]],
        device: str,
        sm_clock: SmClock | None = None,
    ) -> None:
        import torch

        single = EagerClock(calls[:1], device)
        single.sample()  # behind a spin whose length is a guess
        self.calls_per_sample = calls_in_graph(len(calls), single.sample())
        self._spin = Spin(device)
        self._start = torch.cuda.Event(enable_timing=True, external=True)
        self._end = torch.cuda.Event(enable_timing=True, external=True)
        self._graph = torch.cuda.CUDAGraph(keep_graph=True)
        stamp = sm_clock.launch if sm_clock is not None else _nothing
        with torch.cuda.graph(self._graph):
            stamp()
            self._start.record()
            for call in islice(cycle(calls), self.calls_per_sample):
                call()
            self._end.record()
            stamp()
        own = 1 if sm_clock is None else 2  # nodes at each end that belong to no call
        self.kernels = kernel_names(self._graph.raw_cuda_graph(), self.calls_per_sample, own)
        self._graph.replay()  # the first brings the graph to the device
        torch.cuda.synchronize()

    def sample(self) -> float:
        """Seconds per call of one replay; a replay that outran its spin is taken again."""
        for _ in range(4):
            self._spin.hide(self._graph.replay)
            self._end.synchronize()
            if self._spin.hidden:
                break
        return float(self._start.elapsed_time(self._end)) * 1e-3 / self.calls_per_sample

    @property
    def labels(self) -> tuple[str, ...]:
        """launch_bound if enqueueing was still visible in the last sample."""
        return () if self._spin.hidden else ("launch_bound",)


class EagerClock:
    """Single calls that rotate over the sets, without a graph."""

    def __init__(
        self,
        calls: Sequence[Callable[[], object]],
        device: str,
        sm_clock: SmClock | None = None,
    ) -> None:
        import torch

        self._calls, self._spin = cycle(calls), Spin(device)
        self._stamp = sm_clock.stamp if sm_clock is not None else _nothing
        self._start = torch.cuda.Event(enable_timing=True)
        self._end = torch.cuda.Event(enable_timing=True)
        self.calls_per_sample = 1
        self._exposed = 0
        for call in calls:
            call()

    def sample(self) -> float:
        """Seconds of the next call."""
        self._spin.hide(self._enqueue)
        self._stamp()
        self._end.synchronize()
        self._exposed += not self._spin.hidden
        return float(self._start.elapsed_time(self._end)) * 1e-3

    def _enqueue(self) -> None:
        self._stamp()
        self._start.record()
        next(self._calls)()
        self._end.record()

    @property
    def labels(self) -> tuple[str, ...]:
        """launch_bound if the spin failed to hide the launch more than now and then."""
        return ("launch_bound",) if self._exposed > 10 else ()


def _nothing() -> None:
    """The stamp where no SM clock is."""


def calls_in_graph(sets: int, seconds_per_call: float) -> int:
    """Whole rotations over the sets, long enough to time, no more launches than a graph bears."""
    rotations = max(1, round(GRAPH_SECONDS / max(seconds_per_call * sets, 1e-9)))
    return sets * max(1, min(rotations, MOST_CALLS // sets))
