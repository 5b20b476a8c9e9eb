"""The GPU while a case was timed: its clocks, its limits, and other processes on it.

Read twice, under load: after the warm-up and after the last sample. The clocks are read at once,
the counters, which take milliseconds, in a thread while sampling goes on; each reading has the
time of its counters, since they are shares of the time between the two. Nothing is read between
the samples: counters run on by themselves and miss nothing.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from attnbench.labels import Label
from attnbench.provenance.nvml import ask

# Bits of nvmlDeviceGetCurrentClocksEventReasons that say why a clock is below its highest.
SW_POWER_CAP = 0x04
HW_SLOWDOWN = 0x08
SW_THERMAL = 0x20
HW_THERMAL = 0x40
HW_POWER_BRAKE = 0x80
REASONS = {
    "sw_power_cap": SW_POWER_CAP,
    "hw_slowdown": HW_SLOWDOWN,
    "sw_thermal": SW_THERMAL,
    "hw_thermal": HW_THERMAL,
    "hw_power_brake": HW_POWER_BRAKE,
}
OVERHEATED = HW_SLOWDOWN | SW_THERMAL | HW_THERMAL | HW_POWER_BRAKE

POWER_SHARE = 0.05  # of the sampling time at the power cap; above it a label
CLOCK_SHIFT = 0.05  # relative, between the first and the last sample
# Relative, below the highest memory clock; in CUDA's performance state a GeForce stays 2 % below.
MEMORY_CLOCK_LOSS = 0.05
ENERGY_WINDOW = 0.5  # seconds; the energy counter moves about ten times a second, so less is noise


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a GPU; None if this GPU, its driver or a MIG instance does not report it.

    `processes` counts the processes with a CUDA context on it, this one included.
    """

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    event_reasons: int | None = None  # NVML's bits
    power_violation: float | None = None  # seconds at the power cap since the driver was loaded
    thermal_violation: float | None = None  # seconds at a thermal limit, likewise
    joules: float | None = None  # since the driver was loaded
    watts: float | None = None  # NVML's own average: over a second on most parts
    temperature: float | None = None  # degrees Celsius
    processes: int | None = None
    counted_at: float | None = None  # monotonic seconds at which the counters were read
    max_memory_clock_hz: float | None = None


# Starts a reading of the device, with its energy counter or without; calling the result waits
# for it.
Look = Callable[[bool], Callable[[], Reading]]


def unseen(energy: bool) -> Callable[[], Reading]:
    """The reading of a device that reports nothing."""
    return Reading


class GpuGuard:
    """Reads one GPU through NVML, which stays open: opening it takes milliseconds."""

    def __init__(self, gpu_uuid: str | None) -> None:
        """`gpu_uuid` with its prefix, as nvidia-smi prints it."""
        import pynvml

        self._nvml = pynvml
        ask(pynvml.nvmlInit)
        self._gpu = ask(pynvml.nvmlDeviceGetHandleByUUID, gpu_uuid) if gpu_uuid else None
        self._max_memory_clock: float | None = None
        if self._gpu is not None:
            highest = ask(pynvml.nvmlDeviceGetMaxClockInfo, self._gpu, pynvml.NVML_CLOCK_MEM)
            self._max_memory_clock = _times(highest, 1e6)
        self._thread = ThreadPoolExecutor(1, "nvml")

    def look(self, energy: bool) -> Callable[[], Reading]:
        """The clocks now, the counters in a thread."""
        if self._gpu is None:
            return Reading
        now = self._now()
        counted = self._thread.submit(self._counted, now, energy)
        return counted.result

    def _now(self) -> Reading:
        """The facts that take microseconds, the fastest changing first."""
        nvml, gpu = self._nvml, self._gpu
        return Reading(
            sm_clock_hz=_times(ask(nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_SM), 1e6),
            memory_clock_hz=_times(ask(nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_MEM), 1e6),
            max_memory_clock_hz=self._max_memory_clock,
            event_reasons=ask(nvml.nvmlDeviceGetCurrentClocksEventReasons, gpu),
            watts=_times(ask(nvml.nvmlDeviceGetPowerUsage, gpu), 1e-3),
            temperature=ask(nvml.nvmlDeviceGetTemperature, gpu, nvml.NVML_TEMPERATURE_GPU),
        )

    def _counted(self, now: Reading, energy: bool) -> Reading:
        """With what takes milliseconds under load."""
        return replace(
            now,
            counted_at=time.perf_counter(),
            power_violation=self._violation(self._nvml.NVML_PERF_POLICY_POWER),
            thermal_violation=self._violation(self._nvml.NVML_PERF_POLICY_THERMAL),
            joules=self._joules() if energy else None,
            processes=self._processes(),
        )

    def _joules(self) -> float | None:
        return _times(ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption, self._gpu), 1e-3)

    def _violation(self, policy: int) -> float | None:
        status = ask(self._nvml.nvmlDeviceGetViolationStatus, self._gpu, policy)
        return None if status is None else status.violationTime * 1e-9

    def _processes(self) -> int | None:
        """Distinct PIDs; they may be of another PID namespace, so only their number means anything.

        In a container whose driver hides processes outside it, the list is short or empty.
        """
        found = ask(self._nvml.nvmlDeviceGetComputeRunningProcesses, self._gpu)
        return None if found is None else len({process.pid for process in found})


def guard_facts(
    before: Reading, after: Reading, samples_seconds: float
) -> tuple[dict[str, float], tuple[Label, ...]]:
    """Facts by name and labels, from two readings around that many seconds of samples.

    Labels: `power_limited`, at the power cap for over 5 % of the time or at its end; `thermal`,
    slowed by heat or by the board at all; `clock_moved`, an SM clock that ended over 5 % from
    where it began; `memory_clock`, one over 5 % below its highest; `shared_gpu`, another process
    with a context on the GPU. This process holds one, so a second PID is another process in
    whatever namespace NVML counts. An idle context counts too: it may not stay idle.
    """
    counted = samples_seconds
    if before.counted_at is not None and after.counted_at is not None:
        counted = after.counted_at - before.counted_at
    power = _share(before.power_violation, after.power_violation, counted)
    thermal = _share(before.thermal_violation, after.thermal_violation, counted)
    long_enough = samples_seconds >= ENERGY_WINDOW
    energy = _share(before.joules, after.joules, counted) if long_enough else None
    seen = (before.event_reasons or 0) | (after.event_reasons or 0)
    processes = max(before.processes or 0, after.processes or 0)
    facts = {
        "sm_clock_hz_before": before.sm_clock_hz,
        "sm_clock_hz_after": after.sm_clock_hz,
        "memory_clock_hz": after.memory_clock_hz,
        "temperature": after.temperature,
        "watts": after.watts,
        "joules": _times(energy, samples_seconds),
        "mean_watts": energy,
        "power_limited_share": power,
        "thermal_share": thermal,
        "processes": processes or None,
    } | {name: 1.0 for name, bit in REASONS.items() if seen & bit}
    known = {name: float(value) for name, value in facts.items() if value is not None}
    return known, _labels(before, after, power or 0, thermal or 0)


def _labels(before: Reading, after: Reading, power: float, thermal: float) -> tuple[Label, ...]:
    """The labels that apply; power and thermal are the shares of the time spent at each limit."""
    ended, began = after.event_reasons or 0, before.event_reasons or 0
    labels = {
        Label.POWER_LIMITED: power > POWER_SHARE or bool(ended & SW_POWER_CAP),
        Label.THERMAL: thermal > 0 or bool((began | ended) & OVERHEATED),
        Label.CLOCK_MOVED: _moved(before.sm_clock_hz, after.sm_clock_hz),
        Label.MEMORY_CLOCK: _is_low(before) or _is_low(after),
        Label.SHARED_GPU: max(before.processes or 0, after.processes or 0) > 1,
    }
    return tuple(label for label, holds in labels.items() if holds)


def _share(before: float | None, after: float | None, seconds: float) -> float | None:
    """The change of a counter, per second."""
    if before is None or after is None or seconds <= 0:
        return None
    return (after - before) / seconds


def _moved(before: float | None, after: float | None) -> bool:
    if not before or not after:
        return False
    return abs(after - before) > CLOCK_SHIFT * before


def _is_low(reading: Reading) -> bool:
    """Whether the memory ran well below its highest clock; idle GDDR takes a while to get there."""
    if not reading.memory_clock_hz or not reading.max_memory_clock_hz:
        return False
    return reading.memory_clock_hz < (1 - MEMORY_CLOCK_LOSS) * reading.max_memory_clock_hz


def _times(value: Any, unit: float) -> float | None:
    return None if value is None else float(value * unit)
