"""What `import attnbench` offers; what measures loads on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from attnbench.specs import (
    AttnShape,
    Batch,
    BatchSpecError,
    Case,
    Cost,
    MlaShape,
    Request,
    cost,
    expand_sweep,
    expand_sweeps,
    format_batch_spec,
    get_batch_stats,
    parse_batch_spec,
)

__all__ = [
    "AttnShape",
    "Batch",
    "BatchSpecError",
    "Case",
    "Cost",
    "MlaShape",
    "Request",
    "cost",
    "expand_sweep",
    "expand_sweeps",
    "format_batch_spec",
    "get_batch_stats",
    "parse_batch_spec",
    "run_benchmark",
]

if TYPE_CHECKING:
    from attnbench.running.cache_write import run_benchmark

_MEASURING = {"run_benchmark": "attnbench.running.cache_write"}


def __getattr__(name: str) -> Any:
    if name in _MEASURING:
        return getattr(import_module(_MEASURING[name]), name)
    raise AttributeError(f"module 'attnbench.api' has no attribute '{name}'")
