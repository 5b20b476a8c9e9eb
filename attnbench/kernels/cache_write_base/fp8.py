"""Quantising to fp8, and how far apart two correct quantisations may be."""

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

    The first `columns` elements of a row are quantised; the others must be exact.
    """

    step: float  # largest step between neighbours, relative to the smaller
    least: float  # step between the smallest numbers
    columns: int

    def slack(self, reference: "torch.Tensor") -> "torch.Tensor":
        """One step up from each element."""
        allowed = (self.step * reference.abs()).clamp_min(self.least)
        allowed[:, self.columns :] = 0.0
        return allowed


def scale_for(largest: "torch.Tensor", onto: "torch.Tensor | float") -> "torch.Tensor":
    """The fp32 scale that maps the largest element to that number; 1 if all are zero."""
    return (largest.float() / onto).masked_fill(largest == 0, 1.0)


def one_step(kv_cache_dtype: str, columns: int, unit: float = 1.0) -> OneStep:
    """The tolerance for `columns` elements of that fp8, the smallest step multiplied by `unit`."""
    bits = MANTISSA_BITS[kv_cache_dtype]
    smallest = 2.0 ** (-9 if bits == 3 else -16)
    return OneStep(0.0, 0.0, 0.0, step=1.001 * 2.0**-bits, least=smallest * unit, columns=columns)


def quantise(
    values: "torch.Tensor", scale: "torch.Tensor | float", dtype: "torch.dtype"
) -> "torch.Tensor":
    """values / scale in fp8, computed in the values' precision and clamped to fp8's range."""
    import torch

    limit = torch.finfo(dtype).max
    return (values / scale).clamp_(-limit, limit).to(dtype)
