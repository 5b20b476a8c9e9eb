"""Batches, shapes, cases and their cost: requests, without the means to run them; all public."""

from attnbench.specs.batch import (
    Batch,
    BatchSpecError,
    Request,
    format_batch_spec,
    get_batch_stats,
    parse_batch_spec,
)
from attnbench.specs.case import Case
from attnbench.specs.cost import Cost
from attnbench.specs.shape import AttnShape, MlaShape
from attnbench.specs.sweep import expand_sweep, expand_sweeps

__all__ = [
    "AttnShape",
    "Batch",
    "BatchSpecError",
    "Case",
    "Cost",
    "MlaShape",
    "Request",
    "expand_sweep",
    "expand_sweeps",
    "format_batch_spec",
    "get_batch_stats",
    "parse_batch_spec",
]
