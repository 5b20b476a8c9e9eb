"""The clock of a method for a prepared case."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from attnbench.kernels.base import Prepared
from attnbench.labels import Label
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Value
from attnbench.timing.cpu import CpuClock
from attnbench.timing.cuda import EagerClock, GraphClock
from attnbench.timing.cupti import KernelClock
from attnbench.timing.layer import LayerClock, require_time
from attnbench.timing.measure import Clock
from attnbench.timing.method import Method
from attnbench.timing.sm_clock import SmClock, sm_clock


@dataclass(frozen=True, slots=True)
class Timing:
    """A clock, and the facts that depend on it."""

    clock: Clock
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
            why = str(error).partition("\n")[0]
        resolved = {"timer": "eager", "not_captured": why, "between": "nothing"}
        return cls(_single_launches(prepared, machine, stamps), stamps, why, resolved)

    def launch_again(self, prepared: Prepared, sets: int) -> None:
        """Launch the first `sets` again by what was timed: the graph of all, or single calls."""
        if isinstance(self.clock, GraphClock | LayerClock):
            self.clock.replay()
        elif isinstance(self.clock, CpuClock):
            self.clock.rotate(sets)
        else:
            for call in prepared.calls[:sets]:
                call()

    def last_seconds(self) -> float:
        """Of each of those calls, which are waited for; 0 for single launches on a GPU."""
        clock = self.clock
        return clock.last() if isinstance(clock, CpuClock | GraphClock | LayerClock) else 0.0

    def require_time(self, samples: Sequence[float]) -> None:
        """Raise NoTime if samples, s, are less the marks' own time and may be nothing."""
        if isinstance(self.clock, LayerClock):
            require_time(samples)

    def sm_clock_facts(self, num_samples: int) -> dict[str, float]:
        """The SM clock over the last samples, Hz: median, lowest and highest."""
        found = self.stamps.clocks()[-num_samples:] if self.stamps else []
        if not found:
            return {}
        names = ("sm_clock_hz_median", "sm_clock_hz_lowest", "sm_clock_hz_highest")
        return dict(zip(names, (median(found), min(found), max(found)), strict=True))

    @property
    def marks_facts(self) -> dict[str, float]:
        """What was taken off each sample of a call behind a layer, s."""
        return {"marks_seconds": self.clock.overhead} if isinstance(self.clock, LayerClock) else {}

    @property
    def labels(self) -> tuple[Label, ...]:
        """Caveats of these samples."""
        found: tuple[Label, ...] = getattr(self.clock, "labels", ())
        return found if self.fallback is None else (*found, Label.EAGER_FALLBACK)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of a call's kernels, if the clock knows them."""
        clock = self.clock
        return clock.kernels if isinstance(clock, KernelClock | GraphClock | LayerClock) else ()

    def kernel_seconds(self, num_samples: int) -> float | None:
        """The kernels' own time in a call, without the gaps between them: the samples' median."""
        if not isinstance(self.clock, KernelClock):
            return None
        return median(self.clock.totals[-num_samples:])


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
