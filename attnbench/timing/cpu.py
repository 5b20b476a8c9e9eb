"""The CPU's clock: a host timer around calls that rotate over the working sets."""

import time
from collections.abc import Callable, Sequence
from itertools import cycle

from attnbench.timing.clock import CallClock

# Calls are batched until a sample is this long, which makes reading the timer negligible.
SAMPLE_SECONDS = 2e-4


class CpuClock(CallClock):
    """Calls on a CPU return when the work is done, so a host timer measures them."""

    def __init__(
        self,
        calls: Sequence[Callable[[], object]],
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._all, self._calls, self._now = calls, cycle(calls), now
        # The first of the two also loads code and data.
        estimate = min(self._timed(calls[0]), self._timed(calls[0]))
        self.calls_per_sample = max(1, round(SAMPLE_SECONDS / max(estimate, 1e-9)))
        self._last = 0.0

    def sample(self) -> float:
        """Seconds per call over the next few sets."""
        started = self._now()
        for _ in range(self.calls_per_sample):
            next(self._calls)()
        return (self._now() - started) / self.calls_per_sample

    def launch_again(self, sets: int) -> None:
        """Call the first `sets` in turn, each at least once, for as many calls as a sample has."""
        rotations, started = -(-self.calls_per_sample // sets), self._now()
        for call in [*self._all[:sets]] * rotations:
            call()
        self._last = (self._now() - started) / (sets * rotations)

    def last(self) -> float:
        """Seconds per call when they were last launched again."""
        return self._last

    def _timed(self, call: Callable[[], object]) -> float:
        started = self._now()
        call()
        return self._now() - started
