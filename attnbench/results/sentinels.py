"""Changes of sentinels as text."""

import math
from collections.abc import Mapping

from attnbench.units import change_in_percent

RATES = {
    "bytes_per_second": "copy rate",
    "read_bytes_per_second": "read rate",
    "flops_per_second": "matmul rate",
}


def moved(changes: Mapping[str, float]) -> list[str]:
    """A text per sentinel from the log ratio of its change: "copy rate -3.1 %"."""
    return [f"{RATES[name]} {_change(change)}" for name, change in changes.items()]


def _change(logarithm: float) -> str:
    return f"{change_in_percent(math.exp(logarithm))} %"
