"""A fault: one way in which kernels go wrong, as a change of a prepared case."""

from collections.abc import Callable
from dataclasses import dataclass

from attnbench.kernels.base import Prepared
from attnbench.kernels.mutants.planting import Planting
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape

# The mutant, or None where the fault would change nothing: a soft cap ignored where there is none.
Plant = Callable[[Planting], Prepared | None]


def anywhere(case: Case) -> bool:
    """For faults of every case."""
    return True


def over_fp8(case: Case) -> bool:
    """For faults of an fp8 cache with scales."""
    return case.kv_cache_dtype.startswith("fp8") and isinstance(case.shape, AttnShape)


def over_bf16(case: Case) -> bool:
    """For faults that an fp8 cache would not know."""
    return case.kv_cache_dtype == "auto"


@dataclass(frozen=True, slots=True)
class Fault:
    """`plant` makes the mutant, in the cases for which `of` is true."""

    name: str
    plant: Plant
    of: Callable[[Case], bool] = anywhere
