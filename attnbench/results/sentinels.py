"""The sentinels of runs, and their changes as text."""

import math
from collections.abc import Iterable, Mapping

from attnbench.db.store import Store
from attnbench.results.cohort import SentinelFacts
from attnbench.units import change_in_percent

RATES = {
    "bytes_per_second": "copy rate",
    "read_bytes_per_second": "read rate",
    "flops_per_second": "matmul rate",
}


def read_sentinels(store: Store, runs: Iterable[int]) -> SentinelFacts:
    """The sentinels of the runs, by number."""
    return {number: store.sentinels(number) for number in runs}


def moved(changes: Mapping[str, float]) -> list[str]:
    """A text per sentinel from the log ratio of its change: "copy rate -3.1 %"."""
    return [f"{RATES[name]} {_change(change)}" for name, change in changes.items()]


def _change(logarithm: float) -> str:
    return f"{change_in_percent(math.exp(logarithm))} %"
