"""The baseline: FlashInfer's own kernels for Ampere and newer."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.wrapped import WrappedPrepared, workspaces
from attnbench.kernels.prefill import DEFAULT_LAYOUT, PrefillBackend
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case


class Fa2(PrefillBackend, FlashInferBackend):
    """BatchPrefillWithPagedKVCacheWrapper with fa2, which has no kernel for fp8 queries."""

    name: ClassVar = "fa2"
    kernels: ClassVar = "fa2"

    def prepare(self, case: Case, setting: Setting) -> WrappedPrepared:
        return WrappedPrepared(case, setting, self.kernels, 0, DEFAULT_LAYOUT)

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return sum(workspaces(case, machine.sm_count or 0))
