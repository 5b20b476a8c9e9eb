"""Outputs of a kernel in every supported dtype: poisoned, filled and read back."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from attnbench.kernels import nvfp4
from attnbench.kernels.inputs import as_stored, raw, torch_dtype

if TYPE_CHECKING:
    import torch

# value = stored * scale in fp8. Outputs of attention over normal values, a few thousandths to five,
# are then normal numbers of e4m3.
FP8_SCALE = 2.0**-6


class Output(ABC):
    """The output of one working set, [tokens, heads, head dim]."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """The bytes of everything written."""

    @abstractmethod
    def poison(self) -> None:
        """Fill it with values that no correct result contains."""

    @abstractmethod
    def store(self, values: "torch.Tensor") -> None:
        """Write values of the same shape, quantising them if this output is quantised."""

    @abstractmethod
    def rows(self) -> "torch.Tensor":
        """The values, [tokens * heads, head dim]; NaN where nothing was written."""


class Plain(Output):
    """`tensor` holds the values divided by `scale`, which is 1 except in fp8."""

    def __init__(self, tensor: "torch.Tensor") -> None:
        self.tensor = tensor
        self.scale = FP8_SCALE if tensor.dtype.itemsize == 1 else 1.0
        self.poison()

    @property
    def nbytes(self) -> int:
        return int(self.tensor.nbytes)

    def poison(self) -> None:
        raw(self.tensor).fill_(as_stored(float("nan"), self.tensor.dtype))

    def store(self, values: "torch.Tensor") -> None:
        self.tensor.copy_(values if self.scale == 1.0 else values.float() / self.scale)

    def rows(self) -> "torch.Tensor":
        import torch

        rows = self.tensor.flatten(0, 1)
        # The scale is a power of two, so bf16 is exact, in half of fp32's memory.
        return rows if self.scale == 1.0 else rows.to(torch.bfloat16) * self.scale


class Nvfp4(Output):
    """`packed` is uint8 [tokens, heads, head dim / 2]; a row of `scales` spans a token's heads."""

    def __init__(self, sizes: tuple[int, int, int], device: str) -> None:
        import torch

        tokens, heads, dim = sizes
        self.sizes = sizes
        self.packed = torch.zeros((tokens, heads, dim // 2), dtype=torch.uint8, device=device)
        shape = nvfp4.scales_shape(tokens, heads * dim)
        self.scales = torch.empty(shape, dtype=torch.float8_e4m3fn, device=device)
        self.poison()

    @property
    def nbytes(self) -> int:
        return int(self.packed.nbytes + self.scales.nbytes)

    def poison(self) -> None:
        raw(self.scales).fill_(as_stored(float("nan"), self.scales.dtype))

    def store(self, values: "torch.Tensor") -> None:
        packed, scales = nvfp4.quantise(values.flatten(1))
        self.packed.copy_(packed.view(self.packed.shape))
        raw(self.scales).copy_(raw(scales))

    def rows(self) -> "torch.Tensor":
        tokens, heads, dim = self.sizes
        return nvfp4.dequantise(self.packed.flatten(1), self.scales).view(tokens * heads, dim)


def empty_output(dtype: str, sizes: tuple[int, int, int], device: str) -> Output:
    """A poisoned output of that dtype: bf16, fp16, fp32, fp8 or nvfp4."""
    import torch

    if dtype == "nvfp4":
        return Nvfp4(sizes, device)
    return Plain(torch.empty(sizes, dtype=torch_dtype(dtype), device=device))
