"""The SM clock of a server's decodes: within their graphs, and over whole steps.

Between two graphs the GPU waits for the host at its highest clock, so a step's mean says little of
its kernels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from attnbench.timing.sm_clock import SmClock

SPIN_CYCLES = 2_000_000  # a millisecond, in which a stamp and the graph behind it are launched


def stamped_steps(core: Any, count: int, stamps: SmClock) -> None:
    """So many steps of the engine, each between two stamps."""
    for _ in range(count):
        stamps.launch()
        core.step()
        stamps.launch()


@contextmanager
def stamped_graphs(stamps: SmClock) -> Iterator[None]:
    """Each graph that is replayed meanwhile stands between two stamps, with no wait among them."""
    replay = torch.cuda.CUDAGraph.replay

    def stamped(graph: torch.cuda.CUDAGraph) -> None:
        torch.cuda._sleep(SPIN_CYCLES)
        stamps.launch()
        replay(graph)
        stamps.launch()

    torch.cuda.CUDAGraph.replay = stamped
    try:
        yield
    finally:
        torch.cuda.CUDAGraph.replay = replay
