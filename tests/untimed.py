"""What a worker does with a prepared case, by a clock that stands still."""

from itertools import cycle

from attnbench.kernels.base import Prepared
from attnbench.kernels.check import check
from attnbench.running.again import launched_again
from attnbench.running.execute import timed
from attnbench.running.stopwatch import Stopwatch
from attnbench.running.timers import Timing
from attnbench.timing.clock import CallClock
from attnbench.timing.guard import unseen
from attnbench.timing.method import Method


class StillClock(CallClock):
    """Launches one set after another, each in the same time, so that warming up is soon over."""

    calls_per_sample = 1

    def __init__(self, prepared: Prepared) -> None:
        self._prepared, self._calls = prepared, cycle(prepared.calls)

    def sample(self) -> float:
        next(self._calls)()
        return 1e-6

    def launch_again(self, sets: int) -> None:
        for call in self._prepared.calls[:sets]:
            call()


def untimed(ready: Prepared) -> None:
    """Right before timing, after every set was launched, and with new inputs; else WrongResult."""
    import torch

    every_set = Method("cpu", samples=len(ready.calls))
    with torch.inference_mode():
        ready.calls[0]()
        check(ready, seed=1)
        timing = Timing(StillClock(ready))
        timed(ready, timing, every_set, 2, unseen, Stopwatch())
        launched_again(ready, timing.clock, len(ready.calls), 2, 1e-6, Stopwatch())
