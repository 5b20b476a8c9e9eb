"""SDPA and naive attention that do a known share of extra work; for benchmarks/planted.py.

The share is that of a call's time which ATTNBENCH_PLANTED says, e.g. 0.02; none by default.
"""

import os
from collections.abc import Callable, Sequence
from statistics import median
from typing import ClassVar, TypeVar

import torch

from attnbench.kernels.attn.naive import Naive, NaivePrepared
from attnbench.kernels.attn.sdpa import Sdpa, SdpaPrepared
from attnbench.kernels.base import Prepared, Setting
from attnbench.specs.case import Case
from attnbench.timing.cpu import CpuClock
from attnbench.timing.cuda import GraphClock

P = TypeVar("P", bound=Prepared)
Call = Callable[[], object]

SHARE = "ATTNBENCH_PLANTED"
# Seconds of an extra kernel, at least: no kernel of a graph is much shorter than two microseconds.
LEAST = 5e-6
# Numbers that two trials sum up, from which the seconds of other counts follow.
TRIALS = (2**20, 2**24)
SAMPLES = 15


class PlantedSdpa(Sdpa):
    name: ClassVar = "planted-sdpa"

    def prepare(self, case: Case, setting: Setting) -> SdpaPrepared:
        return with_extra_work(super().prepare(case, setting), setting.device)


class PlantedNaive(Naive):
    name: ClassVar = "planted-naive"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        return with_extra_work(super().prepare(case, setting), setting.device)


def with_extra_work(prepared: P, device: str) -> P:
    """Let some of the calls also sum up numbers that nobody needs.

    A share of a short call is less than any kernel takes. So only so many of the calls, evenly
    spaced among the working sets, bear extra work that it is a kernel's worth; a graph rotates
    over all sets alike, so that the share of its time is what was asked for.
    """
    share = float(os.environ.get(SHARE, "0"))
    if share == 0:
        return prepared
    calls = prepared.calls
    total = share * seconds(calls, device) * len(calls)
    bearers = len(calls) if device == "cpu" else max(1, min(len(calls), int(total / LEAST)))
    extra = sum_that_takes(total / bearers, device)
    spaced = {(2 * at + 1) * len(calls) // (2 * bearers) for at in range(bearers)}
    prepared.calls = [both(call, extra) if at in spaced else call for at, call in enumerate(calls)]
    return prepared


def sum_that_takes(wanted: float, device: str) -> Call:
    """A sum over as many numbers as take so many seconds; at least one number."""
    short, long = (seconds([summing(count, device)], device) for count in TRIALS)
    rate = (TRIALS[1] - TRIALS[0]) / (long - short)
    return summing(max(1, TRIALS[0] + int(rate * (wanted - short))), device)


def summing(count: int, device: str) -> Call:
    """Sums up `count` ones of four bytes each; it writes one number alone."""
    numbers, result = torch.ones(count, device=device), torch.empty((), device=device)
    return lambda: torch.sum(numbers, 0, out=result)


def seconds(calls: Sequence[Call], device: str) -> float:
    """The median seconds of a call, timed as a run times it."""
    clock = CpuClock(calls) if device == "cpu" else GraphClock(calls, device)
    return median(clock.sample() for _ in range(SAMPLES))


def both(first: Call, second: Call) -> Call:
    """One call that makes two."""

    def call() -> None:
        first()
        second()

    return call
