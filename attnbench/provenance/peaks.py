"""The peak rates of a GPU, from its clocks and widths: no kernel can exceed them."""

import math
import re
from dataclasses import dataclass

from attnbench.provenance.machine import Machine

# Dense FLOP per clock per SM by compute capability, with 2 per multiply-add: of the tensor cores
# with 16-bit inputs and fp32 accumulation, and of the fp32 lanes (TF32 is not fp32). Times SMs
# times boost clock these give the data sheets' figures.
_TENSOR_16_BIT = {
    (8, 0): 2048,
    (8, 6): 1024,
    (8, 9): 1024,
    (9, 0): 4096,
    (10, 0): 8192,
    (10, 3): 8192,
    (12, 0): 1024,
}
_FP32 = {
    (8, 0): 128,
    (8, 6): 256,
    (8, 9): 256,
    (9, 0): 256,
    (10, 0): 256,
    (10, 3): 256,
    (12, 0): 256,
}
_FIRST_WITH_FP8 = (8, 9)
# Clocks vary and timers err a little; a time further below the least that peaks allow is wrong.
TOLERANCE = 0.98
# Parts slowed for export; by how much per clock is not published.
_EXPORT = re.compile(r"\b(?:H20|L20|L2)\b")
# Parts that accumulate in fp32 at half the rate of others of their architecture. "RTX" in a name
# does not decide: RTX 6000 and RTX PRO parts run at full rate.
_HALF_RATE = re.compile(r"\b(?:GeForce|L40|A10G)\b")


@dataclass(frozen=True, slots=True)
class Peaks:
    """The limits of one device for computing in one dtype."""

    flops_per_second: float  # infinite if unknown
    bytes_per_second: float  # of device memory


def peaks(machine: Machine, dtype: str) -> Peaks | None:
    """The limits at the highest clocks; None for a CPU, and if those of memory are unknown.

    FLOP/s = FLOP per clock per SM x SMs x SM clock. Byte/s = bus width / 8 x memory clock x 2,
    for two transfers a clock. NVML's highest SM clock (1.98 GHz on an H100 or H200) is above the
    data sheets' boost clock (1.83 GHz), so this peak is above theirs.
    """
    bus, memory_clock = machine.memory_bus_bits, machine.max_memory_clock_hz
    if bus is None or memory_clock is None:
        return None
    rate, sms, clock = _flop_per_clock(machine, dtype), machine.sm_count, machine.max_sm_clock_hz
    flops_per_second = float(rate * sms * clock) if rate and sms and clock else math.inf
    return Peaks(flops_per_second, bytes_per_second=bus / 8 * memory_clock * 2)


def _flop_per_clock(machine: Machine, dtype: str) -> int | None:
    if machine.capability is None or _EXPORT.search(machine.name):
        return None
    if dtype == "fp32":
        return _FP32.get(machine.capability)
    rate = _TENSOR_16_BIT.get(machine.capability)
    if rate is None:
        return None
    if _HALF_RATE.search(machine.name):
        rate //= 2
    if dtype in ("bf16", "fp16"):
        return rate
    if dtype.startswith("fp8") and machine.capability >= _FIRST_WITH_FP8:
        return 2 * rate
    return None
