"""The clock of a method for a prepared case."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from attnbench.kernels.base import Prepared
from attnbench.labels import Label
from attnbench.provenance.machine import Machine
from attnbench.reasons import first_line
from attnbench.specs.case import Value
from attnbench.timing.clock import CallClock
from attnbench.timing.cpu import CpuClock
from attnbench.timing.cuda import EagerClock, GraphClock
from attnbench.timing.cupti import KernelClock
from attnbench.timing.layer import LayerClock
from attnbench.timing.method import Method
from attnbench.timing.sm_clock import SmClock, sm_clock


@dataclass(frozen=True, slots=True)
class Timing:
    """A clock, and the facts that depend on it."""

    clock: CallClock
    stamps: SmClock | None = None
    fallback: str | None = None  # why single launches are timed: what a capture said
    resolved: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        method: Method,
        prepared: Prepared,
        machine: Machine,
        between: Callable[[], object] | None = None,
    ) -> Self:
        """The method's clock; another only if the method allows it, and never silently.

        `between` is put before each call of a graph, and is in no time.
        """
        if machine.kind == "cpu":
            return cls(CpuClock(prepared.calls))
        if method.timer == "kernel":
            return cls(KernelClock(prepared.calls, machine.device))
        stamps = sm_clock(machine.device)
        if method.timer == "eager":
            return cls(_single_launches(prepared, machine, stamps), stamps)
        try:
            return cls(_of_graph(prepared, machine, stamps, between), stamps)
        except RuntimeError as error:
            if not method.eager_fallback:
                raise
            why = first_line(error)
        resolved = {"timer": "eager", "not_captured": why, "between": "nothing"}
        return cls(_single_launches(prepared, machine, stamps), stamps, why, resolved)

    def sm_clock_facts(self, num_samples: int) -> dict[str, float]:
        """The SM clock over the last samples, Hz: median, lowest and highest."""
        found = self.stamps.clocks()[-num_samples:] if self.stamps else []
        if not found:
            return {}
        names = ("sm_clock_hz_median", "sm_clock_hz_lowest", "sm_clock_hz_highest")
        return dict(zip(names, (median(found), min(found), max(found)), strict=True))

    @property
    def labels(self) -> tuple[Label, ...]:
        """Caveats of these samples."""
        found = self.clock.labels
        return found if self.fallback is None else (*found, Label.EAGER_FALLBACK)


def _of_graph(
    prepared: Prepared,
    machine: Machine,
    stamps: SmClock | None,
    between: Callable[[], object] | None,
) -> GraphClock | LayerClock:
    if between is None:
        return GraphClock(prepared.calls, machine.device, stamps)
    return LayerClock.of(prepared.calls, between, machine.device, stamps)


def _single_launches(prepared: Prepared, machine: Machine, stamps: SmClock | None) -> EagerClock:
    """A clock of sets that were all launched before: a first launch may make things to reuse."""
    for call in prepared.calls:
        call()
    return EagerClock(prepared.calls, machine.device, stamps)
