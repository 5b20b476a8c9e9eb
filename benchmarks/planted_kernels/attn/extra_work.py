"""Kernels that do a known share of extra work; for planted.py and separate_runs.py.

The share is that of a call's time which ATTNBENCH_PLANTED says, e.g. 0.02 and none by default, or
which the backend's name says in percent.
"""

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import ClassVar, TypeVar

import torch

from attnbench.kernels.attn.flash import Flash
from attnbench.kernels.attn.naive import Naive, NaivePrepared
from attnbench.kernels.attn.sdpa import Sdpa, SdpaPrepared
from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.vllm.attention_prepared import VllmPrepared
from attnbench.specs.case import Case
from attnbench.timing.cpu import CpuClock
from attnbench.timing.cuda import GraphClock

P = TypeVar("P", bound=Prepared)
Call = Callable[[], object]

SHARE = "ATTNBENCH_PLANTED"
# Seconds of an extra kernel, at least: a few times what an empty one adds, so that more work shows.
LEAST = 5e-6
NUMBERS_PER_SECOND = 4e11  # read and written, about; only the first trial rests on it
TRIALS, CLOSE = 6, 0.04  # of the share: so near is near enough
MOST_STEP = 4.0  # from one trial's count to the next's
SAMPLES = 15


class PlantedSdpa(Sdpa):
    name: ClassVar = "planted-sdpa"
    aliases: ClassVar = ("planted-torch-sdpa",)

    def prepare(self, case: Case, setting: Setting) -> SdpaPrepared:
        return with_extra_work(super().prepare(case, setting), setting.device, share_asked())


class Planted3Sdpa(Sdpa):
    name: ClassVar = "planted3-sdpa"
    aliases: ClassVar = ("planted3-torch-sdpa",)

    def prepare(self, case: Case, setting: Setting) -> SdpaPrepared:
        return with_extra_work(super().prepare(case, setting), setting.device, 0.03)


class Planted5Sdpa(Sdpa):
    name: ClassVar = "planted5-sdpa"
    aliases: ClassVar = ("planted5-torch-sdpa",)

    def prepare(self, case: Case, setting: Setting) -> SdpaPrepared:
        return with_extra_work(super().prepare(case, setting), setting.device, 0.05)


class Planted3Flash(Flash):
    name: ClassVar = "planted3-flash"
    aliases: ClassVar = ("planted3-FLASH_ATTN",)

    def prepare(self, case: Case, setting: Setting) -> VllmPrepared:
        return with_extra_work(super().prepare(case, setting), setting.device, 0.03)


class Planted5Flash(Flash):
    name: ClassVar = "planted5-flash"
    aliases: ClassVar = ("planted5-FLASH_ATTN",)

    def prepare(self, case: Case, setting: Setting) -> VllmPrepared:
        return with_extra_work(super().prepare(case, setting), setting.device, 0.05)


class PlantedNaive(Naive):
    name: ClassVar = "planted-naive"

    def prepare(self, case: Case, setting: Setting) -> NaivePrepared:
        return with_extra_work(super().prepare(case, setting), setting.device, share_asked())


def share_asked() -> float:
    """The share that the environment names."""
    return float(os.environ.get(SHARE, "0"))


def with_extra_work(prepared: P, device: str, share: float) -> P:
    """Let some of the calls also negate numbers, as many as make all of them that share slower."""
    if share == 0:
        return prepared
    plain = prepared.calls
    total = share * seconds(plain, device) * len(plain)
    bearers = len(plain) if device == "cpu" else max(1, min(len(plain), int(total / LEAST)))
    first = max(1, int(total / bearers * NUMBERS_PER_SECOND))
    count = found_by_trial(plain, bearers, first, share, device)
    prepared.calls = bearing(plain, bearers, count, device)
    return prepared


def found_by_trial(
    plain: Sequence[Call], bearers: int, first: int, share: float, device: str
) -> int:
    """The count of numbers that comes nearest to the share, of a few that were tried.

    Kernels of a graph overlap, and a clock that power limits falls, so that a kernel does not add
    what it takes alone.
    """
    tried, count = dict[int, float](), first
    while len(tried) < TRIALS and count not in tried:
        tried[count] = slowdown(plain, bearing(plain, bearers, count, device), device)
        if abs(tried[count] - share) <= CLOSE * share:
            break
        count = next_count(list(tried.items()), share)
    return min(tried, key=lambda count: abs(tried[count] - share))


def next_count(tried: Sequence[tuple[int, float]], share: float) -> int:
    """Where the line through the last two trials meets the share; through the last alone, and 0.

    Where noise turns that line about, a step goes the way that the last trial says.
    """
    count, got = tried[-1]
    before, less = tried[-2] if len(tried) > 1 else (0, 0.0)
    slope = (got - less) / (count - before)
    turned = math.inf if got < share else 0.0
    wanted = count + (share - got) / slope if slope > 0 else turned
    return max(1, round(min(max(wanted, count / MOST_STEP), count * MOST_STEP)))


def bearing(calls: Sequence[Call], bearers: int, count: int, device: str) -> list[Call]:
    """The calls, of which so many, evenly spaced, negate `count` numbers each.

    A share of a short call is less than any kernel takes; a graph rotates over all calls alike.
    """
    extra = negating(count, device)
    spaced = {(2 * at + 1) * len(calls) // (2 * bearers) for at in range(bearers)}
    return [both(call, extra) if at in spaced else call for at, call in enumerate(calls)]


def negating(count: int, device: str) -> Call:
    """Reads and writes `count` numbers of four bytes: beyond a floor, the more the longer."""
    return partial(torch.neg_, torch.ones(count, device=device))


def slowdown(plain: Sequence[Call], slower: Sequence[Call], device: str) -> float:
    """The share by which the second calls take longer; the samples take turns."""
    clocks = clock(plain, device), clock(slower, device)
    pairs = [tuple(each.sample() for each in clocks) for _ in range(SAMPLES)]
    return median(after / before for before, after in pairs) - 1


def seconds(calls: Sequence[Call], device: str) -> float:
    """The median seconds of a call, timed as a run times it."""
    timed = clock(calls, device)
    return median(timed.sample() for _ in range(SAMPLES))


def clock(calls: Sequence[Call], device: str) -> CpuClock | GraphClock:
    """What a run times such calls with by default."""
    return CpuClock(calls) if device == "cpu" else GraphClock(calls, device)


def both(first: Call, second: Call) -> Call:
    """One call that makes two."""

    def call() -> None:
        first()
        second()

    return call
