"""What `import attnbench` offers."""

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
]
