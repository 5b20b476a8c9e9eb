"""A call's cost on the host: planning it and enqueueing it, whatever the GPU does meanwhile."""

import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from statistics import median

MOST_CALLS = 200
BATCH = 20  # calls between two waits: the GPU's queue of about 1000 launches never fills
BUDGET = 0.2  # seconds, after which no further batch begins


def enqueue_seconds(calls: Sequence[Callable[[], object]]) -> float:
    """Seconds that the host needs for one call on a CUDA device: the median of up to 200.

    The calls rotate over the sets, and the GPU is not waited for within a batch. Without a graph,
    a kernel shorter than this cannot keep the GPU busy.
    """
    import torch

    rotation, taken = cycle(calls), list[float]()
    started = time.perf_counter()
    while len(taken) < MOST_CALLS and time.perf_counter() - started < BUDGET:
        torch.cuda.synchronize()
        for call in islice(rotation, BATCH):
            before = time.perf_counter()
            call()
            taken.append(time.perf_counter() - before)
    torch.cuda.synchronize()
    return median(taken)


def plan_seconds(plan: Callable[[], object]) -> float:
    """Seconds of planning a call, the device waited for: the median of five."""
    import torch

    taken = []
    for _ in range(5):
        before = time.perf_counter()
        plan()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - before)
    return median(taken)
