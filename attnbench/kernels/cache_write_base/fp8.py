"""Quantising to fp8, and how far apart two correct quantisations may be."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.kernels.tolerance import Tolerance

if TYPE_CHECKING:
    import torch

# Where vLLM computes scales, it maps the largest key to 200 and the largest value to 100.
KEY_RANGE, VALUE_RANGE = 200.0, 100.0
MANTISSA_BITS = {"fp8": 3, "fp8_e4m3": 3, "fp8_ds_mla": 3, "fp8_e5m2": 2}


@dataclass(frozen=True, slots=True)
class OneStep(Tolerance):
    """Allows a neighbour on the fp8 grid: some kernels divide by the scale, others multiply.

    The first `columns` elements of a row are quantised; the others must be exact. All rows together
    may be off by `few`, since right kernels seldom differ.
    """

    step: float  # largest step between neighbours, relative to the smaller
    least: float  # step between the smallest numbers
    columns: int
    few: float

    @property
    def pooled(self) -> float:
        return self.few

    def slack(self, reference: "torch.Tensor") -> "torch.Tensor":
        """One step up from each element."""
        allowed = (self.step * reference.abs()).clamp_min(self.least)
        allowed[:, self.columns :] = 0.0
        return allowed


def scale_for(largest: "torch.Tensor", onto: "torch.Tensor | float") -> "torch.Tensor":
    """The fp32 scale that maps the largest element to that number; 1 if all are zero."""
    return (largest.float() / onto).masked_fill(largest == 0, 1.0)


def one_step(kv_cache_dtype: str, columns: int, unit: float = 1.0) -> OneStep:
    """The tolerance for `columns` elements of that fp8, the smallest step multiplied by `unit`.

    A scale and a quotient that are rounded to bf16 are off by up to e = 0.8 %. With steps of s, a
    share e / s of the elements then has a neighbour's number, so rows are off by sqrt(e s). Twice
    that is allowed, 5.3 % in e4m3. Truncating, or a scale that is 5 % wrong, makes 6.5 %.
    """
    bits = MANTISSA_BITS[kv_cache_dtype]
    smallest = 2.0 ** (-9 if bits == 3 else -16)
    step, inf = 2.0**-bits, math.inf
    few = 2 * math.sqrt(2 * 2.0**-8 * 0.72 * step)
    return OneStep(
        0.0, inf, inf, step=1.001 * step, least=smallest * unit, columns=columns, few=few
    )


def quantise(
    values: "torch.Tensor", scale: "torch.Tensor | float", dtype: "torch.dtype"
) -> "torch.Tensor":
    """values / scale in fp8, computed in the values' precision and clamped to fp8's range."""
    import torch

    limit = torch.finfo(dtype).max
    return (values / scale).clamp_(-limit, limit).to(dtype)
