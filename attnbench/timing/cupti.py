"""The kernel clock: the time of each call's kernels as CUPTI recorded it.

CUPTI reads the device's own clock, so neither launching nor the cost of an event is in the
time. It makes launching slower, and for the rest of the process a graph begins to run while it is
still being launched: in that worker nothing else is timed after it (`Method.traces`).
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from itertools import cycle
from statistics import median

from attnbench.errors import AttnbenchError
from attnbench.labels import Label
from attnbench.timing.activity import Activity, Profile, by_marker, recorded
from attnbench.timing.clock import CallClock
from attnbench.timing.cuda import MOST_SPIN
from attnbench.timing.streams import use_streams

SPIN_MARGIN = 2.0  # spin time over the median time of enqueueing a call
FIRST_SPIN = 2e-4  # seconds; later ones follow from the measured enqueueing time
FASTEST_CLOCK = 2.5e9  # Hz; on a slower one a spin is longer than asked for, which is harmless
BATCH_SECONDS = 0.02  # of calls in one recording, whose own cost is milliseconds
LEAST_CALLS, MOST_CALLS = 5, 50  # in one recording; more could fill the GPU's queue of launches


class CallProfiler:
    """Records several calls at once and assigns kernels to calls.

    Before each call stand a marker, a kernel that no call launches, and a spin that hides the
    call's launching. In order of launch a call's kernels follow its marker, whichever stream they
    ran on; activity before the first marker belongs to no call.
    """

    def __init__(self, device: str) -> None:
        import torch

        use_streams(device)
        self._torch = torch
        with torch.inference_mode(False):  # changed inside and outside that mode
            self._flag = torch.zeros(1, dtype=torch.int16, device=device)
        self._mark()  # the first launch loads the kernel
        self._marker = recorded(self._mark)[-1].name
        self.enqueue_seconds = 0.0  # of the host per call of the last recording: median

    def profile(
        self, calls: Sequence[Callable[[], object]], spin_seconds: float = FIRST_SPIN
    ) -> list[Profile]:
        """The profile of each call, the calls made in this order."""
        return [Profile.of(each) for each in self.activities(calls, spin_seconds)]

    def activities(
        self, calls: Sequence[Callable[[], object]], spin_seconds: float = FIRST_SPIN
    ) -> list[list[Activity]]:
        """The activities of each call in order of launch; AttnbenchError if any call has none."""
        cycles, enqueueing = int(spin_seconds * FASTEST_CLOCK), list[float]()

        def enqueue() -> None:
            for call in calls:
                started = time.perf_counter()
                self._mark()
                self._torch.cuda._sleep(cycles)
                call()
                enqueueing.append(time.perf_counter() - started)

        groups = by_marker(recorded(enqueue), self._marker)
        found = [group[1:] for group in groups if len(group) > 1]  # [0] is the spin
        if len(found) != len(calls):
            raise AttnbenchError(
                f"CUPTI recorded kernels of {len(found)} of {len(calls)} calls: it lost some, or a "
                "call launches none; time without CUPTI, e.g. --mode cudagraph"
            )
        self.enqueue_seconds = median(enqueueing)
        return found

    def _mark(self) -> None:
        self._flag.bitwise_not_()  # of int16: not mistaken for an attention kernel


class KernelClock(CallClock):
    """Single calls that rotate over the sets; a sample is the span of one call's kernels.

    Samples are handed out from recordings of several calls each.
    """

    def __init__(self, calls: Sequence[Callable[[], object]], device: str) -> None:
        self.calls_per_sample = 1
        self.totals = list[float]()  # Profile.total of each sample handed out
        self._all, self._calls, self._names = calls, cycle(calls), set[str]()
        self._waiting: deque[Profile] = deque()
        for call in calls:
            call()
        self._profiler = call_profiler(device)
        (first,) = self._profiler.profile([calls[0]])
        self._spin, self._exposed = FIRST_SPIN, False
        batch = round(BATCH_SECONDS / (first.span + self._spin))
        self._batch = min(max(batch, LEAST_CALLS), MOST_CALLS)

    def sample(self) -> float:
        """Seconds from the start of the next call's first kernel to the end of its last."""
        if not self._waiting:
            self._record()
        profile = self._waiting.popleft()
        self.totals.append(profile.total)
        return profile.span

    def launch_again(self, sets: int) -> None:
        """Enqueue a call of each of the first `sets`."""
        for call in self._all[:sets]:
            call()

    def kernel_seconds(self, num_samples: int) -> float:
        """The median of the kernels' own time in the last samples, without gaps between them."""
        return median(self.totals[-num_samples:])

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of all kernels recorded so far, in alphabetical order."""
        return tuple(sorted(self._names))

    @property
    def labels(self) -> tuple[Label, ...]:
        """launch_bound if enqueueing a call took longer than its spin in the last recording."""
        return (Label.LAUNCH_BOUND,) if self._exposed else ()

    def _record(self) -> None:
        calls = [next(self._calls) for _ in range(self._batch)]
        self._waiting.extend(self._profiler.profile(calls, self._spin))
        self._names.update(name for profile in self._waiting for name in profile.names)
        needed = self._profiler.enqueue_seconds
        self._exposed = needed > self._spin
        self._spin = min(SPIN_MARGIN * needed, MOST_SPIN)


@cache
def call_profiler(device: str) -> CallProfiler:
    """The process's only profiler of a device; the first also loads CUPTI."""
    return CallProfiler(device)
