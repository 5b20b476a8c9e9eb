"""FlashInfer's own kernels for Ampere and newer, through its paged wrappers."""

from typing import ClassVar

from attnbench.kernels.flashinfer_attn.wrapped import WrappedBackend
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape


class FlashInferFa2(WrappedBackend):
    """fa2 for decodes and prefills; an fp8 cache is dequantised by its scales.

    Attention sinks are refused: the wrappers accept them and ignore them.
    """

    name: ClassVar = "flashinfer-fa2"
    kernels: ClassVar = "fa2"
    features: ClassVar = frozenset({"window", "softcap"})
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")

    def _kernel_refusal(self, case: Case) -> str | None:
        assert isinstance(case.shape, AttnShape)
        if case.kv_cache_dtype != "auto" and case.shape.head_dim == 64:
            return "reads an fp8 cache wrongly at head dim 64, according to its source"
        return super()._kernel_refusal(case)
