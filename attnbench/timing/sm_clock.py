"""The SM clock of each sample, read on the device: NVML's is as old as its last update.

A one-thread kernel before and one after the timed work read the nanosecond timer and an SM's cycle
counter; both are outside the events, so samples do not include them.
"""

import importlib.util
from functools import cache, partial
from typing import Any

CAPACITY = 4096  # stamps kept, two per sample; later ones overwrite the first
SHORTEST = 200e-6  # seconds between two stamps: the timer's step of up to 1 us is small beside it


class SmClock:
    """Stamps taken in pairs on one device, and the clock within each pair.

    A stamp is a graph of one kernel, which the host launches in a quarter of the time.
    """

    def __init__(self, device: str) -> None:
        import torch

        from attnbench.timing.sm_clock_kernel import stamp

        with torch.inference_mode(False):
            self._stamps = torch.zeros(CAPACITY, 3, dtype=torch.int64, device=device)
            self._count = torch.zeros(1, dtype=torch.int32, device=device)
        # Enqueues the kernel itself, for a graph that is being captured.
        self.launch: Any = partial(stamp[(1,)], self._stamps, self._count, CAPACITY, num_warps=1)
        self.launch()  # compiles it
        torch.cuda.synchronize(device)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self.launch()
        self.start()

    def start(self) -> None:
        """Forget all stamps."""
        self._count.zero_()

    def stamp(self) -> None:
        """Enqueue a stamp on the current stream."""
        self._graph.replay()

    def clocks(self) -> list[float]:
        """Hz within each pair of stamps far enough apart and of the same SM; oldest first."""
        taken = int(self._count)
        rows = self._stamps.tolist()
        stamps = [rows[at % CAPACITY] for at in range(max(0, taken - CAPACITY), taken)]
        return between(list(zip(stamps[::2], stamps[1::2], strict=False)))


def between(pairs: list[tuple[list[int], list[int]]]) -> list[float]:
    """Cycles per second between the two stamps (ns, cycles, SM) of each pair of one SM."""
    return [
        (after[1] - before[1]) / (after[0] - before[0]) * 1e9
        for before, after in pairs
        if before[2] == after[2] and after[0] - before[0] >= SHORTEST * 1e9
    ]


@cache
def sm_clock(device: str) -> SmClock | None:
    """The process's only SM clock of a device; None if Triton is not installed."""
    return SmClock(device) if importlib.util.find_spec("triton") else None
