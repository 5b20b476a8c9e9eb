"""The GPU's time before and after each call of a graph, read on the device."""

import importlib.util
from collections.abc import Callable
from statistics import mean

from attnbench.errors import AttnbenchError
from attnbench.timing.cuda import MOST_CALLS

Call = Callable[[], object]
CAPACITY = 2 * MOST_CALLS
KERNEL = "attnbench_mark"  # its name in a graph


class Marks:
    """Marks around calls, each in a place of its own: a replay writes those of the capture."""

    def __init__(self, device: str) -> None:
        """Raises AttnbenchError without Triton, by which the kernel is compiled."""
        import torch

        if importlib.util.find_spec("triton") is None:
            raise AttnbenchError(
                "a call behind a layer is timed by a kernel of Triton, which is not installed; "
                "install it, or time calls back to back with --between nothing"
            )
        with torch.inference_mode(False):
            self._times = torch.zeros(CAPACITY, dtype=torch.int64, device=device)
        self._launched = 0
        self._mark()  # compiles it
        torch.cuda.synchronize(device)

    def around(self, call: Call) -> Call:
        """The call between two marks."""

        def run() -> None:
            self._mark()
            call()
            self._mark()

        return run

    def seconds(self, calls: int) -> float:
        """The mean from mark to mark around the last `calls` that were launched or captured.

        The mean, since the GPU's timer may go in steps of a microsecond.
        """
        times = self._times.tolist()
        first = self._launched - 2 * calls
        marked = [times[at % CAPACITY] for at in range(first, self._launched)]
        return 1e-9 * float(mean(b - a for a, b in zip(marked[::2], marked[1::2], strict=True)))

    def _mark(self) -> None:
        from attnbench.timing.mark_kernel import attnbench_mark

        attnbench_mark[(1,)](self._times, self._launched % CAPACITY, num_warps=1)
        self._launched += 1
