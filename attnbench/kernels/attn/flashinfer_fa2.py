"""FlashInfer's own kernels for Ampere and newer, through its paged wrappers."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.wrapped import WrappedPrepared, workspaces
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case
from attnbench.specs.shape import AttnShape


class FlashInferFa2(FlashInferBackend):
    """fa2 for decodes and prefills; an fp8 cache is dequantised by its scales.

    Attention sinks are refused: the wrappers accept them and ignore them.
    """

    name: ClassVar = "flashinfer-fa2"
    kernels: ClassVar = "fa2"
    features: ClassVar = frozenset({"window", "softcap"})
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")

    def prepare(self, case: Case, setting: Setting) -> WrappedPrepared:
        return WrappedPrepared(case, setting, self.kernels, self.num_decode(case))

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return sum(workspaces(case, machine.sm_count or 0))

    def _kernel_refusal(self, case: Case) -> str | None:
        assert isinstance(case.shape, AttnShape)
        if case.kv_cache_dtype != "auto" and case.shape.head_dim == 64:
            return "reads an fp8 cache wrongly at head dim 64, according to its source"
        return super()._kernel_refusal(case)
