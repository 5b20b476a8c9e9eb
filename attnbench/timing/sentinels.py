"""Four simple kernels timed at a run's start and end, for the device's peak rates and drift."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Self

from attnbench.timing.cpu import CpuClock
from attnbench.timing.cuda import EagerClock, GraphClock
from attnbench.timing.measure import Clock

if TYPE_CHECKING:
    import torch

WARMUPS, SAMPLES = 2, 7
DRIFT = math.log(1.02)  # beyond this two readings of a rate or a clock differ


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Rates and floors of one device, measured; the floors are None on a CPU."""

    bytes_per_second: float  # of a copy: read plus written
    read_bytes_per_second: float  # of a sum, which writes almost nothing
    flops_per_second: float  # of a matmul: bf16 on a GPU, fp32 on a CPU
    launch_seconds: float | None = None  # an empty kernel's share of a graph of many
    event_seconds: float | None = None  # between two events around one empty kernel

    def as_facts(self) -> dict[str, float | None]:
        """Every field by name."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """The inverse of `as_facts`."""
        return cls(**facts)


def measure_sentinels(device: str) -> Sentinels:
    """Measure them on "cpu" or "cuda:N", in well under a second.

    GPU: 1 GiB copied and summed, an 8192 cubed matmul of normal random bf16, in 2.4 GiB of memory,
    freed at the end. CPU: 64 MiB and 768 cubed in fp32.
    """
    import torch

    on_cpu = device == "cpu"
    size, side = (2**26, 768) if on_cpu else (2**30, 8192)
    dtype = torch.float32 if on_cpu else torch.bfloat16
    with torch.inference_mode():
        measured = Sentinels(
            *_memory_rates(device, size),
            _matmul_rate(device, side, dtype),
            *([] if on_cpu else _launch_floors(device)),
        )
    torch.cuda.empty_cache()
    return measured


def drift(before: Sentinels, after: Sentinels) -> dict[str, float]:
    """ln(after / before) of each rate: 0.01 is 1 % more, for better or worse.

    The launch floors describe the process, not the device (attnbench/timing/streams.py).
    """
    rates = ("bytes_per_second", "read_bytes_per_second", "flops_per_second")
    return {name: math.log(getattr(after, name) / getattr(before, name)) for name in rates}


def _memory_rates(device: str, size: int) -> tuple[float, float]:
    """Bytes per second of a copy and of a sum of `size` bytes."""
    import torch

    # Filled: untouched pages of a CPU are all one page of zeros. A GPU's power depends on the data.
    fill = torch.ones if device == "cpu" else torch.randn
    source = fill(size // 4, device=device)
    target = torch.ones_like(source)
    copy = _seconds(lambda: target.copy_(source), device)
    return 2 * size / copy, size / _seconds(source.sum, device)


def _matmul_rate(device: str, side: int, dtype: "torch.dtype") -> float:
    import torch

    a, b = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))
    product = torch.empty_like(a)
    return 2 * side**3 / _seconds(lambda: torch.matmul(a, b, out=product), device)


def _launch_floors(device: str) -> tuple[float, float]:
    """Seconds of an empty kernel within a graph, and of one between two events."""
    import torch

    def empty() -> None:
        torch.cuda._sleep(0)

    return _median(GraphClock([empty], device)), _seconds(empty, device)


def _seconds(call: Callable[[], object], device: str) -> float:
    if device == "cpu":
        return _median(CpuClock([call]), warmups=0)  # the clock has called it twice
    return _median(EagerClock([call], device))


def _median(clock: Clock, warmups: int = WARMUPS) -> float:
    samples = [clock.sample() for _ in range(warmups + SAMPLES)]
    return median(samples[warmups:])
