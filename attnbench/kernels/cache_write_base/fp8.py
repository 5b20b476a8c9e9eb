"""Quantising to fp8, and how far two correct quantisations may be apart."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.kernels.tolerance import Tolerance

if TYPE_CHECKING:
    import torch

# vLLM maps the largest key onto 200 and the largest value onto 100 where it computes scales.
KEY_RANGE, VALUE_RANGE = 200.0, 100.0
MANTISSA_BITS = {"fp8": 3, "fp8_e4m3": 3, "fp8_ds_mla": 3, "fp8_e5m2": 2}


@dataclass(frozen=True, slots=True)
class OneStep(Tolerance):
    """A neighbour on the grid of fp8 passes too: kernels divide by the scale, or multiply.

    `columns` is how many of a row, from its first, are quantised; the others must be exact.
    """

    step: float  # between neighbours, relative to the smaller, at most
    least: float  # between the smallest numbers
    columns: int

    def slack(self, reference: "torch.Tensor") -> "torch.Tensor":
        """One step up from each element."""
        allowed = (self.step * reference.abs()).clamp_min(self.least)
        allowed[:, self.columns :] = 0.0
        return allowed


def scale_for(largest: "torch.Tensor", onto: "torch.Tensor | float") -> "torch.Tensor":
    """The fp32 scale that maps the largest element onto that number; 1 where all are zero."""
    return (largest.float() / onto).masked_fill(largest == 0, 1.0)


def one_step(kv_cache_dtype: str, columns: int, unit: float = 1.0) -> OneStep:
    """The tolerance of `columns` elements of that fp8, whose smallest number is times `unit`."""
    bits = MANTISSA_BITS[kv_cache_dtype]
    smallest = 2.0 ** (-9 if bits == 3 else -16)
    return OneStep(0.0, 0.0, 0.0, step=1.001 * 2.0**-bits, least=smallest * unit, columns=columns)


def quantise(
    values: "torch.Tensor", scale: "torch.Tensor | float", dtype: "torch.dtype"
) -> "torch.Tensor":
    """values / scale in fp8, what is too large at the largest number; in the values' precision."""
    import torch

    limit = torch.finfo(dtype).max
    return (values / scale).clamp_(-limit, limit).to(dtype)
