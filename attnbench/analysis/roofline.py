"""Times against the least that the hardware allows (Williams et al., CACM 2009)."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from attnbench.analysis.series import Series
from attnbench.labels import Label
from attnbench.provenance.machine import Machine
from attnbench.provenance.peaks import TOLERANCE, Peaks, peaks
from attnbench.specs.case import Case
from attnbench.timing.sentinels import Sentinels

# Where peaks are unknown, over the rates of a copy from memory and of a matmul: caches are faster
# than memory, and a shared machine is faster at times.
CACHE_MARGIN, COMPUTE_MARGIN = 10.0, 3.0
# By kind of machine, the dtypes whose rate the sentinels' matmul measures.
_MATMUL = {"cuda": ("bf16", "fp16"), "cpu": ("fp32",)}


@dataclass(frozen=True, slots=True)
class Roofline:
    """The least time of a call, and the limit that sets it.

    `bound` is None if the compute peak is unknown: the floor is then the memory's, and the true one
    may be higher.
    """

    floor: float  # seconds
    bound: Literal["memory", "compute"] | None

    def fraction(self, seconds: float, cache_state: str) -> float | None:
        """The floor over the time; 1 is the hardware's limit.

        None if memory sets the floor and the cache is not cold: then less must be read.
        """
        if self.bound != "compute" and cache_state != "cold":
            return None
        return self.floor / seconds


def limits(case: Case, machine: Machine) -> Peaks | None:
    """The peaks for a case; None if they are unknown.

    With an fp8 cache a backend may compute in fp8, so the higher peak applies.
    """
    found = peaks(machine, case.dtype)
    in_fp8 = peaks(machine, "fp8") if case.kv_cache_dtype.startswith("fp8") else None
    return in_fp8 if in_fp8 is not None and math.isfinite(in_fp8.flops_per_second) else found


def roofline(case: Case, flops: float, bytes_moved: float, machine: Machine) -> Roofline | None:
    """The floor of a call with these useful FLOP and bytes; None if the peaks are unknown.

    max(FLOP / peak FLOP/s, bytes / peak byte/s).
    """
    found = limits(case, machine)
    return None if found is None else _floor(flops, bytes_moved, found)


def _floor(flops: float, bytes_moved: float, limits: Peaks) -> Roofline:
    compute, memory = flops / limits.flops_per_second, bytes_moved / limits.bytes_per_second
    if flops and not compute:
        return Roofline(memory, None)
    return Roofline(compute, "compute") if compute > memory else Roofline(memory, "memory")


def roofline_of(series: Series, machine: Machine) -> Roofline | None:
    """The floor of a series with a time; None if the peaks are unknown."""
    work = series.timed[0].outcome
    return roofline(series.case, work.flops, work.bytes, machine)


def roofline_fraction(series: Series, machine: Machine) -> float | None:
    """The part of the roofline a series reaches; None if it or the time is unknown."""
    if series.time is None:
        return None
    limit = roofline_of(series, machine)
    return None if limit is None else limit.fraction(series.time, series.cache_state)


def measured_limits(case: Case, machine: Machine, reached: Sentinels) -> Peaks:
    """The rates the device reached; FLOP/s are infinite without a sentinel in that dtype."""
    rate = reached.flops_per_second if case.dtype in _MATMUL[machine.kind] else math.inf
    return Peaks(rate, reached.bytes_per_second)


def measured_fraction(series: Series, machine: Machine, reached: Sentinels | None) -> float | None:
    """Like `roofline_fraction`, with the device's measured rates in place of its peaks.

    These are a copy's rate and, for its dtypes, a matmul's. Neither is a limit: a kernel that only
    reads, or computes in fp8, may exceed 1.
    """
    if series.time is None or reached is None:
        return None
    work = series.timed[0].outcome
    limit = _floor(work.flops, work.bytes, measured_limits(series.case, machine, reached))
    return limit.fraction(series.time, series.cache_state)


def is_above_roofline(series: Series, machine: Machine, reached: Collection[Sentinels]) -> bool:
    """Whether a series is wrong: labelled so, or with a time that its machine does not allow.

    Where the peaks are unknown, as of a CPU, `reached` are the rates that the machine has reached.
    """
    if Label.ABOVE_ROOFLINE in series.labels:
        return True
    if limits(series.case, machine) is None:
        return is_impossible(_ceiling_fraction(series, machine, reached))
    return is_impossible(roofline_fraction(series, machine))


def _ceiling_fraction(
    series: Series, machine: Machine, reached: Collection[Sentinels]
) -> float | None:
    """The least time by the best rates reached, with a margin, over the series' time."""
    if series.time is None or not reached:
        return None
    best = [measured_limits(series.case, machine, each) for each in reached]
    work = series.timed[0].outcome
    flops = COMPUTE_MARGIN * max(each.flops_per_second for each in best)
    rate = CACHE_MARGIN * max(each.bytes_per_second for each in best)
    return _floor(work.flops, work.bytes, Peaks(flops, rate)).floor / series.time


def is_impossible(fraction: float | None) -> bool:
    """Whether a time is so far below its floor that it must be wrong."""
    return fraction is not None and fraction > 1 / TOLERANCE
