"""The baseline on Hopper: FlashInfer's fa3."""

from typing import ClassVar

from attnbench.kernels.base import Setting
from attnbench.kernels.flashinfer_attn.backend import FlashInferBackend
from attnbench.kernels.flashinfer_attn.wrapped import WrappedPrepared, workspaces
from attnbench.kernels.prefill import DEFAULT_LAYOUT, PrefillBackend
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case


class Fa3(PrefillBackend, FlashInferBackend):
    """BatchPrefillWithPagedKVCacheWrapper with fa3, which writes no fp8."""

    name: ClassVar = "fa3"
    kernels: ClassVar = "fa3"
    quants: ClassVar = ("bf16", "fp8-qkv")

    def prepare(self, case: Case, setting: Setting) -> WrappedPrepared:
        return WrappedPrepared(case, setting, self.kernels, 0, DEFAULT_LAYOUT)

    def workspace_bytes(self, case: Case, machine: Machine) -> int:
        return sum(workspaces(case, machine.sm_count or 0))
